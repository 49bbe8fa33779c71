#include "tests/worker/torch/pipeline.h"

#include <google/protobuf/text_format.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/checkpoint/checkpoint_dir.h"
#include "common/checkpoint/manifest.h"
#include "common/clock.h"
#include "common/limits.h"
#include "common/status_macros.h"
#include "model/layer_kind.h"
#include "model/loss_scale.h"
#include "model/model_info.h"

namespace penstock {

absl::StatusOr<Pipeline> Pipeline::LoadLayout(Device* device, const std::string& spec_text, PipelineLayout layout,
                                              const std::string& resume_from) {
  Pipeline pipeline;
  v1::LoadRequest& request = pipeline.request_;
  if (!google::protobuf::TextFormat::ParseFromString(spec_text, request.mutable_spec())) {
    return absl::InvalidArgumentError("not a job's text form");
  }
  FillDefaults(request.mutable_spec()->mutable_model());
  PENSTOCK_ASSIGN_OR_RETURN(const ModelInfo model, InferModel(request.spec().model()));
  for (const LayerInfo& info : model.layers) {
    for (const ParameterSpec& parameter : info.parameters) {
      if (!parameter.frozen) pipeline.parameters_.push_back(parameter.name);
    }
  }
  request.set_job("test");
  request.set_plan_epoch(1);
  request.set_resume_from(resume_from);
  request.mutable_plan()->set_micro_batches(request.spec().pipeline().micro_batches());
  if (layout.rank_of_stage.empty()) {
    for (size_t i = 0; i < layout.cuts.size(); ++i) layout.rank_of_stage.push_back(static_cast<int>(i));
  }
  uint32_t layer = 0;
  for (size_t i = 0; i < layout.cuts.size(); ++i) {
    v1::Stage* stage = request.mutable_plan()->add_stages();
    pipeline.boundaries_.push_back(TensorsAcross(model, static_cast<int>(layer)));
    stage->set_first_layer(layer);
    stage->set_end_layer(layer += layout.cuts[i]);
    stage->set_rank(static_cast<uint32_t>(layout.rank_of_stage[i]));
  }
  pipeline.rank_of_stage_ = std::move(layout.rank_of_stage);
  pipeline.train_ = layout.train.empty() ? pipeline.TableOf(RunOrder::kGpipe) : std::move(layout.train);
  for (const ActionList& list : pipeline.train_) *request.mutable_plan()->add_train() = ToProto(list);
  for (size_t i = 0; i < pipeline.train_.size(); ++i) {
    request.set_rank(static_cast<uint32_t>(i));
    PENSTOCK_ASSIGN_OR_RETURN(std::unique_ptr<LoadedRank> rank, device->Load(request));
    pipeline.loss_scale_ = rank->Describe().loss_scale();
    pipeline.ranks_.push_back(std::move(rank));
  }
  return pipeline;
}

ActionTable Pipeline::TableOf(RunOrder order) const {
  ActionTable table(*std::max_element(rank_of_stage_.begin(), rank_of_stage_.end()) + 1);
  const int count = static_cast<int>(request_.plan().micro_batches());
  const auto add = [&](ActionKind kind, int micro_batch) {
    const bool forward = kind == ActionKind::kForward;
    for (int i = 0; i < stages(); ++i) {
      const int stage = forward ? i : stages() - 1 - i;
      table[rank_of_stage_[stage]].push_back({stage, kind, micro_batch});
    }
  };
  for (int i = 0; i < count; ++i) {
    add(ActionKind::kForward, order == RunOrder::kReverseForward ? count - 1 - i : i);
    if (order == RunOrder::kOneFOneB) add(ActionKind::kBackward, i);
  }
  for (int i = 0; order != RunOrder::kOneFOneB && i < count; ++i) {
    add(ActionKind::kBackward, order == RunOrder::kReverseBackward ? count - 1 - i : i);
  }
  return table;
}

absl::Status Pipeline::Begin(Pass pass) {
  pass.number = next_pass_++;
  for (const auto& rank : ranks_) PENSTOCK_RETURN_IF_ERROR(rank->BeginPass(pass));
  return absl::OkStatus();
}

absl::Status Pipeline::Timed(const char* part, int stage, absl::FunctionRef<absl::Status()> work) {
  const absl::Duration start = Clock::Real()->Monotonic();
  PENSTOCK_RETURN_IF_ERROR(work());
  if (observer_) observer_(part, stage, Clock::Real()->Monotonic() - start);
  return absl::OkStatus();
}

std::vector<std::string> Pipeline::TensorsFor(int to, v1::Direction direction) const {
  const bool forward = direction == v1::DIRECTION_FORWARD;
  std::vector<std::string> names;
  for (const BoundaryTensor& tensor : boundaries_[forward ? to : to + 1]) {
    if (forward || tensor.has_gradient) names.push_back(tensor.name);
  }
  return names;
}

absl::Status Pipeline::Post(int from, int to, v1::Direction direction, int micro_batch) {
  if (to < 0 || to == stages() || rank_of_stage_[from] == rank_of_stage_[to]) return absl::OkStatus();
  for (const std::string& name : TensorsFor(to, direction)) {
    PENSTOCK_ASSIGN_OR_RETURN(const TensorView view, Of(from)->TakeOutput(from, direction, micro_batch, name));
    if (on_tensor_) on_tensor_(view);
    ReceivedTensor received;
    received.meta = view.meta;
    received.bytes = view.bytes;
    const size_t room =
        (view.bytes + limits::kTensorAlignment - 1) / limits::kTensorAlignment * limits::kTensorAlignment;
    received.data = std::shared_ptr<char[]>(static_cast<char*>(std::aligned_alloc(limits::kTensorAlignment, room)),
                                            [](char* data) { std::free(data); });
    std::memcpy(received.data.get(), view.data, view.bytes);
    mail_[{to, direction, micro_batch, name}] = std::move(received);
  }
  return absl::OkStatus();
}

absl::Status Pipeline::Deliver(int to, v1::Direction direction, int micro_batch) {
  const int from = direction == v1::DIRECTION_FORWARD ? to - 1 : to + 1;
  if (from < 0 || from == stages()) return absl::OkStatus();
  for (const std::string& name : TensorsFor(to, direction)) {
    auto mail = mail_.extract({to, direction, micro_batch, name});
    if (mail.empty()) continue;  // its neighbour is on the same rank
    PENSTOCK_RETURN_IF_ERROR(Of(to)->GiveInput(to, direction, micro_batch, name, std::move(mail.mapped())));
  }
  return absl::OkStatus();
}

bool Pipeline::Ready(const Action& action, const Done& done) const {
  const auto [stage, kind, micro_batch, fused] = action;
  if (kind == ActionKind::kForward) return stage == 0 || done.contains({stage - 1, kind, micro_batch});
  if (kind != ActionKind::kBackward && kind != ActionKind::kInputGradient) return true;
  return stage == stages() - 1 || done.contains({stage + 1, ActionKind::kInputGradient, micro_batch});
}

absl::Status Pipeline::Run(const Action& action, Done* done) {
  // Not bound in one go: lambdas take these, and Clang 14 does not let them take bindings.
  const int stage = action.stage, micro_batch = action.micro_batch;
  const ActionKind kind = action.kind;
  switch (kind) {
    case ActionKind::kForward:
      PENSTOCK_RETURN_IF_ERROR(Deliver(stage, v1::DIRECTION_FORWARD, micro_batch));
      PENSTOCK_RETURN_IF_ERROR(Timed("forward", stage, [&] { return Of(stage)->Forward(stage, micro_batch); }));
      done->insert({stage, kind, micro_batch});
      return Post(stage, stage + 1, v1::DIRECTION_FORWARD, micro_batch);
    case ActionKind::kBackward:
      PENSTOCK_RETURN_IF_ERROR(Run({stage, ActionKind::kInputGradient, micro_batch}, done));
      return Run({stage, ActionKind::kWeightGradient, micro_batch}, done);
    case ActionKind::kInputGradient:
      PENSTOCK_RETURN_IF_ERROR(Deliver(stage, v1::DIRECTION_BACKWARD, micro_batch));
      PENSTOCK_RETURN_IF_ERROR(
          Timed("input gradient", stage, [&] { return Of(stage)->InputGradient(stage, micro_batch); }));
      done->insert({stage, kind, micro_batch});
      return Post(stage, stage - 1, v1::DIRECTION_BACKWARD, micro_batch);
    case ActionKind::kWeightGradient:
      return Timed("weight gradient", stage, [&] { return Of(stage)->WeightGradient(stage, micro_batch); });
    case ActionKind::kRecompute:
      return Timed("recompute", stage, [&] { return Of(stage)->Recompute(stage, micro_batch); });
    default:
      return absl::InvalidArgumentError("the table holds compute actions only");
  }
}

absl::Status Pipeline::Walk(const ActionTable& table) {
  Done done;
  std::vector<size_t> next(table.size(), 0);
  for (bool moved = true; moved;) {
    moved = false;
    for (size_t r = 0; r < table.size(); ++r) {
      for (; next[r] < table[r].size() && Ready(table[r][next[r]], done); ++next[r], moved = true) {
        PENSTOCK_RETURN_IF_ERROR(Annotate(Run(table[r][next[r]], &done), ToText(table[r][next[r]])));
      }
    }
  }
  std::string stuck;
  for (size_t r = 0; r < table.size(); ++r) {
    if (next[r] < table[r].size()) absl::StrAppend(&stuck, " rank ", r, " at ", ToText(table[r][next[r]]), ";");
  }
  return stuck.empty() ? absl::OkStatus() : absl::InternalError(absl::StrCat("the table is stuck:", stuck));
}

absl::Status Pipeline::Forward(int micro_batch) {
  Done done;
  for (int stage = 0; stage < stages(); ++stage) {
    PENSTOCK_RETURN_IF_ERROR(Run({stage, ActionKind::kForward, micro_batch}, &done));
  }
  return absl::OkStatus();
}

absl::StatusOr<StepReport> Pipeline::Step(uint64_t step) {
  observer_ = nullptr;
  return RunStep(step, train_);
}

absl::StatusOr<StepReport> Pipeline::Step(uint64_t step, RunOrder order, const Observer& observer) {
  observer_ = observer;
  return RunStep(step, TableOf(order));
}

absl::StatusOr<StepReport> Pipeline::RunStep(uint64_t step, const ActionTable& table) {
  Pass pass;
  pass.mode = v1::PASS_TRAIN;
  pass.step = step;
  pass.loss_scale = ScaleOf(loss_scale_);
  PENSTOCK_RETURN_IF_ERROR(Begin(pass));
  PENSTOCK_RETURN_IF_ERROR(Walk(table));
  StepReport report;
  report.loss_scale = pass.loss_scale;
  std::map<std::string, double> squares;
  for (int rank = 0; rank < ranks(); ++rank) {
    absl::StatusOr<PassResult> ended = absl::InternalError("no result");
    PENSTOCK_RETURN_IF_ERROR(Timed("end", rank, [&] { return (ended = ranks_[rank]->EndPass()).status(); }));
    const PassResult& result = *ended;
    for (const v1::ParameterNorm& norm : result.norms) squares[norm.name()] = norm.squared();
    for (double loss : result.losses) report.loss += loss;
    report.finite = report.finite && result.finite;
  }
  // In model order, as the coordinator adds them, whichever rank holds a parameter.
  double squared = 0;
  for (const std::string& name : parameters_) squared += squares.at(name);
  report.grad_norm = std::sqrt(squared) / pass.loss_scale;
  v1::StepDecision decision;
  decision.set_commit(true);
  decision.set_grad_norm(report.grad_norm);
  const double clip = request_.spec().train().grad_clip();
  decision.set_clip_scale(clip > 0 && report.grad_norm > clip ? clip / (report.grad_norm + 1e-6) : 1);
  decision.set_clip_scale(decision.clip_scale() / pass.loss_scale);
  if (ScalesLoss(request_.spec().train())) {
    report.skipped = !report.finite;
    decision.set_skip(report.skipped);
    decision.set_update(step - loss_scale_.skipped());
    loss_scale_ = NextLossScale(request_.spec().train().loss_scale(), loss_scale_, report.skipped);
  }
  for (int rank = 0; rank < ranks(); ++rank) {
    PENSTOCK_RETURN_IF_ERROR(Timed("update", rank, [&] { return ranks_[rank]->Update(decision); }));
  }
  return report;
}

absl::StatusOr<v1::EvalSums> Pipeline::Evaluate(uint64_t batch) {
  Pass pass;
  pass.mode = v1::PASS_EVAL;
  pass.step = batch;
  PENSTOCK_RETURN_IF_ERROR(Begin(pass));
  for (uint32_t i = 0; i < request_.plan().micro_batches(); ++i) PENSTOCK_RETURN_IF_ERROR(Forward(i));
  v1::EvalSums sums;
  for (const auto& rank : ranks_) {
    PENSTOCK_ASSIGN_OR_RETURN(const PassResult result, rank->EndPass());
    if (result.eval.has_value()) sums = *result.eval;
  }
  return sums;
}

absl::StatusOr<int64_t> Pipeline::NextToken(const std::vector<int64_t>& tokens, double temperature, uint32_t top_k,
                                            uint64_t seed) {
  Pass pass;
  pass.mode = v1::PASS_GENERATE;
  pass.tokens = tokens;
  pass.temperature = temperature;
  pass.top_k = top_k;
  pass.seed = seed;
  PENSTOCK_RETURN_IF_ERROR(Begin(pass));
  PENSTOCK_RETURN_IF_ERROR(Forward(0));
  std::optional<int64_t> next;
  for (const auto& rank : ranks_) {
    PENSTOCK_ASSIGN_OR_RETURN(const PassResult result, rank->EndPass());
    if (result.next_token.has_value()) next = result.next_token;
  }
  if (!next.has_value()) return absl::InternalError("no rank chose a token");
  return *next;
}

absl::StatusOr<std::string> Pipeline::Hash() {
  std::vector<v1::TensorHash> all;
  for (const auto& rank : ranks_) {
    PENSTOCK_ASSIGN_OR_RETURN(const std::vector<v1::TensorHash> hashes, rank->Hashes());
    all.insert(all.end(), hashes.begin(), hashes.end());
  }
  return HashOfTensors(std::move(all));
}

absl::StatusOr<std::string> Pipeline::Save(const std::string& dir, uint64_t step) {
  const std::string temporary = TemporaryCheckpointPath(dir, step, 1);
  Manifest manifest;
  manifest.job = "test";
  manifest.step = step;
  manifest.plan = request_.plan();
  manifest.spec = request_.spec();
  manifest.loss_scale = loss_scale_;
  for (const auto& rank : ranks_) {
    PENSTOCK_ASSIGN_OR_RETURN(const v1::SaveReply reply, rank->Save(step, temporary));
    manifest.files.push_back({reply.file(), reply.bytes(), {reply.tensors().begin(), reply.tensors().end()}});
  }
  PENSTOCK_ASSIGN_OR_RETURN(const v1::CheckpointInfo info, CommitCheckpoint(temporary, manifest));
  return info.path();
}

}  // namespace penstock
