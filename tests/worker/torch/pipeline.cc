#include "tests/worker/torch/pipeline.h"

#include <google/protobuf/text_format.h>

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/checkpoint/checkpoint_dir.h"
#include "common/checkpoint/manifest.h"
#include "common/clock.h"
#include "common/limits.h"
#include "common/status_macros.h"
#include "model/layer_kind.h"

namespace penstock {

absl::StatusOr<Pipeline> Pipeline::Load(Device* device, const std::string& spec_text, const std::vector<int>& cuts,
                                        const std::string& resume_from) {
  Pipeline pipeline;
  v1::LoadRequest& request = pipeline.request_;
  if (!google::protobuf::TextFormat::ParseFromString(spec_text, request.mutable_spec())) {
    return absl::InvalidArgumentError("not a job's text form");
  }
  FillDefaults(request.mutable_spec()->mutable_model());
  request.set_job("test");
  request.set_plan_epoch(1);
  request.set_resume_from(resume_from);
  request.mutable_plan()->set_micro_batches(request.spec().pipeline().micro_batches());
  uint32_t layer = 0;
  for (size_t i = 0; i < cuts.size(); ++i) {
    v1::Stage* stage = request.mutable_plan()->add_stages();
    stage->set_first_layer(layer);
    stage->set_end_layer(layer += cuts[i]);
    stage->set_rank(i);
  }
  for (size_t i = 0; i < cuts.size(); ++i) {
    request.set_rank(i);
    PENSTOCK_ASSIGN_OR_RETURN(std::unique_ptr<LoadedRank> rank, device->Load(request));
    pipeline.ranks_.push_back(std::move(rank));
  }
  return pipeline;
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

absl::Status Pipeline::Carry(int from, int to, v1::Direction direction, int micro_batch) {
  PENSTOCK_ASSIGN_OR_RETURN(const TensorView view, ranks_[from]->TakeOutput(from, direction, micro_batch));
  ReceivedTensor received;
  received.meta = view.meta;
  received.bytes = view.bytes;
  const size_t room = (view.bytes + limits::kTensorAlignment - 1) / limits::kTensorAlignment * limits::kTensorAlignment;
  received.data = std::shared_ptr<char[]>(static_cast<char*>(std::aligned_alloc(limits::kTensorAlignment, room)),
                                          [](char* data) { std::free(data); });
  std::memcpy(received.data.get(), view.data, view.bytes);
  return ranks_[to]->GiveInput(to, direction, micro_batch, std::move(received));
}

absl::Status Pipeline::Forward(int micro_batch) {
  for (int stage = 0; stage < stages(); ++stage) {
    if (stage > 0) PENSTOCK_RETURN_IF_ERROR(Carry(stage - 1, stage, v1::DIRECTION_FORWARD, micro_batch));
    PENSTOCK_RETURN_IF_ERROR(Timed("forward", stage, [&] { return ranks_[stage]->Forward(stage, micro_batch); }));
  }
  return absl::OkStatus();
}

absl::Status Pipeline::Backward(int micro_batch) {
  for (int stage = stages() - 1; stage >= 0; --stage) {
    if (stage < stages() - 1) PENSTOCK_RETURN_IF_ERROR(Carry(stage + 1, stage, v1::DIRECTION_BACKWARD, micro_batch));
    PENSTOCK_RETURN_IF_ERROR(Timed("backward", stage, [&] { return ranks_[stage]->Backward(stage, micro_batch); }));
  }
  return absl::OkStatus();
}

absl::StatusOr<StepReport> Pipeline::Step(uint64_t step, RunOrder order, const Observer& observer) {
  observer_ = observer;
  Pass pass;
  pass.mode = v1::PASS_TRAIN;
  pass.step = step;
  PENSTOCK_RETURN_IF_ERROR(Begin(pass));
  const int count = request_.plan().micro_batches();
  for (int i = 0; i < count; ++i) {
    PENSTOCK_RETURN_IF_ERROR(Forward(order == RunOrder::kReverseForward ? count - 1 - i : i));
    if (order == RunOrder::kOneFOneB) PENSTOCK_RETURN_IF_ERROR(Backward(i));
  }
  for (int i = 0; order != RunOrder::kOneFOneB && i < count; ++i) {
    PENSTOCK_RETURN_IF_ERROR(Backward(order == RunOrder::kReverseBackward ? count - 1 - i : i));
  }
  StepReport report;
  double squared = 0;
  for (int stage = 0; stage < stages(); ++stage) {
    absl::StatusOr<PassResult> ended = absl::InternalError("no result");
    PENSTOCK_RETURN_IF_ERROR(Timed("end", stage, [&] { return (ended = ranks_[stage]->EndPass()).status(); }));
    const PassResult& result = *ended;
    for (const v1::ParameterNorm& norm : result.norms) squared += norm.squared();
    for (double loss : result.losses) report.loss += loss;
    report.finite = report.finite && result.finite;
  }
  report.grad_norm = std::sqrt(squared);
  v1::StepDecision decision;
  decision.set_commit(true);
  decision.set_grad_norm(report.grad_norm);
  const double clip = request_.spec().train().grad_clip();
  decision.set_clip_scale(clip > 0 && report.grad_norm > clip ? clip / (report.grad_norm + 1e-6) : 1);
  for (int stage = 0; stage < stages(); ++stage) {
    PENSTOCK_RETURN_IF_ERROR(Timed("update", stage, [&] { return ranks_[stage]->Update(decision); }));
  }
  return report;
}

absl::StatusOr<v1::EvalSums> Pipeline::Evaluate(uint64_t batch) {
  Pass pass;
  pass.mode = v1::PASS_EVAL;
  pass.step = batch;
  PENSTOCK_RETURN_IF_ERROR(Begin(pass));
  for (uint32_t i = 0; i < request_.plan().micro_batches(); ++i) PENSTOCK_RETURN_IF_ERROR(Forward(i));
  PassResult last;
  for (const auto& rank : ranks_) {
    PENSTOCK_ASSIGN_OR_RETURN(last, rank->EndPass());
  }
  return last.eval.value();
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
  PassResult last;
  for (const auto& rank : ranks_) {
    PENSTOCK_ASSIGN_OR_RETURN(last, rank->EndPass());
  }
  return last.next_token.value();
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
  for (const auto& rank : ranks_) {
    PENSTOCK_ASSIGN_OR_RETURN(const v1::SaveReply reply, rank->Save(step, temporary));
    manifest.files.push_back({reply.file(), reply.bytes(), {reply.tensors().begin(), reply.tensors().end()}});
  }
  PENSTOCK_ASSIGN_OR_RETURN(const v1::CheckpointInfo info, CommitCheckpoint(temporary, manifest));
  return info.path();
}

}  // namespace penstock
