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

absl::Status RunAction(const Action& action, uint64_t pass, StageRunner* runner, TensorPort* port) {
  switch (action.kind) {
    case ActionKind::kForward:
      return runner->Forward(action.stage, action.micro_batch);
    case ActionKind::kBackward:
      return runner->Backward(action.stage, action.micro_batch);
    case ActionKind::kSendForward:
    case ActionKind::kSendBackward: {
      PENSTOCK_ASSIGN_OR_RETURN(TensorView tensor,
                                runner->TakeOutput(action.stage, DirectionOf(action.kind), action.micro_batch));
      return port->Send(KeyOf(action, pass), std::move(tensor));
    }
    case ActionKind::kRecvForward:
    case ActionKind::kRecvBackward: {
      PENSTOCK_ASSIGN_OR_RETURN(ReceivedTensor tensor, port->Receive(KeyOf(action, pass)));
      return runner->GiveInput(action.stage, DirectionOf(action.kind), action.micro_batch, std::move(tensor));
    }
    case ActionKind::kInputGradient:
    case ActionKind::kWeightGradient:
    case ActionKind::kRecompute:
      return absl::UnimplementedError("this worker runs the backward pass whole");
  }
  return absl::InternalError("an action of no kind");
}

}  // namespace

BoundaryKey KeyOf(const Action& action, uint64_t pass) {
  CHECK(!IsCompute(action.kind));
  int stage = action.stage;  // the one that consumes the tensor
  if (action.kind == ActionKind::kSendForward) ++stage;
  if (action.kind == ActionKind::kSendBackward) --stage;
  return {.pass = pass,
          .stage = stage,
          .direction = DirectionOf(action.kind),
          .micro_batch = action.micro_batch,
          .tensor = "x"};
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

absl::StatusOr<WalkTimes> WalkPass(const ActionList& list, const Pass& pass, StageRunner* runner, TensorPort* port,
                                   const StopSignal& stop, Clock* clock) {
  WalkTimes times;
  const absl::Duration start = clock->Monotonic();
  for (const Action& action : list) {
    PENSTOCK_RETURN_IF_ERROR(stop.status());
    const absl::Duration before = IsCompute(action.kind) ? clock->Monotonic() : absl::ZeroDuration();
    const absl::Status status = RunAction(action, pass.number, runner, port);
    if (!status.ok()) {
      return Annotate(status, absl::StrCat(ToText(pass), ", action ", ToText(action)));
    }
    if (IsCompute(action.kind)) times.busy += clock->Monotonic() - before;
  }
  times.total = clock->Monotonic() - start;
  return times;
}

}  // namespace penstock
