// How far a job is and how fast: what steps' outcomes, workers' answers and counters say to people. Pure;
// thread-compatible.
#ifndef PENSTOCK_COORDINATOR_JOB_PROGRESS_H_
#define PENSTOCK_COORDINATOR_JOB_PROGRESS_H_

#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <vector>

#include "coordinator/records/job_records.h"
#include "coordinator/step_barrier.h"
#include "proto/coordinator.pb.h"
#include "proto/worker.pb.h"

namespace penstock {

class JobProgress {
 public:
  JobProgress(const v1::JobSpec& spec, const v1::Plan& plan);

  // Which worker runs a rank.
  void SetWorker(int rank, const std::string& worker);
  void OnLoaded(int rank, const v1::LoadReply& reply);
  // Where a rank's step went; counts once the step is committed.
  void OnVote(const v1::StepVote& vote);
  void OnCounters(int rank, const v1::Counters& counters);
  // Precision fp16: the scale of the next step.
  void SetLossScale(const v1::LossScaleState& state) { loss_scale_ = state; }
  // A committed step, or a skipped one. Returns its line of metrics.
  StepMetrics OnStep(const StepOutcome& outcome);
  // Whether metrics.jsonl has a line for this step: every log.every, the last, and each one that is hashed.
  bool LogsStep(uint64_t step) const;

  // Writes loss, lr, speeds, bubble, eta, stages and unit.
  // Args: step: completed updates.
  void Fill(uint64_t step, v1::JobStatus* status) const;

 private:
  // Of the latest steps, as all figures of this kind are.
  double MedianStepSeconds() const;
  void FillMedians(v1::JobStatus* status) const;

  const v1::Train train_;
  const uint64_t log_every_;
  const bool hash_;
  const bool tokens_;            // else samples
  const double units_per_step_;  // tokens or samples
  std::vector<v1::StageStatus> stages_;
  std::vector<int> stage_rank_;
  std::map<uint32_t, v1::StepVote> votes_;               // of the step under way, by rank
  std::map<uint32_t, std::deque<v1::StepVote>> recent_;  // of the latest steps, by rank; without norms and losses
  std::vector<std::string> rank_worker_;
  StepMetrics last_;  // loss and norm: of the latest step that was not skipped
  v1::LossScaleState loss_scale_;
  bool stepped_ = false;
  std::deque<double> recent_step_seconds_;
};

}  // namespace penstock

#endif  // PENSTOCK_COORDINATOR_JOB_PROGRESS_H_
