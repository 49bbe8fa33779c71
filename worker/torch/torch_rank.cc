#include "worker/torch/torch_rank.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/micro_batch.h"
#include "common/status_macros.h"
#include "model/loss_scale.h"
#include "model/lr_schedule.h"
#include "worker/torch/boundary.h"
#include "worker/torch/loss.h"
#include "worker/torch/token_sampler.h"
#include "worker/torch/torch_guard.h"

namespace penstock {

LayerContext TorchRank::Context(int micro_batch) const {
  LayerContext context;
  context.seed = spec_.train().seed();
  context.step = pass_.step;
  context.micro_batch = micro_batch;
  context.training = pass_.mode == v1::PASS_TRAIN;
  return context;
}

double TorchRank::Share(int micro_batch) const {
  const int64_t batch = spec_.train().batch_size();
  return static_cast<double>(MicroBatch(batch, plan_.micro_batches(), micro_batch).size()) / static_cast<double>(batch);
}

std::string TorchRank::Where(int stage, absl::string_view doing, int micro_batch) const {
  const auto it = stages_.find(stage);
  const std::string layer = it == stages_.end() ? "" : absl::StrCat(", layer ", it->second->layer());
  return absl::StrCat("stage ", stage, layer, ", ", doing, " of micro-batch ", micro_batch);
}

absl::Status TorchRank::BeginPass(const Pass& pass) {
  return RunTorch([] { return "starting a pass"; },
                  [&] {
                    pass_ = pass;
                    edges_.clear();
                    loss_tapes_.clear();
                    losses_.assign(plan_.micro_batches(), 0);
                    eval_.Clear();
                    next_token_.reset();
                    for (auto& [number, stage] : stages_) stage->BeginPass(plan_.micro_batches());
                    if (pass.mode == v1::PASS_TRAIN) {
                      Discard();
                      memory_->ResetPeak();
                      memory_use_.state_bytes = memory_->AllocatedBytes();
                    }
                    return reader_.has_value() ? reader_->BeginPass(pass) : absl::OkStatus();
                  });
}

absl::Status TorchRank::Forward(int stage, int micro_batch) {
  return RunTorch([&] { return Where(stage, "forward", micro_batch); }, [&] { return RunForward(stage, micro_batch); });
}

absl::Status TorchRank::InputGradient(int stage, int micro_batch) {
  return RunTorch([&] { return Where(stage, "input gradient", micro_batch); },
                  [&] { return RunInputGradient(stage, micro_batch); });
}

absl::Status TorchRank::WeightGradient(int stage, int micro_batch) {
  return RunTorch([&] { return Where(stage, "weight gradient", micro_batch); },
                  [&] { return RunWeightGradient(stage, micro_batch); });
}

absl::Status TorchRank::Recompute(int stage, int micro_batch) {
  return RunTorch([&] { return Where(stage, "recompute", micro_batch); },
                  [&] { return RunRecompute(stage, micro_batch); });
}

absl::StatusOr<Stage*> TorchRank::OwnStage(int stage) const {
  const auto it = stages_.find(stage);
  if (it == stages_.end()) return absl::InternalError("the stage is not on this rank");
  return it->second.get();
}

absl::Status TorchRank::CheckMemoryLimit() const {
  // A CPU's allocator has refused already; torch's own, of a CUDA device, knows no limit of ours.
  const uint64_t limit = memory_->LimitBytes(), allocated = memory_->AllocatedBytes();
  if (limit == 0 || allocated <= limit) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      absl::StrCat("out of memory: ", allocated, " bytes are in use, the worker's limit is ", limit));
}

absl::StatusOr<std::vector<at::Tensor>> TorchRank::TakeInputs(int stage, int micro_batch) {
  std::vector<at::Tensor> inputs;
  if (IsFirst(stage)) {
    PENSTOCK_ASSIGN_OR_RETURN(at::Tensor input, reader_->Inputs(micro_batch));
    input = input.to(device_);
    inputs.push_back(input.is_floating_point() ? input.to(compute_) : input);
    return inputs;
  }
  for (const BoundaryTensor& tensor : boundaries_[stage]) {
    PENSTOCK_ASSIGN_OR_RETURN(inputs.emplace_back(),
                              TakeEdge({stage, v1::DIRECTION_FORWARD, micro_batch, tensor.source}));
  }
  return inputs;
}

absl::Status TorchRank::RunForward(int stage, int micro_batch) {
  PENSTOCK_ASSIGN_OR_RETURN(Stage* const own, OwnStage(stage));
  PENSTOCK_ASSIGN_OR_RETURN(std::vector<at::Tensor> inputs, TakeInputs(stage, micro_batch));
  const Keep keep = pass_.mode != v1::PASS_TRAIN                  ? Keep::kNothing
                    : recomputed_.count({stage, micro_batch}) > 0 ? Keep::kInput
                                                                  : Keep::kEverything;
  std::vector<at::Tensor> outputs = own->Forward(std::move(inputs), Context(micro_batch), keep);
  PENSTOCK_RETURN_IF_ERROR(CheckMemoryLimit());
  if (IsLast(stage)) return FinishLastStage(micro_batch, outputs.front(), keep);
  for (size_t i = 0; i < outputs.size(); ++i) {
    Leave({stage + 1, v1::DIRECTION_FORWARD, micro_batch, boundaries_[stage + 1][i].source}, std::move(outputs[i]));
  }
  return absl::OkStatus();
}

absl::StatusOr<double> TorchRank::Loss(int micro_batch, const at::Tensor& output, Tape* tape) {
  PENSTOCK_ASSIGN_OR_RETURN(at::Tensor target, reader_->Targets(micro_batch));
  return LossForward(spec_.model().loss(), output, target.to(device_), Share(micro_batch), tape);
}

absl::Status TorchRank::FinishLastStage(int micro_batch, const at::Tensor& output, Keep keep) {
  if (pass_.mode == v1::PASS_GENERATE) return SampleNextToken(output);
  if (pass_.mode == v1::PASS_TRAIN) {
    Tape* tape = keep == Keep::kEverything ? &loss_tapes_[micro_batch] : nullptr;
    PENSTOCK_ASSIGN_OR_RETURN(losses_[micro_batch], Loss(micro_batch, output, tape));
    return absl::OkStatus();
  }
  PENSTOCK_ASSIGN_OR_RETURN(const at::Tensor target, reader_->Targets(micro_batch));
  const v1::EvalSums sums = LossSums(spec_.model().loss(), output, target.to(device_));
  eval_.set_loss_sum(eval_.loss_sum() + sums.loss_sum());
  eval_.set_targets(eval_.targets() + sums.targets());
  eval_.set_correct(eval_.correct() + sums.correct());
  return absl::OkStatus();
}

absl::Status TorchRank::SampleNextToken(const at::Tensor& output) {
  if (output.dim() != 3) return absl::FailedPreconditionError("the model is not a language model");
  const int64_t length = output.size(1);
  const at::Tensor logits = output.select(1, length - 1).select(0, 0).to(at::kFloat).contiguous().cpu();
  const absl::Span<const float> values(logits.const_data_ptr<float>(), static_cast<size_t>(logits.numel()));
  if (!std::all_of(values.begin(), values.end(), [](float value) { return std::isfinite(value); })) {
    return absl::FailedPreconditionError("the model's outputs are not finite: there is no likeliest token");
  }
  next_token_ = SampleToken(values, {pass_.temperature, pass_.top_k, pass_.seed}, pass_.tokens);
  return absl::OkStatus();
}

absl::Status TorchRank::RunRecompute(int stage, int micro_batch) {
  PENSTOCK_ASSIGN_OR_RETURN(Stage* const own, OwnStage(stage));
  if (!own->HasInput(micro_batch)) return absl::InternalError("its forward has not run, or kept more than its input");
  const std::vector<at::Tensor> outputs = own->Recompute(Context(micro_batch));
  PENSTOCK_RETURN_IF_ERROR(CheckMemoryLimit());
  if (!IsLast(stage)) return absl::OkStatus();
  // The loss itself was counted by the forward pass; its gradient needs what was not kept then.
  return Loss(micro_batch, outputs.front(), &loss_tapes_[micro_batch]).status();
}

absl::StatusOr<std::vector<at::Tensor>> TorchRank::TakeGradients(int stage, int micro_batch) {
  std::vector<at::Tensor> gradients;
  if (IsLast(stage)) {
    gradients.push_back(
        LossGradient(spec_.model().loss(), compute_, pass_.loss_scale * Share(micro_batch), &loss_tapes_[micro_batch]));
    loss_tapes_.erase(micro_batch);
    return gradients;
  }
  for (const BoundaryTensor& tensor : boundaries_[stage + 1]) {
    at::Tensor& gradient = gradients.emplace_back();
    if (!tensor.has_gradient) continue;
    PENSTOCK_ASSIGN_OR_RETURN(gradient, TakeEdge({stage, v1::DIRECTION_BACKWARD, micro_batch, tensor.source}));
  }
  return gradients;
}

absl::Status TorchRank::RunInputGradient(int stage, int micro_batch) {
  PENSTOCK_ASSIGN_OR_RETURN(Stage* const own, OwnStage(stage));
  if (!own->HasTapes(micro_batch)) return absl::InternalError("its forward, or its recompute, has not run");
  PENSTOCK_ASSIGN_OR_RETURN(std::vector<at::Tensor> gradients, TakeGradients(stage, micro_batch));
  gradients = own->InputGradient(std::move(gradients), Context(micro_batch));
  PENSTOCK_RETURN_IF_ERROR(CheckMemoryLimit());
  for (size_t i = 0; i < gradients.size(); ++i) {
    const BoundaryTensor& tensor = boundaries_[stage][i];
    if (!tensor.has_gradient) continue;
    Leave({stage - 1, v1::DIRECTION_BACKWARD, micro_batch, tensor.source}, std::move(gradients[i]));
  }
  return absl::OkStatus();
}

absl::Status TorchRank::RunWeightGradient(int stage, int micro_batch) {
  PENSTOCK_ASSIGN_OR_RETURN(Stage* const own, OwnStage(stage));
  if (!own->HasFactors(micro_batch)) return absl::InternalError("its input gradient has not run, or this one has");
  own->WeightGradient(micro_batch);
  return CheckMemoryLimit();
}

std::string TorchRank::Describe(const Edge& edge) const {
  const bool forward = edge.direction == v1::DIRECTION_FORWARD;
  std::string text = absl::StrCat("the ", forward ? "activation" : "gradient", " for stage ", edge.stage,
                                  ", micro-batch ", edge.micro_batch);
  const std::vector<BoundaryTensor>& across = boundaries_[forward ? edge.stage : edge.stage + 1];
  for (const BoundaryTensor& tensor : across) {
    if (across.size() > 1 && tensor.source == edge.source) absl::StrAppend(&text, ", of '", tensor.name, "'");
  }
  return text;
}

absl::StatusOr<TorchRank::Edge> TorchRank::FindEdge(int stage, v1::Direction direction, int micro_batch,
                                                    const std::string& tensor) const {
  const int cut = direction == v1::DIRECTION_FORWARD ? stage : stage + 1;  // the stage behind it
  if (cut >= 1 && cut < stage_count()) {
    for (const BoundaryTensor& across : boundaries_[cut]) {
      if (across.name == tensor) return Edge{stage, direction, micro_batch, across.source};
    }
  }
  return absl::InvalidArgumentError(absl::StrCat("no tensor '", tensor, "' crosses the cut before stage ", cut));
}

absl::StatusOr<at::Tensor> TorchRank::TakeEdge(const Edge& edge) {
  const auto it = edges_.find(edge);
  if (it == edges_.end()) {
    return absl::InternalError(absl::StrCat(Describe(edge), " is not there: the action list asks for it too early"));
  }
  at::Tensor tensor = std::move(it->second);
  edges_.erase(it);
  return tensor;
}

absl::StatusOr<TensorView> TorchRank::TakeOutput(int stage, v1::Direction direction, int micro_batch,
                                                 const std::string& tensor) {
  TensorView view;
  const absl::Status taken =
      RunTorch([&] { return Where(stage, "sending", micro_batch); },
               [&]() -> absl::Status {
                 const int to = direction == v1::DIRECTION_FORWARD ? stage + 1 : stage - 1;
                 PENSTOCK_ASSIGN_OR_RETURN(const Edge edge, FindEdge(to, direction, micro_batch, tensor));
                 PENSTOCK_ASSIGN_OR_RETURN(at::Tensor made, TakeEdge(edge));
                 if (!made.defined()) return absl::InternalError("tokens have no gradient to send");
                 view = ToView(std::move(made));
                 return absl::OkStatus();
               });
  if (!taken.ok()) return taken;
  return view;
}

absl::Status TorchRank::GiveInput(int stage, v1::Direction direction, int micro_batch, const std::string& tensor,
                                  ReceivedTensor received) {
  return RunTorch([&] { return Where(stage, "receiving", micro_batch); },
                  [&]() -> absl::Status {
                    PENSTOCK_ASSIGN_OR_RETURN(const Edge edge, FindEdge(stage, direction, micro_batch, tensor));
                    PENSTOCK_ASSIGN_OR_RETURN(edges_[edge], FromReceived(std::move(received), device_, memory_));
                    return absl::OkStatus();
                  });
}

absl::StatusOr<PassResult> TorchRank::EndPass() {
  absl::StatusOr<PassResult> result = absl::InternalError("no result");
  const absl::Status ended = RunTorch([] { return "ending a pass"; },
                                      [&] {
                                        result = RunEndPass();
                                        return result.status();
                                      });
  if (!ended.ok()) return ended;
  return result;
}

absl::StatusOr<PassResult> TorchRank::RunEndPass() {
  if (!edges_.empty()) {
    const Edge& left = edges_.begin()->first;
    return absl::InternalError(absl::StrCat(Describe(left), " was left over: the action list never uses it"));
  }
  PassResult result;
  const bool has_last = stages_.count(stage_count() - 1) > 0;
  if (pass_.mode == v1::PASS_GENERATE) {
    result.next_token = next_token_;
    return result;
  }
  if (pass_.mode == v1::PASS_EVAL) {
    if (has_last) result.eval = eval_;
    return result;
  }
  for (const auto& [number, stage] : stages_) {
    if (!stage->complete()) {
      return absl::InternalError(absl::StrCat("stage ", number, " has not run the backward pass of every micro-batch"));
    }
  }
  for (const auto& parameter : state_->store().parameters()) {
    if (parameter->frozen) continue;
    CHECK(parameter->has_gradient) << parameter->name;
    v1::ParameterNorm norm;
    norm.set_name(parameter->name);
    norm.set_squared(SquaredNorm(parameter->gradient));
    result.finite = result.finite && std::isfinite(norm.squared());
    result.norms.push_back(std::move(norm));
  }
  NotePeak();
  if (has_last) {
    result.losses = losses_;
    for (double loss : losses_) result.finite = result.finite && std::isfinite(loss);
  }
  return result;
}

absl::Status TorchRank::Update(const v1::StepDecision& decision) {
  return RunTorch([&] { return absl::StrCat("the update of step ", pass_.step); },
                  [&] {
                    step_ = pass_.step;
                    if (!decision.skip()) {
                      state_->optimizer().Step(decision.update() == 0 ? step_ : decision.update(),
                                               LearningRate(spec_.train(), step_), decision.clip_scale());
                      state_->store().RefreshCopies();
                      for (const auto& statistics : parts_.statistics) statistics->Commit();
                    }
                    NotePeak();
                    Discard();
                    return absl::OkStatus();
                  });
}

void TorchRank::Discard() {
  for (const auto& parameter : state_->store().parameters()) parameter->has_gradient = false;
  for (const auto& statistics : parts_.statistics) statistics->Begin(plan_.micro_batches());
}

v1::LoadReply TorchRank::Describe() const {
  v1::LoadReply reply = description_;
  reply.set_step(step_);
  if (ScalesLoss(spec_.train())) *reply.mutable_loss_scale() = loss_scale_;
  if (reader_.has_value()) {
    reply.set_eval_batches(reader_->eval_batches());
    *reply.mutable_data() = reader_->identity();
  }
  reply.set_allocated_bytes(memory_->AllocatedBytes());
  return reply;
}

}  // namespace penstock
