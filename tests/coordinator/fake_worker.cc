#include "tests/coordinator/fake_worker.h"

#include <grpcpp/server_builder.h>
#include <unistd.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/channel.h"
#include "common/checkpoint/checkpoint_dir.h"
#include "common/checkpoint/safetensors.h"
#include "common/file.h"
#include "common/grpc_status.h"
#include "common/logging.h"
#include "common/process.h"
#include "common/status_macros.h"
#include "common/version.h"
#include "model/loss_scale.h"
#include "model/model_info.h"

namespace penstock {
namespace {

constexpr absl::Duration kHeartbeatEvery = absl::Milliseconds(20);

}  // namespace

FakeWorker::FakeWorker(FakeWorkerOptions options)
    : options_(std::move(options)),
      nonce_(RandomId()),
      membership_(v1::Membership::NewStub(OpenChannel(options_.coordinator))) {}

FakeWorker::~FakeWorker() { Die(); }

absl::Status FakeWorker::Start() {
  grpc::ServerBuilder builder;
  int port = 0;
  PrepareServer(&builder, "127.0.0.1:0", &port);
  builder.RegisterService(this);
  server_ = builder.BuildAndStart();
  CHECK(server_ != nullptr);
  address_ = absl::StrCat("127.0.0.1:", port);
  v1::RegisterRequest request;
  request.set_id(options_.id);
  request.set_nonce(nonce_);
  request.set_version(options_.version.empty() ? kVersion : options_.version);
  request.set_host("here");
  request.set_pid(getpid());
  request.set_device("cpu");
  request.set_address(address_);
  request.set_self_test(options_.self_test);
  request.set_memory_bytes(options_.memory_bytes);
  request.set_fingerprint(options_.fingerprint);
  v1::RegisterReply reply;
  grpc::ClientContext context;
  context.set_wait_for_ready(true);
  PENSTOCK_RETURN_IF_ERROR(FromGrpc(membership_->Register(&context, request, &reply)));
  {
    absl::MutexLock lock(&mu_);
    incarnation_ = reply.incarnation();
  }
  heartbeats_ = std::thread([this] { Heartbeats(); });
  absl::MutexLock lock(&mu_);
  mu_.Await(absl::Condition(&heard_));
  return absl::OkStatus();
}

void FakeWorker::Die() {
  {
    absl::MutexLock lock(&mu_);
    dead_ = true;
  }
  if (heartbeats_.joinable()) heartbeats_.join();
  if (server_ != nullptr) {
    server_->Shutdown(gpr_now(GPR_CLOCK_MONOTONIC));
    server_->Wait();
    server_.reset();
  }
}

void FakeWorker::Heartbeats() {
  for (uint64_t sequence = 1;; ++sequence) {
    v1::HeartbeatRequest request;
    {
      absl::MutexLock lock(&mu_);
      if (mu_.AwaitWithTimeout(absl::Condition(&dead_), kHeartbeatEvery)) return;
      request.set_incarnation(incarnation_);
      for (const auto& [job, loaded] : loaded_) {
        v1::LogLine* line = sequence % 10 == 0 ? request.add_log() : nullptr;
        if (line == nullptr) continue;
        line->set_job(job);
        line->set_rank(loaded.request.rank());
        line->set_text(absl::StrCat("beat ", sequence));
      }
    }
    request.set_id(options_.id);
    request.set_sequence(sequence);
    v1::HeartbeatReply reply;
    grpc::ClientContext context;
    membership_->Heartbeat(&context, request, &reply);
    absl::MutexLock lock(&mu_);
    heard_ = true;
  }
}

grpc::Status FakeWorker::Load(grpc::ServerContext*, const v1::LoadRequest* request, v1::LoadReply* reply) {
  Note(request->probe() ? "load a probe" : "load");
  Loaded loaded;
  loaded.request = *request;
  const absl::StatusOr<ModelInfo> model = InferModel(request->spec().model());
  if (!model.ok()) return ToGrpc(model.status());
  const v1::Plan& plan = request->plan();
  for (int s = 0; s < plan.stages_size(); ++s) {
    if (plan.stages(s).rank() != request->rank()) continue;
    loaded.last_stage |= s + 1 == plan.stages_size();
    v1::StageState* state = reply->add_stages();
    state->set_stage(s);
    for (uint32_t l = plan.stages(s).first_layer(); l < plan.stages(s).end_layer(); ++l) {
      for (const ParameterSpec& parameter : model->layers[l].parameters) {
        loaded.parameters.push_back(parameter.name);
        state->set_parameters(state->parameters() + parameter.Elements());
      }
    }
  }
  const v1::Train& train = request->spec().train();
  if (ScalesLoss(train)) *reply->mutable_loss_scale() = FirstLossScale(train.loss_scale());
  if (!request->resume_from().empty()) {
    const absl::StatusOr<Manifest> manifest = ReadManifest(request->resume_from());
    if (!manifest.ok()) return ToGrpc(manifest.status());
    loaded.step = manifest->step;
    if (ScalesLoss(train)) *reply->mutable_loss_scale() = manifest->loss_scale;
  }
  reply->set_step(loaded.step);
  absl::MutexLock lock(&mu_);
  loaded_[request->job()] = std::move(loaded);
  return ToGrpc(absl::OkStatus());
}

grpc::Status FakeWorker::Run(grpc::ServerContext* context, const v1::RunRequest* request, v1::RunReply* reply) {
  const Loaded loaded = Current(request->job());
  reply->set_completed_step(loaded.step);
  if (loaded.request.probe()) {
    if (options_.on_probe) {
      if (const absl::Status status = options_.on_probe(context); !status.ok()) return ToGrpc(status);
    }
    // 50 us and 2000 bytes a us, one way, after the layers' delays.
    const v1::JobSpec& spec = loaded.request.spec();
    const double bytes = 4.0 * static_cast<double>(spec.model().input().shape(0));
    const double delay = static_cast<double>(spec.model().layers(0).delay().forward_us());
    reply->set_pass_seconds(2.0 * spec.train().batch_size() * (delay + 50 + bytes / 2000) * 1e-6);
    return ToGrpc(absl::OkStatus());
  }
  switch (request->mode()) {
    case v1::PASS_TRAIN:
      Note(absl::StrCat("train ", request->from_step(), "..", request->to_step()));
      return ToGrpc(RunSteps(context, *request, reply));
    case v1::PASS_EVAL:
      Note(absl::StrCat("eval ", request->from_step(), "..", request->to_step()));
      if (loaded.last_stage) {
        const uint64_t batches = request->to_step() - request->from_step() + 1;
        reply->mutable_eval()->set_loss_sum(3.0 * static_cast<double>(batches));
        reply->mutable_eval()->set_targets(2 * batches);
        reply->mutable_eval()->set_correct(batches);
      }
      break;
    default:
      Note(absl::StrCat("generate ", request->tokens_size()));
      // The next letter of the alphabet.
      if (loaded.last_stage) reply->set_next_token(request->tokens(request->tokens_size() - 1) + 1);
      break;
  }
  return ToGrpc(absl::OkStatus());
}

absl::Status FakeWorker::RunSteps(grpc::ServerContext* context, const v1::RunRequest& request, v1::RunReply* reply) {
  for (uint64_t step = request.from_step(); step <= request.to_step(); ++step) {
    PENSTOCK_RETURN_IF_ERROR(WaitWhileHeld(context, step));
    if (options_.on_step) PENSTOCK_RETURN_IF_ERROR(options_.on_step(step));
    PENSTOCK_ASSIGN_OR_RETURN(const v1::StepDecision decision, Vote(context, Current(request.job()), step));
    if (!decision.commit()) break;
    {
      absl::MutexLock lock(&mu_);
      loaded_[request.job()].step = step;
    }
    reply->set_completed_step(step);
    if (options_.after_step) PENSTOCK_RETURN_IF_ERROR(options_.after_step(step));
    if (decision.last()) break;
  }
  if (request.hash()) {
    v1::TensorHash* hash = reply->add_hashes();
    hash->set_name(absl::StrCat("tensor.", options_.id));
    hash->set_dtype("F32");
    hash->set_sha256(std::string(64, '0'));
  }
  return absl::OkStatus();
}

absl::StatusOr<v1::StepDecision> FakeWorker::Vote(grpc::ServerContext* context, const Loaded& loaded, uint64_t step) {
  v1::StepVote vote;
  vote.set_job(loaded.request.job());
  vote.set_plan_epoch(loaded.request.plan_epoch());
  vote.set_worker(options_.id);
  vote.set_incarnation(incarnation());
  vote.set_rank(loaded.request.rank());
  vote.set_step(step);
  vote.set_finite(true);
  vote.set_busy_seconds(0.5);
  vote.set_pass_seconds(1.0);
  vote.set_step_seconds(1.0);
  for (const std::string& name : loaded.parameters) {
    v1::ParameterNorm* norm = vote.add_norms();
    norm->set_name(name);
    norm->set_squared(options_.squared_norm ? options_.squared_norm(step) : 1.0);
  }
  if (loaded.last_stage) vote.add_losses(1.0 / static_cast<double>(step));
  // Not a child of the run's own context: a vote that outlives a cancelled run is the coordinator's to end.
  grpc::ClientContext call;
  v1::StepDecision decision;
  PENSTOCK_RETURN_IF_ERROR(FromGrpc(membership_->CommitStep(&call, vote, &decision)));
  if (context->IsCancelled()) return absl::CancelledError("the run was cancelled");
  return decision;
}

absl::Status FakeWorker::WaitWhileHeld(grpc::ServerContext* context, uint64_t step) {
  absl::MutexLock lock(&mu_);
  while (hold_at_ == step) {
    held_ = true;
    const auto free = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return dead_ || !hold_at_.has_value(); };
    mu_.AwaitWithTimeout(absl::Condition(&free), kHeartbeatEvery);
    if (dead_ || context->IsCancelled()) return absl::CancelledError("the run was cancelled");
  }
  held_ = false;
  return absl::OkStatus();
}

grpc::Status FakeWorker::Save(grpc::ServerContext*, const v1::SaveRequest* request, v1::SaveReply* reply) {
  Note(absl::StrCat("save ", request->step()));
  const Loaded loaded = Current(request->job());
  const float value = static_cast<float>(request->step());
  std::vector<TensorToWrite> tensors;
  for (const std::string& name : loaded.parameters) tensors.push_back({name, "F32", {1}, &value});
  absl::Status status = MakeDirs(request->directory());
  if (!status.ok()) return ToGrpc(status);
  reply->set_file(absl::StrCat("rank-", loaded.request.rank(), ".safetensors"));
  const absl::StatusOr<WrittenSafetensors> written =
      WriteSafetensors(JoinPath(request->directory(), reply->file()), tensors);
  if (!written.ok()) return ToGrpc(written.status());
  reply->set_bytes(written->bytes);
  reply->mutable_tensors()->Assign(written->tensors.begin(), written->tensors.end());
  return ToGrpc(absl::OkStatus());
}

grpc::Status FakeWorker::Measure(grpc::ServerContext*, const v1::MeasureRequest* request, v1::MeasureReply* reply) {
  Note(absl::StrCat("measure ", absl::StrJoin(request->layers(), ","), request->update() ? " and the update" : ""));
  for (const uint32_t layer : request->layers()) {
    v1::MeasuredLayer* measured = reply->mutable_costs()->add_layers();
    measured->set_layer(request->spec().model().layers(static_cast<int>(layer)).name());
    measured->set_samples(request->samples());
    measured->set_forward_us(options_.layer_us * (layer + 1));
    measured->set_input_gradient_us(2 * options_.layer_us * (layer + 1));
    measured->set_weight_gradient_us(3 * options_.layer_us * (layer + 1));
    measured->set_activation_bytes(1000 * (layer + 1));
  }
  if (request->update()) reply->mutable_costs()->set_update_bytes_per_us(5000);
  return ToGrpc(absl::OkStatus());
}

grpc::Status FakeWorker::Unload(grpc::ServerContext*, const v1::UnloadRequest* request, v1::UnloadReply*) {
  Note("unload");
  absl::MutexLock lock(&mu_);
  loaded_.erase(request->job());
  return ToGrpc(absl::OkStatus());
}

void FakeWorker::HoldAt(uint64_t step) {
  absl::MutexLock lock(&mu_);
  hold_at_ = step;
}

void FakeWorker::Release() {
  absl::MutexLock lock(&mu_);
  hold_at_.reset();
}

void FakeWorker::AwaitHeld() {
  absl::MutexLock lock(&mu_);
  mu_.Await(absl::Condition(&held_));
}

FakeWorker::Loaded FakeWorker::Current(const std::string& job) const {
  absl::MutexLock lock(&mu_);
  const auto it = loaded_.find(job);
  return it == loaded_.end() ? Loaded() : it->second;
}

void FakeWorker::Note(const std::string& call) {
  absl::MutexLock lock(&mu_);
  calls_.push_back(call);
}

std::vector<std::string> FakeWorker::calls() const {
  absl::MutexLock lock(&mu_);
  return calls_;
}

int FakeWorker::loaded_jobs() const {
  absl::MutexLock lock(&mu_);
  return static_cast<int>(loaded_.size());
}

uint64_t FakeWorker::incarnation() const {
  absl::MutexLock lock(&mu_);
  return incarnation_;
}

}  // namespace penstock
