// What ranks hold, and how long stages may be for their workers to hold them. Pure.
// Source: docs/schedules.md, "Memory".
#ifndef PENSTOCK_COORDINATOR_PLAN_RANK_MEMORY_H_
#define PENSTOCK_COORDINATOR_PLAN_RANK_MEMORY_H_

#include <cstdint>
#include <vector>

#include "coordinator/plan/model_costs.h"
#include "coordinator/plan/partition.h"
#include "coordinator/plan/placement.h"
#include "coordinator/plan/stage_limits.h"
#include "proto/plan.pb.h"

namespace penstock {

// Parameters, gradients, optimizer and buffers of each rank's stages, and once the largest layer's gradient.
std::vector<int64_t> RankStateBytes(const ModelCosts& costs, const Partition& stages, const Placement& placement);

// What each rank of a plan holds at once, at most. A plan of an earlier version has no predictions of ranks: then the
// sums of its stages.
std::vector<uint64_t> RankPeakBytes(const v1::Plan& plan);

// How much of a step a stage keeps at its fullest.
struct KeptSamples {
  int64_t whole = 0;     // samples whose activations are kept
  int64_t boundary = 0;  // samples of which only the stage's input is kept, to run forward once more

  friend bool operator==(const KeptSamples&, const KeptSamples&) = default;
};

// GPipe keeps every micro-batch.
KeptSamples KeptByGPipe(const v1::JobSpec& spec, int micro_batches);

// How long each stage may be, one stage a rank.
// Args: memory_bytes: by stage, 0: no limit; kept: by stage.
// O(L^2) time for each kind of stage at most.
StageLimits LimitsOf(const ModelCosts& costs, const std::vector<uint64_t>& memory_bytes,
                     const std::vector<KeptSamples>& kept);

}  // namespace penstock

#endif  // PENSTOCK_COORDINATOR_PLAN_RANK_MEMORY_H_
