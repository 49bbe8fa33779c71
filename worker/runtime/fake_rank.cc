#include "worker/runtime/fake_rank.h"

#include <algorithm>
#include <cstring>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/micro_batch.h"
#include "common/status_macros.h"
#include "model/boundary.h"
#include "model/model_info.h"

namespace penstock {
namespace {

// splitmix64's step: neighbouring keys give unlike bytes.
uint64_t Mix(uint64_t value) {
  value += 0x9e3779b97f4a7c15u;
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9u;
  value = (value ^ (value >> 27)) * 0x94d049bb133111ebu;
  return value ^ (value >> 31);
}

uint64_t Seed(const BoundaryKey& key) {
  uint64_t name = 0;
  for (const char c : key.tensor) name = Mix(name ^ static_cast<unsigned char>(c));
  const uint64_t place = static_cast<uint64_t>(key.stage) << 34 | static_cast<uint64_t>(key.micro_batch) << 2 |
                         static_cast<uint64_t>(key.direction);
  return Mix(key.pass ^ Mix(place ^ name));
}

class FakeRank final : public LoadedRank {
 public:
  FakeRank(const v1::LoadRequest& request, ModelInfo model, FakeDevice::BeforeAction before,
           std::shared_ptr<std::atomic<int>> live)
      : request_(request), model_(std::move(model)), before_(std::move(before)), live_(std::move(live)) {
    ++*live_;
    for (const v1::Stage& stage : request_.plan().stages()) {
      own_stages_ += stage.rank() == request_.rank();
      boundaries_.push_back(TensorsAcross(model_, static_cast<int>(stage.end_layer())));
    }
    for (const v1::Action& action : request_.plan().train(static_cast<int>(request_.rank())).actions()) {
      if (action.kind() == v1::ACTION_RECOMPUTE) recomputed_.emplace(action.stage(), action.micro_batch());
    }
  }
  ~FakeRank() override { --*live_; }

  absl::Status BeginPass(const Pass& pass) override {
    if (in_pass_) return Fault("BeginPass inside a pass");
    in_pass_ = true;
    pass_ = pass;
    inputs_.clear();
    taken_.clear();
    done_.clear();
    weight_gradients_ = 0;
    return absl::OkStatus();
  }

  absl::Status Forward(int stage, int micro_batch) override {
    if (stage > 0) PENSTOCK_RETURN_IF_ERROR(TakeInput(stage, v1::DIRECTION_FORWARD, micro_batch));
    return Compute({stage, ActionKind::kForward, micro_batch});
  }

  absl::Status InputGradient(int stage, int micro_batch) override {
    if (!Did(stage, ActionKind::kForward, micro_batch)) return Fault("InputGradient before Forward");
    if (recomputed_.contains({stage, micro_batch}) && !Did(stage, ActionKind::kRecompute, micro_batch)) {
      return Fault("InputGradient before Recompute");
    }
    const bool last = stage + 1 == request_.plan().stages_size();
    if (!last) PENSTOCK_RETURN_IF_ERROR(TakeInput(stage, v1::DIRECTION_BACKWARD, micro_batch));
    return Compute({stage, ActionKind::kInputGradient, micro_batch});
  }

  absl::Status WeightGradient(int stage, int micro_batch) override {
    if (!Did(stage, ActionKind::kInputGradient, micro_batch)) return Fault("WeightGradient before InputGradient");
    ++weight_gradients_;
    return Compute({stage, ActionKind::kWeightGradient, micro_batch});
  }

  absl::Status Recompute(int stage, int micro_batch) override {
    if (!Did(stage, ActionKind::kForward, micro_batch)) return Fault("Recompute before Forward");
    if (Did(stage, ActionKind::kInputGradient, micro_batch)) return Fault("Recompute after InputGradient");
    return Compute({stage, ActionKind::kRecompute, micro_batch});
  }

  absl::StatusOr<TensorView> TakeOutput(int stage, v1::Direction direction, int micro_batch,
                                        const std::string& tensor) override {
    const bool forward = direction == v1::DIRECTION_FORWARD;
    if (!Did(stage, forward ? ActionKind::kForward : ActionKind::kInputGradient, micro_batch)) {
      return Fault("TakeOutput of what was not computed");
    }
    const int to = forward ? stage + 1 : stage - 1;
    if (IsHere(to)) return Fault("TakeOutput for a stage of the same rank");
    if (!taken_.insert({to, direction, micro_batch, tensor}).second) return Fault("an output taken twice");
    for (const BoundaryTensor& across : Across(to, direction)) {
      if (across.name != tensor) continue;
      TensorView view;
      view.meta.dtype = across.type.dtype;
      view.meta.shape = {Samples(micro_batch)};
      view.meta.shape.insert(view.meta.shape.end(), across.type.shape.begin(), across.type.shape.end());
      view.bytes = static_cast<size_t>(Samples(micro_batch) * across.type.Bytes());
      std::shared_ptr<char[]> data(new char[view.bytes]);
      FillPattern({pass_.number, to, direction, micro_batch, tensor}, data.get(), view.bytes);
      view.data = data.get();
      view.owner = data;
      return view;
    }
    return Fault(absl::StrCat("TakeOutput of '", tensor, "', which does not cross here"));
  }

  absl::Status GiveInput(int stage, v1::Direction direction, int micro_batch, const std::string& tensor,
                         ReceivedTensor received) override {
    if (!HasPattern({pass_.number, stage, direction, micro_batch, tensor}, received.data.get(), received.bytes)) {
      return Fault("another tensor's bytes, or damaged ones");
    }
    if (!inputs_.insert({stage, direction, micro_batch, tensor}).second) return Fault("an input given twice");
    return absl::OkStatus();
  }

  absl::StatusOr<PassResult> EndPass() override {
    if (!in_pass_ || !inputs_.empty()) return Fault("EndPass with inputs left, or outside a pass");
    PENSTOCK_RETURN_IF_ERROR(CheckAllTaken());
    in_pass_ = false;
    if (pass_.mode == v1::PASS_TRAIN && weight_gradients_ != own_stages_ * request_.plan().micro_batches()) {
      return Fault("EndPass before every WeightGradient");
    }
    PassResult result;
    const bool last = request_.plan().stages(request_.plan().stages_size() - 1).rank() == request_.rank();
    if (last && pass_.mode == v1::PASS_TRAIN) result.losses.assign(request_.plan().micro_batches(), 1.0);
    if (last && pass_.mode == v1::PASS_EVAL) result.eval = MakeEval();
    if (last && pass_.mode == v1::PASS_GENERATE) result.next_token = static_cast<int64_t>(pass_.tokens.size());
    return result;
  }

  absl::Status Update(const v1::StepDecision&) override {
    ++step_;
    return absl::OkStatus();
  }
  void Discard() override {}

  v1::LoadReply Describe() const override {
    v1::LoadReply reply;
    reply.set_step(step_);
    for (int i = 0; i < request_.plan().stages_size(); ++i) {
      if (request_.plan().stages(i).rank() == request_.rank()) reply.add_stages()->set_stage(static_cast<uint32_t>(i));
    }
    return reply;
  }

  absl::StatusOr<v1::SaveReply> Save(uint64_t step, const std::string&) override {
    v1::SaveReply reply;
    reply.set_file(absl::StrCat("rank-", request_.rank(), ".step-", step));
    return reply;
  }

  absl::StatusOr<std::vector<v1::TensorHash>> Hashes() override {
    v1::TensorHash hash;
    hash.set_name(absl::StrCat("step-", step_));
    return std::vector<v1::TensorHash>{hash};
  }

  MemoryUse TrainingMemory() const override { return {.state_bytes = 1000, .peak_bytes = 12345}; }

 private:
  absl::Status Fault(absl::string_view what) const {
    return absl::InternalError(absl::StrCat("fake rank ", request_.rank(), ": ", what));
  }

  // What a stage made for another rank must have been taken, every tensor of it.
  absl::Status CheckAllTaken() const {
    for (const auto& [stage, kind, micro_batch] : done_) {
      const bool forward = kind == ActionKind::kForward;
      const int to = forward ? stage + 1 : stage - 1;
      if (!forward && kind != ActionKind::kInputGradient) continue;
      if (to < 0 || to == request_.plan().stages_size() || IsHere(to)) continue;
      const v1::Direction direction = forward ? v1::DIRECTION_FORWARD : v1::DIRECTION_BACKWARD;
      for (const BoundaryTensor& across : Across(to, direction)) {
        if (!taken_.contains({to, direction, micro_batch, across.name})) return Fault("EndPass with an output left");
      }
    }
    return absl::OkStatus();
  }

  bool IsHere(int stage) const { return request_.plan().stages(stage).rank() == request_.rank(); }
  bool Did(int stage, ActionKind kind, int micro_batch) const { return done_.contains({stage, kind, micro_batch}); }

  // What the stage waits for has been given, or was left by its neighbour on this rank.
  absl::Status TakeInput(int stage, v1::Direction direction, int micro_batch) {
    const bool forward = direction == v1::DIRECTION_FORWARD;
    const int from = forward ? stage - 1 : stage + 1;
    bool there = !IsHere(from) || Did(from, forward ? ActionKind::kForward : ActionKind::kInputGradient, micro_batch);
    for (const BoundaryTensor& across : Across(stage, direction)) {
      there = there && (IsHere(from) || inputs_.erase({stage, direction, micro_batch, across.name}) > 0);
    }
    if (there) return absl::OkStatus();
    return Fault(forward ? "Forward without input" : "InputGradient without gradient");
  }

  // What `stage` consumes that goes this way.
  std::vector<BoundaryTensor> Across(int stage, v1::Direction direction) const {
    if (direction == v1::DIRECTION_FORWARD) return boundaries_[stage - 1];
    std::vector<BoundaryTensor> gradients;
    for (const BoundaryTensor& tensor : boundaries_[stage]) {
      if (tensor.has_gradient) gradients.push_back(tensor);
    }
    return gradients;
  }

  absl::Status Compute(const Action& action) {
    if (!in_pass_) return Fault("an action outside a pass");
    if (!IsHere(action.stage)) return Fault("an action of another rank's stage");
    if (before_ != nullptr) PENSTOCK_RETURN_IF_ERROR(before_(pass_, action));
    if (!done_.insert({action.stage, action.kind, action.micro_batch}).second) return Fault("an action run twice");
    return absl::OkStatus();
  }

  int64_t Samples(int micro_batch) const {
    if (pass_.mode == v1::PASS_GENERATE) return 1;
    return MicroBatch(request_.spec().train().batch_size(), request_.plan().micro_batches(), micro_batch).size();
  }

  v1::EvalSums MakeEval() const {
    v1::EvalSums sums;
    sums.set_loss_sum(static_cast<double>(pass_.step));
    sums.set_targets(request_.spec().train().batch_size());
    return sums;
  }

  const v1::LoadRequest request_;
  const ModelInfo model_;
  std::vector<std::vector<BoundaryTensor>> boundaries_;  // by stage: what crosses the cut behind it
  const FakeDevice::BeforeAction before_;
  const std::shared_ptr<std::atomic<int>> live_;
  uint64_t step_ = 0;
  bool in_pass_ = false;
  Pass pass_;
  using Tensor = std::tuple<int, v1::Direction, int, std::string>;
  std::set<Tensor> inputs_;                          // given and not used yet
  std::set<Tensor> taken_;                           // taken in this pass
  std::set<std::tuple<int, ActionKind, int>> done_;  // computed in this pass
  uint32_t weight_gradients_ = 0;                    // of this pass
  uint32_t own_stages_ = 0;
  std::set<std::pair<int, int>> recomputed_;  // stages and micro-batches that the training list recomputes
};

}  // namespace

void FillPattern(const BoundaryKey& key, char* data, size_t bytes) {
  uint64_t word = Seed(key);
  for (size_t at = 0; at < bytes; at += sizeof(word)) {
    std::memcpy(data + at, &word, std::min(sizeof(word), bytes - at));
    word = word * 6364136223846793005u + 1442695040888963407u;
  }
}

bool HasPattern(const BoundaryKey& key, const char* data, size_t bytes) {
  uint64_t word = Seed(key);
  for (size_t at = 0; at < bytes; at += sizeof(word)) {
    if (std::memcmp(data + at, &word, std::min(sizeof(word), bytes - at)) != 0) return false;
    word = word * 6364136223846793005u + 1442695040888963407u;
  }
  return true;
}

absl::StatusOr<v1::MeasuredCosts> FakeDevice::Measure(const v1::MeasureRequest& request,
                                                      const std::function<bool()>& cancelled) {
  v1::MeasuredCosts costs;
  for (int i = 0; i < request.layers_size(); ++i) {
    if (cancelled()) return absl::CancelledError("the measurement was cancelled");
    v1::MeasuredLayer* layer = costs.add_layers();
    layer->set_samples(request.samples());
    layer->set_forward_us(1);
    layer->set_input_gradient_us(1);
    layer->set_weight_gradient_us(1);
  }
  return costs;
}

absl::StatusOr<std::unique_ptr<LoadedRank>> FakeDevice::Load(const v1::LoadRequest& request) {
  PENSTOCK_ASSIGN_OR_RETURN(ModelInfo model, InferModel(request.spec().model()));
  return std::unique_ptr<LoadedRank>(std::make_unique<FakeRank>(request, std::move(model), before_, live_));
}

}  // namespace penstock
