// The barrier at the end of each step: every rank votes, one decision answers them. Pure; thread-compatible.
// Source: docs/exactness.md, "The global norm"; docs/recovery.md, "A step is a transaction".
#ifndef PENSTOCK_COORDINATOR_STEP_BARRIER_H_
#define PENSTOCK_COORDINATOR_STEP_BARRIER_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto/coordinator.pb.h"

namespace penstock {

// What the votes of all ranks on a step say together.
struct StepOutcome {
  uint64_t step = 0;
  std::string fault;     // empty: all finite; else what was not: "the gradient of h.0.ln_1.weight is not finite"
  std::string overflow;  // empty; or, where a smaller loss scale may help, the same instead of `fault`
  double grad_norm = 0;
  double clip_scale = 1;
  double loss_scale = 1;  // what the gradients were multiplied by
  double loss = 0;
  double step_seconds = 0;  // of the slowest rank
  double bubble = 0;        // idle share of the pass, mean over ranks
};

class StepBarrier {
 public:
  // Args:    parameters: every parameter's name, in model order: the norm is added up in that order, so that it does
  //          not depend on the plan. grad_clip: 0 for none.
  StepBarrier(int ranks, std::vector<std::string> parameters, double grad_clip);

  // Adds a rank's vote. A rank that votes again on the same step replaces nothing.
  // Args:    next_step: the step that the job is to decide next. loss_scale: what its gradients are multiplied by, a
  //          power of two; the outcome's norm is without it, its clip_scale divides by it.
  // Returns: the outcome when this was the last vote of the step, else nullopt.
  // Errors:  FailedPrecondition: the vote is on another step. InvalidArgument: no such rank.
  absl::StatusOr<std::optional<StepOutcome>> Add(const v1::StepVote& vote, uint64_t next_step, double loss_scale = 1);

  // Ends the collection of a step that was decided. The decision answers later repetitions of its votes.
  void Decided(uint64_t step, const v1::StepDecision& decision);
  // The answer to a repeated vote on the latest decided step.
  std::optional<v1::StepDecision> Repeated(const v1::StepVote& vote) const;

 private:
  StepOutcome Combine(uint64_t step, double loss_scale) const;
  // Fills in norm, or the fault.
  void CombineNorms(double loss_scale, StepOutcome* outcome) const;

  const int ranks_;
  const std::vector<std::string> parameters_;
  const double grad_clip_;
  absl::flat_hash_map<std::string, size_t> index_;  // of parameters_
  std::map<uint32_t, v1::StepVote> votes_;          // by rank
  uint64_t decided_step_ = 0;
  v1::StepDecision decision_;
};

}  // namespace penstock

#endif  // PENSTOCK_COORDINATOR_STEP_BARRIER_H_
