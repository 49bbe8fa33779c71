#include "worker/runtime/executor.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/logging.h"
#include "common/status_macros.h"

namespace penstock {
namespace {

v1::Direction DirectionOf(ActionKind kind) {
  return kind == ActionKind::kSendForward || kind == ActionKind::kRecvForward ? v1::DIRECTION_FORWARD
                                                                              : v1::DIRECTION_BACKWARD;
}

// Runs a list's actions one by one and times them.
class Walk {
 public:
  Walk(uint64_t pass, const BoundaryBounds& bounds, StageRunner* runner, TensorPort* port, Clock* clock)
      : pass_(pass), bounds_(bounds), runner_(runner), port_(port), clock_(clock), now_(clock->Monotonic()) {}

  absl::Status Run(const Action& action) {
    switch (action.kind) {
      case ActionKind::kForward:
      case ActionKind::kInputGradient:
      case ActionKind::kWeightGradient:
      case ActionKind::kRecompute:
        return Compute(action);
      case ActionKind::kBackward: {
        PENSTOCK_RETURN_IF_ERROR(Compute({action.stage, ActionKind::kInputGradient, action.micro_batch}));
        return Compute({action.stage, ActionKind::kWeightGradient, action.micro_batch});
      }
      case ActionKind::kSendForward:
      case ActionKind::kSendBackward: {
        const absl::Status status = Send(action);
        times_.send += Lap();
        return status;
      }
      case ActionKind::kRecvForward:
      case ActionKind::kRecvBackward: {
        const absl::Status status = Receive(action);
        times_.receive += Lap();
        return status;
      }
    }
    return absl::InternalError("an action of no kind");
  }

  WalkTimes times() && { return std::move(times_); }

 private:
  // Time since the previous lap, or since the walk's start.
  absl::Duration Lap() {
    const absl::Duration before = std::exchange(now_, clock_->Monotonic());
    times_.total += now_ - before;
    return now_ - before;
  }

  absl::Status Compute(const Action& part) {
    const absl::Status status = Call(part);
    const absl::Duration took = Lap();
    times_.busy += took;
    ActionTimes& times = times_.actions[{part.stage, part.kind}];
    ++times.count;
    times.sum += took;
    return status;
  }

  absl::Status Call(const Action& part) {
    if (part.kind == ActionKind::kForward) return runner_->Forward(part.stage, part.micro_batch);
    if (part.kind == ActionKind::kInputGradient) return runner_->InputGradient(part.stage, part.micro_batch);
    if (part.kind == ActionKind::kWeightGradient) return runner_->WeightGradient(part.stage, part.micro_batch);
    return runner_->Recompute(part.stage, part.micro_batch);
  }

  absl::Status Send(const Action& action) {
    for (const BoundaryKey& key : KeysOf(action, pass_, bounds_)) {
      PENSTOCK_ASSIGN_OR_RETURN(TensorView view,
                                runner_->TakeOutput(action.stage, key.direction, action.micro_batch, key.tensor));
      PENSTOCK_RETURN_IF_ERROR(port_->Send(key, std::move(view)));
    }
    return absl::OkStatus();
  }

  absl::Status Receive(const Action& action) {
    for (const BoundaryKey& key : KeysOf(action, pass_, bounds_)) {
      PENSTOCK_ASSIGN_OR_RETURN(ReceivedTensor received, port_->Receive(key));
      PENSTOCK_RETURN_IF_ERROR(
          runner_->GiveInput(action.stage, key.direction, action.micro_batch, key.tensor, std::move(received)));
    }
    return absl::OkStatus();
  }

  const uint64_t pass_;
  const BoundaryBounds& bounds_;
  StageRunner* const runner_;
  TensorPort* const port_;
  Clock* const clock_;
  absl::Duration now_;
  WalkTimes times_;
};

}  // namespace

BoundaryKey BoundaryOf(const Action& action) {
  CHECK(!IsCompute(action.kind));
  int stage = action.stage;  // the one that consumes the tensors
  if (action.kind == ActionKind::kSendForward) ++stage;
  if (action.kind == ActionKind::kSendBackward) --stage;
  return {.stage = stage, .direction = DirectionOf(action.kind), .micro_batch = action.micro_batch};
}

std::vector<BoundaryKey> KeysOf(const Action& action, uint64_t pass, const BoundaryBounds& bounds) {
  BoundaryKey key = BoundaryOf(action);
  key.pass = pass;
  std::vector<BoundaryKey> keys;
  for (const std::string& tensor : bounds.Tensors(key.stage, key.direction)) {
    key.tensor = tensor;
    keys.push_back(key);
  }
  return keys;
}

std::string ToText(const Pass& pass) {
  switch (pass.mode) {
    case v1::PASS_TRAIN:
      return absl::StrCat("step ", pass.step);
    case v1::PASS_EVAL:
      return absl::StrCat("evaluation batch ", pass.step);
    default:
      return "generation";
  }
}

absl::StatusOr<WalkTimes> WalkPass(const ActionList& list, const Pass& pass, const BoundaryBounds& bounds,
                                   StageRunner* runner, TensorPort* port, const StopSignal& stop, Clock* clock) {
  Walk walk(pass.number, bounds, runner, port, clock);
  for (const Action& action : list) {
    PENSTOCK_RETURN_IF_ERROR(stop.status());
    const absl::Status status = walk.Run(action);
    if (!status.ok()) {
      return Annotate(status, absl::StrCat(ToText(pass), ", action ", ToText(action)));
    }
  }
  return std::move(walk).times();
}

}  // namespace penstock
