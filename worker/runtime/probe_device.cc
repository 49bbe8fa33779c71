#include "worker/runtime/probe_device.h"

#include <map>
#include <memory>
#include <string>
#include <utility>

#include "common/micro_batch.h"
#include "common/status_macros.h"
#include "model/model_info.h"

namespace penstock {
namespace {

class ProbeRank final : public LoadedRank {
 public:
  ProbeRank(const v1::LoadRequest& request, ModelInfo model, Clock* clock)
      : request_(request), model_(std::move(model)), clock_(clock) {}

  absl::Status BeginPass(const Pass&) override { return absl::OkStatus(); }
  absl::Status Forward(int stage, int) override { return Delay(LayerOf(stage).delay().forward_us()); }
  absl::Status InputGradient(int stage, int) override { return Delay(LayerOf(stage).delay().input_grad_us()); }
  absl::Status WeightGradient(int, int) override { return absl::OkStatus(); }
  absl::Status Recompute(int, int) override { return absl::OkStatus(); }
  absl::Status GiveInput(int, v1::Direction, int, const std::string&, ReceivedTensor) override {
    return absl::OkStatus();
  }
  absl::StatusOr<PassResult> EndPass() override { return PassResult(); }
  absl::Status Update(const v1::StepDecision&) override { return absl::OkStatus(); }
  void Discard() override {}
  MemoryUse TrainingMemory() const override { return {}; }
  v1::LoadReply Describe() const override { return {}; }

  // The same memory every time: filling it is not what is measured.
  absl::StatusOr<TensorView> TakeOutput(int stage, v1::Direction direction, int micro_batch,
                                        const std::string&) override {
    const int boundary = direction == v1::DIRECTION_FORWARD ? stage : stage - 1;
    // A probe's model is a chain: what crosses is the output of the layer before the cut.
    const TensorType& type = model_.layers[request_.plan().stages(boundary).end_layer() - 1].output;
    const int64_t samples =
        MicroBatch(request_.spec().train().batch_size(), request_.plan().micro_batches(), micro_batch).size();
    TensorView view;
    view.meta = {.dtype = type.dtype, .shape = {samples}};
    view.meta.shape.insert(view.meta.shape.end(), type.shape.begin(), type.shape.end());
    view.bytes = static_cast<size_t>(samples * type.Bytes());
    std::shared_ptr<char[]>& memory = memory_[view.bytes];
    if (memory == nullptr) memory.reset(new char[view.bytes]());
    view.data = memory.get();
    view.owner = memory;
    return view;
  }

  absl::StatusOr<v1::SaveReply> Save(uint64_t, const std::string&) override {
    return absl::FailedPreconditionError("a probe has no state to save");
  }
  absl::StatusOr<std::vector<v1::TensorHash>> Hashes() override { return std::vector<v1::TensorHash>(); }

 private:
  const v1::Layer& LayerOf(int stage) const {
    return request_.spec().model().layers(static_cast<int>(request_.plan().stages(stage).first_layer()));
  }

  absl::Status Delay(int64_t us) {
    clock_->SleepExactly(absl::Microseconds(us));
    return absl::OkStatus();
  }

  const v1::LoadRequest request_;
  const ModelInfo model_;
  Clock* const clock_;
  std::map<size_t, std::shared_ptr<char[]>> memory_;  // by size
};

}  // namespace

absl::StatusOr<std::unique_ptr<LoadedRank>> ProbeDevice::Load(const v1::LoadRequest& request) {
  PENSTOCK_ASSIGN_OR_RETURN(ModelInfo model, InferModel(request.spec().model()));
  return std::unique_ptr<LoadedRank>(std::make_unique<ProbeRank>(request, std::move(model), clock_));
}

absl::StatusOr<v1::MeasuredCosts> ProbeDevice::Measure(const v1::MeasureRequest&, const std::function<bool()>&) {
  return absl::FailedPreconditionError("a probe computes nothing that could be timed");
}

absl::StatusOr<v1::StepDecision> ProbeCommitter::Commit(const v1::StepVote&, StopSignal*) {
  v1::StepDecision decision;
  decision.set_commit(true);
  decision.set_clip_scale(1);
  return decision;
}

}  // namespace penstock
