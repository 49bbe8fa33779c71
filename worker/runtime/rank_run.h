// The passes of one Run: training steps, evaluation batches, a generation pass. Called on the executor's thread.
#ifndef PENSTOCK_WORKER_RUNTIME_RANK_RUN_H_
#define PENSTOCK_WORKER_RUNTIME_RANK_RUN_H_

#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "common/clock.h"
#include "proto/worker.pb.h"
#include "worker/runtime/job_log.h"
#include "worker/runtime/rank_links.h"
#include "worker/runtime/rank_plan.h"
#include "worker/runtime/stage_runner.h"
#include "worker/runtime/step_committer.h"
#include "worker/runtime/stop_signal.h"

namespace penstock {

// What a run uses; nothing is owned.
struct RunContext {
  const RankPlan* plan = nullptr;
  LoadedRank* rank = nullptr;
  RankLinks* links = nullptr;
  StepCommitter* committer = nullptr;
  StopSignal* stop = nullptr;
  JobLog* log = nullptr;
  Clock* clock = nullptr;
  std::string worker;                          // this worker's id
  uint64_t log_every = 0;                      // steps between lines in the log; 0: none
  bool probe = false;                          // tells how long passes take: RunReply.pass_seconds
  std::function<v1::Counters()> counters;
};

// Errors: InvalidArgument: no mode, an empty or absurd range. Those of rpc Run, with job, rank, step and action before
//         the message.
absl::StatusOr<v1::RunReply> RunPasses(const RunContext& context, const v1::RunRequest& request);

}  // namespace penstock

#endif  // PENSTOCK_WORKER_RUNTIME_RANK_RUN_H_
