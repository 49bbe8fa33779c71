// The step's barrier as a rank sees it: the coordinator's CommitStep. Thread-safe.
#ifndef PENSTOCK_WORKER_RUNTIME_STEP_COMMITTER_H_
#define PENSTOCK_WORKER_RUNTIME_STEP_COMMITTER_H_

#include "absl/status/statusor.h"
#include "proto/coordinator.pb.h"
#include "worker/runtime/stop_signal.h"

namespace penstock {

class StepCommitter {
 public:
  virtual ~StepCommitter() = default;
  // Gives this rank's vote and waits for the decision. Ends at once when `stop` does.
  // Errors: as rpc CommitStep; Unavailable: no coordinator; the stop signal's reason.
  virtual absl::StatusOr<v1::StepDecision> Commit(const v1::StepVote& vote, StopSignal* stop) = 0;
};

}  // namespace penstock

#endif  // PENSTOCK_WORKER_RUNTIME_STEP_COMMITTER_H_
