// Walks a rank's action list. Knows nothing of schedules but the list. Thread-compatible: one thread a rank.
#ifndef PENSTOCK_WORKER_RUNTIME_EXECUTOR_H_
#define PENSTOCK_WORKER_RUNTIME_EXECUTOR_H_

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/action.h"
#include "common/clock.h"
#include "worker/runtime/bounds.h"
#include "worker/runtime/stage_runner.h"
#include "worker/runtime/stop_signal.h"
#include "worker/runtime/tensor.h"

namespace penstock {

// Where boundary tensors come from and go to.
class TensorPort {
 public:
  virtual ~TensorPort() = default;
  // Waits for a tensor. Errors: DeadlineExceeded: it did not come; Unavailable: a neighbour is gone.
  virtual absl::StatusOr<ReceivedTensor> Receive(const BoundaryKey& key) = 0;
  // Hands a tensor over to be sent. Does not wait for the receiver.
  virtual absl::Status Send(const BoundaryKey& key, TensorView tensor) = 0;
};

// What the actions of one kind took in one stage.
struct ActionTimes {
  uint32_t count = 0;
  absl::Duration sum;
};

struct WalkTimes {
  absl::Duration busy;     // in compute actions
  absl::Duration total;    // first action's start to last action's end
  absl::Duration receive;  // in receive actions: waiting, mostly
  absl::Duration send;
  // Compute actions by stage and kind. A whole backward pass counts as its two parts, so that kBackward is no key.
  std::map<std::pair<int, ActionKind>, ActionTimes> actions;
};

// The tensors that a send or a receive is about, in the boundary's order. REQUIRES: not a compute action.
std::vector<BoundaryKey> KeysOf(const Action& action, uint64_t pass, const BoundaryBounds& bounds);

// The stage that consumes what the action is about, and the way it goes; it names no tensor. REQUIRES: as KeysOf.
BoundaryKey BoundaryOf(const Action& action);

// "step 12", "evaluation batch 0", "generation".
std::string ToText(const Pass& pass);

// Runs every action of the list, in order: receives, computes, sends. BeginPass and EndPass are the caller's.
// Errors: the runner's and the port's, with rank-local place ("step 12, action 1F3") before the message; the stop
//         signal's reason, within one action of its coming.
absl::StatusOr<WalkTimes> WalkPass(const ActionList& list, const Pass& pass, const BoundaryBounds& bounds,
                                   StageRunner* runner, TensorPort* port, const StopSignal& stop, Clock* clock);

}  // namespace penstock

#endif  // PENSTOCK_WORKER_RUNTIME_EXECUTOR_H_
