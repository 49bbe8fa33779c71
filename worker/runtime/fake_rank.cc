#include "worker/runtime/fake_rank.h"

#include <algorithm>
#include <cstring>
#include <set>
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/micro_batch.h"
#include "common/status_macros.h"
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
  const uint64_t place = static_cast<uint64_t>(key.stage) << 34 | static_cast<uint64_t>(key.micro_batch) << 2 |
                         static_cast<uint64_t>(key.direction);
  return Mix(key.pass ^ Mix(place));
}

class FakeRank final : public LoadedRank {
 public:
  FakeRank(const v1::LoadRequest& request, ModelInfo model, FakeDevice::BeforeAction before,
           std::shared_ptr<std::atomic<int>> live)
      : request_(request), model_(std::move(model)), before_(std::move(before)), live_(std::move(live)) {
    ++*live_;
  }
  ~FakeRank() override { --*live_; }

  absl::Status BeginPass(const Pass& pass) override {
    if (in_pass_) return Fault("BeginPass inside a pass");
    in_pass_ = true;
    pass_ = pass;
    inputs_.clear();
    done_.clear();
    return absl::OkStatus();
  }

  absl::Status Forward(int stage, int micro_batch) override {
    if (stage > 0 && !inputs_.erase({stage, v1::DIRECTION_FORWARD, micro_batch})) return Fault("Forward without input");
    return Compute({stage, ActionKind::kForward, micro_batch});
  }

  absl::Status Backward(int stage, int micro_batch) override {
    const bool last = stage + 1 == request_.plan().stages_size();
    if (!done_.contains({stage, v1::DIRECTION_FORWARD, micro_batch})) return Fault("Backward before Forward");
    if (!last && !inputs_.erase({stage, v1::DIRECTION_BACKWARD, micro_batch})) return Fault("Backward without gradient");
    return Compute({stage, ActionKind::kBackward, micro_batch});
  }

  absl::StatusOr<TensorView> TakeOutput(int stage, v1::Direction direction, int micro_batch) override {
    const bool forward = direction == v1::DIRECTION_FORWARD;
    if (!done_.contains({stage, direction, micro_batch})) return Fault("TakeOutput of what was not computed");
    const uint32_t end = request_.plan().stages(forward ? stage : stage - 1).end_layer();
    const TensorType& type = model_.layers[end - 1].output;
    TensorView view;
    view.meta.dtype = type.dtype;
    view.meta.shape = {Samples(micro_batch)};
    view.meta.shape.insert(view.meta.shape.end(), type.shape.begin(), type.shape.end());
    view.bytes = static_cast<size_t>(Samples(micro_batch) * type.Bytes());
    std::shared_ptr<char[]> data(new char[view.bytes]);
    FillPattern({pass_.number, forward ? stage + 1 : stage - 1, direction, micro_batch, "x"}, data.get(), view.bytes);
    view.data = data.get();
    view.owner = data;
    return view;
  }

  absl::Status GiveInput(int stage, v1::Direction direction, int micro_batch, ReceivedTensor tensor) override {
    if (!HasPattern({pass_.number, stage, direction, micro_batch, "x"}, tensor.data.get(), tensor.bytes)) {
      return Fault("another tensor's bytes, or damaged ones");
    }
    if (!inputs_.insert({stage, direction, micro_batch}).second) return Fault("an input given twice");
    return absl::OkStatus();
  }

  absl::StatusOr<PassResult> EndPass() override {
    if (!in_pass_ || !inputs_.empty()) return Fault("EndPass with inputs left, or outside a pass");
    in_pass_ = false;
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

 private:
  using Place = std::tuple<int, v1::Direction, int>;

  absl::Status Fault(absl::string_view what) const {
    return absl::InternalError(absl::StrCat("fake rank ", request_.rank(), ": ", what));
  }

  absl::Status Compute(const Action& action) {
    if (!in_pass_) return Fault("an action outside a pass");
    if (before_ != nullptr) PENSTOCK_RETURN_IF_ERROR(before_(pass_, action));
    const v1::Direction made =
        action.kind == ActionKind::kForward ? v1::DIRECTION_FORWARD : v1::DIRECTION_BACKWARD;
    if (!done_.insert({action.stage, made, action.micro_batch}).second) return Fault("an action run twice");
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
  const FakeDevice::BeforeAction before_;
  const std::shared_ptr<std::atomic<int>> live_;
  uint64_t step_ = 0;
  bool in_pass_ = false;
  Pass pass_;
  std::set<Place> inputs_;  // given and not used yet
  std::set<Place> done_;    // computed in this pass
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

absl::StatusOr<std::unique_ptr<LoadedRank>> FakeDevice::Load(const v1::LoadRequest& request) {
  PENSTOCK_ASSIGN_OR_RETURN(ModelInfo model, InferModel(request.spec().model()));
  return std::unique_ptr<LoadedRank>(std::make_unique<FakeRank>(request, std::move(model), before_, live_));
}

}  // namespace penstock
