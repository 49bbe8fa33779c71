#include "worker/service.h"

#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/grpc_status.h"
#include "common/logging.h"
#include "common/status_macros.h"

namespace penstock {
namespace {

// Waits for a session's run and passes a cancellation on. Frees itself when gRPC is done with it.
class RunReactor final : public grpc::ServerUnaryReactor {
 public:
  explicit RunReactor(std::weak_ptr<RankSession> session) : session_(std::move(session)) {}

  void OnCancel() override {
    const std::shared_ptr<RankSession> session = session_.lock();
    if (session != nullptr) session->Stop(absl::CancelledError("the coordinator has cancelled the run"));
  }
  void OnDone() override { delete this; }

 private:
  const std::weak_ptr<RankSession> session_;
};

SessionEnvironment WithProbe(SessionEnvironment environment, ProbeDevice* device, ProbeCommitter* committer) {
  environment.device = device;
  environment.committer = committer;
  return environment;
}

}  // namespace

WorkerService::WorkerService(SessionEnvironment environment, std::function<uint64_t()> incarnation,
                             std::function<void()> on_shutdown)
    : environment_(std::move(environment)),
      probe_device_(environment_.clock),
      probe_environment_(WithProbe(environment_, &probe_device_, &probe_committer_)),
      incarnation_(std::move(incarnation)),
      on_shutdown_(std::move(on_shutdown)) {}

absl::Status WorkerService::CheckIncarnation(uint64_t incarnation) const {
  const uint64_t own = incarnation_();
  if (own != 0 && incarnation == own) return absl::OkStatus();
  return absl::AbortedError(absl::StrCat("this is incarnation ", own, " of worker ", environment_.worker,
                                         "; the request is for incarnation ", incarnation));
}

absl::StatusOr<std::shared_ptr<RankSession>> WorkerService::Find(const std::string& job, uint64_t epoch) {
  absl::MutexLock lock(&mu_);
  if (session_ == nullptr) return absl::FailedPreconditionError(absl::StrCat("job ", job, " is not loaded here"));
  const v1::LoadRequest& loaded = session_->request();
  if (loaded.job() == job && loaded.plan_epoch() == epoch) return session_;
  return absl::FailedPreconditionError(absl::StrCat("loaded here is job ", loaded.job(), ", plan epoch ",
                                                    loaded.plan_epoch(), ", not job ", job, ", plan epoch ", epoch));
}

std::shared_ptr<RankSession> WorkerService::TakeSession() {
  absl::MutexLock lock(&mu_);
  return std::exchange(session_, nullptr);
}

absl::Status WorkerService::LoadSession(const v1::LoadRequest& request, v1::LoadReply* reply) {
  absl::MutexLock loading(&load_mu_);
  {
    absl::MutexLock lock(&mu_);
    PENSTOCK_RETURN_IF_ERROR(closed_);
    if (session_ != nullptr && session_->request().job() == request.job()) {
      const uint64_t epoch = session_->request().plan_epoch();
      if (request.plan_epoch() < epoch) {
        return absl::FailedPreconditionError(
            absl::StrCat("plan epoch ", request.plan_epoch(), " of job ", request.job(), " is older than ", epoch));
      }
      if (request.plan_epoch() == epoch && !session_->stopped()) {
        *reply = session_->loaded();
        return absl::OkStatus();
      }
    }
  }
  const std::shared_ptr<RankSession> previous = TakeSession();
  if (previous != nullptr) previous->End();  // its memory is free before the new one's is taken
  PENSTOCK_ASSIGN_OR_RETURN(std::shared_ptr<RankSession> session,
                            RankSession::Load(request.probe() ? probe_environment_ : environment_, request));
  *reply = session->loaded();
  absl::MutexLock lock(&mu_);
  PENSTOCK_RETURN_IF_ERROR(closed_);
  session_ = std::move(session);
  return absl::OkStatus();
}

grpc::Status WorkerService::Load(grpc::ServerContext*, const v1::LoadRequest* request, v1::LoadReply* reply) {
  absl::Status status = CheckIncarnation(request->incarnation());
  if (status.ok()) status = LoadSession(*request, reply);
  return ToGrpc(status);
}

grpc::ServerUnaryReactor* WorkerService::Run(grpc::CallbackServerContext* context, const v1::RunRequest* request,
                                             v1::RunReply* reply) {
  const absl::Status status = CheckIncarnation(request->incarnation());
  const absl::StatusOr<std::shared_ptr<RankSession>> session =
      status.ok() ? Find(request->job(), request->plan_epoch()) : absl::StatusOr<std::shared_ptr<RankSession>>(status);
  if (!session.ok()) {
    grpc::ServerUnaryReactor* const refused = context->DefaultReactor();
    refused->Finish(ToGrpc(session.status()));
    return refused;
  }
  auto* const reactor = new RunReactor(*session);
  (*session)->Run(*request, [reactor, reply](absl::StatusOr<v1::RunReply> result) {
    if (result.ok()) *reply = *std::move(result);
    reactor->Finish(ToGrpc(result.status()));
  });
  return reactor;
}

grpc::Status WorkerService::Save(grpc::ServerContext*, const v1::SaveRequest* request, v1::SaveReply* reply) {
  absl::Status status = CheckIncarnation(request->incarnation());
  if (!status.ok()) return ToGrpc(status);
  const absl::StatusOr<std::shared_ptr<RankSession>> session = Find(request->job(), request->plan_epoch());
  if (!session.ok()) return ToGrpc(session.status());
  absl::StatusOr<v1::SaveReply> saved = (*session)->Save(*request);
  if (saved.ok()) *reply = *std::move(saved);
  return ToGrpc(saved.status());
}

absl::StatusOr<v1::MeasuredCosts> WorkerService::MeasureIdle(const v1::MeasureRequest& request,
                                                             const std::function<bool()>& cancelled) {
  absl::MutexLock loading(&load_mu_);
  {
    absl::MutexLock lock(&mu_);
    PENSTOCK_RETURN_IF_ERROR(closed_);
    if (session_ != nullptr) {
      return absl::FailedPreconditionError(absl::StrCat("job ", session_->request().job(),
                                                        " is loaded here: its memory and its runs would be measured"));
    }
  }
  // A thread of its own, as a rank's executor is: threads of computation belong to the thread that asked for them.
  absl::StatusOr<v1::MeasuredCosts> costs = absl::UnknownError("not measured");
  std::thread measurer([&] { costs = environment_.device->Measure(request, cancelled); });
  measurer.join();
  return costs;
}

grpc::Status WorkerService::Measure(grpc::ServerContext* context, const v1::MeasureRequest* request,
                                    v1::MeasureReply* reply) {
  const absl::Status status = CheckIncarnation(request->incarnation());
  if (!status.ok()) return ToGrpc(status);
  absl::StatusOr<v1::MeasuredCosts> costs = MeasureIdle(*request, [context] { return context->IsCancelled(); });
  if (costs.ok()) *reply->mutable_costs() = *std::move(costs);
  return ToGrpc(costs.status());
}

grpc::Status WorkerService::Unload(grpc::ServerContext*, const v1::UnloadRequest* request, v1::UnloadReply*) {
  const absl::Status status = CheckIncarnation(request->incarnation());
  if (!status.ok()) return ToGrpc(status);
  absl::MutexLock loading(&load_mu_);
  std::shared_ptr<RankSession> session;
  {
    absl::MutexLock lock(&mu_);
    if (session_ != nullptr && session_->request().job() == request->job()) session = std::exchange(session_, nullptr);
  }
  if (session != nullptr) session->End();
  return ToGrpc(absl::OkStatus());
}

grpc::Status WorkerService::Shutdown(grpc::ServerContext*, const v1::ShutdownRequest* request, v1::ShutdownReply*) {
  const absl::Status status = CheckIncarnation(request->incarnation());
  if (status.ok()) on_shutdown_();
  return ToGrpc(status);
}

v1::Counters WorkerService::Counters() {
  std::shared_ptr<RankSession> session;
  {
    absl::MutexLock lock(&mu_);
    session = session_;
  }
  return session == nullptr ? v1::Counters() : session->Counters();
}

void WorkerService::Close(const absl::Status& why) {
  std::shared_ptr<RankSession> session;
  {
    absl::MutexLock lock(&mu_);
    closed_ = why;
    session = std::exchange(session_, nullptr);
  }
  if (session != nullptr) session->Stop(why);
}

}  // namespace penstock
