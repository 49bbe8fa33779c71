#include "coordinator/service.h"

#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/server_builder.h>

#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/channel.h"
#include "common/clock.h"
#include "common/grpc_status.h"
#include "common/status_macros.h"
#include "coordinator/generation.h"
#include "coordinator/jobs/job_machine.h"
#include "coordinator/measurement.h"
#include "coordinator/text.h"

namespace penstock {
namespace {

// At most ten messages a second on a Watch stream, and a look every half second at whether anybody still listens.
constexpr absl::Duration kWatchPause = absl::Milliseconds(100);
constexpr absl::Duration kWatchWait = absl::Milliseconds(500);
// A status that does not change is sent again after this: whoever watches shows how long it has been so.
constexpr absl::Duration kWatchRepeat = absl::Seconds(1);
constexpr absl::Duration kLogPause = absl::Milliseconds(100);

template <typename Reply>
grpc::Status Answer(absl::StatusOr<Reply> result, Reply* reply) {
  if (result.ok()) *reply = *std::move(result);
  return ToGrpc(result.status());
}

}  // namespace

grpc::Status JobsService::GetPlan(grpc::ServerContext*, const v1::GetPlanRequest* request, v1::GetPlanReply* reply) {
  return Answer(core_->GetPlan(request->spec()), reply);
}

grpc::Status JobsService::Measure(grpc::ServerContext* context, const v1::MeasureJobRequest* request,
                                  v1::MeasureJobReply* reply) {
  return Answer(MeasureJob(core_, *request, [context] { return context->IsCancelled(); }), reply);
}

grpc::Status JobsService::Submit(grpc::ServerContext*, const v1::SubmitRequest* request, v1::SubmitReply* reply) {
  const absl::StatusOr<std::string> job = core_->Submit(*request);
  if (job.ok()) reply->set_job(*job);
  return ToGrpc(job.status());
}

grpc::Status JobsService::Get(grpc::ServerContext*, const v1::GetRequest* request, v1::GetReply* reply) {
  return Answer(core_->Get(request->job()), reply);
}

grpc::Status JobsService::List(grpc::ServerContext*, const v1::ListRequest* request, v1::ListReply* reply) {
  constexpr uint32_t kMost = 1000;
  const uint32_t limit = request->limit() == 0 ? kMost : std::min(request->limit(), kMost);
  const absl::StatusOr<std::vector<v1::JobStatus>> jobs = core_->List(static_cast<int>(limit));
  if (jobs.ok()) reply->mutable_jobs()->Assign(jobs->begin(), jobs->end());
  return ToGrpc(jobs.status());
}

grpc::Status JobsService::Watch(grpc::ServerContext* context, const v1::WatchRequest* request,
                                grpc::ServerWriter<v1::JobStatus>* writer) {
  return ToGrpc(WatchJob(context, request->job(), writer));
}

absl::Status JobsService::WatchJob(grpc::ServerContext* context, const std::string& job,
                                   grpc::ServerWriter<v1::JobStatus>* writer) {
  PENSTOCK_ASSIGN_OR_RETURN(const std::string id, core_->store()->Resolve(job));
  uint64_t version = 0;
  absl::Duration sent_at = -absl::InfiniteDuration();
  while (!context->IsCancelled()) {
    const uint64_t seen = version;
    // Looked at before the status is read: what is read after is then the last there is.
    const bool last = !core_->MayChange(id);
    PENSTOCK_ASSIGN_OR_RETURN(const v1::JobStatus status, core_->AwaitChange(id, kWatchWait, &version));
    const bool ended = IsTerminal(status.state());
    const absl::Duration now = Clock::Real()->Monotonic();
    if (version != seen || ended || last || now - sent_at >= kWatchRepeat) {
      if (!writer->Write(status)) break;
      sent_at = now;
    }
    if (ended) break;
    if (last) {
      return absl::UnavailableError(
          absl::StrCat("the coordinator is ending; job ", id, " waits in its store for the next one"));
    }
    // Also where nothing has changed: AwaitChange does not wait for a job that is not active.
    Clock::Real()->Sleep(kWatchPause);
  }
  return absl::OkStatus();
}

// A rank that the job has not has no log, and never will.
absl::Status JobsService::CheckRank(const v1::LogsRequest& request, const std::string& job) {
  if (!request.has_rank()) return absl::OkStatus();
  PENSTOCK_ASSIGN_OR_RETURN(const StoredJob stored, core_->store()->Get(job));
  const int ranks = stored.plan.train_size();
  if (request.rank() < static_cast<uint32_t>(ranks)) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("job ", job, " has no rank ", request.rank(), ": it has ", ranks,
                                                 ranks == 1 ? " rank, 0" : " ranks, 0 to ",
                                                 ranks == 1 ? "" : absl::StrCat(ranks - 1)));
}

grpc::Status JobsService::Logs(grpc::ServerContext* context, const v1::LogsRequest* request,
                               grpc::ServerWriter<v1::LogChunk>* writer) {
  return ToGrpc(StreamLog(context, *request, writer));
}

absl::Status JobsService::StreamLog(grpc::ServerContext* context, const v1::LogsRequest& request,
                                    grpc::ServerWriter<v1::LogChunk>* writer) {
  PENSTOCK_ASSIGN_OR_RETURN(const std::string id, core_->store()->Resolve(request.job()));
  PENSTOCK_RETURN_IF_ERROR(CheckRank(request, id));
  const std::optional<uint32_t> rank = request.has_rank() ? std::optional<uint32_t>(request.rank()) : std::nullopt;
  uint64_t from = request.from();
  while (!context->IsCancelled()) {
    // Looked at before the log is read: what the job wrote before its end is then in what is read after.
    uint64_t version = 0;
    PENSTOCK_ASSIGN_OR_RETURN(const v1::JobStatus status, core_->AwaitChange(id, absl::ZeroDuration(), &version));
    PENSTOCK_ASSIGN_OR_RETURN(v1::LogChunk chunk, core_->records()->ReadLog(id, rank, from));
    const bool more = chunk.lines_size() > 0;
    from = chunk.next();
    for (std::string& line : *chunk.mutable_lines()) line = ToUtf8(line);
    if (more && !writer->Write(chunk)) break;
    if (!more && (!request.follow() || IsTerminal(status.state()))) break;
    if (!more) Clock::Real()->Sleep(kLogPause);
  }
  return absl::OkStatus();
}

grpc::Status JobsService::Stop(grpc::ServerContext*, const v1::StopRequest* request, v1::StopReply* reply) {
  const absl::StatusOr<v1::JobState> state = core_->Stop(request->job(), request->no_checkpoint());
  if (state.ok()) reply->set_state(*state);
  return ToGrpc(state.status());
}

grpc::Status JobsService::Generate(grpc::ServerContext* context, const v1::GenerateRequest* request,
                                   grpc::ServerWriter<v1::GenerateReply>* writer) {
  return ToGrpc(penstock::Generate(core_, *request, [context, writer](const v1::GenerateReply& reply) {
    return !context->IsCancelled() && writer->Write(reply);
  }));
}

grpc::Status ClusterService::GetStatus(grpc::ServerContext*, const v1::GetStatusRequest*, v1::ClusterStatus* reply) {
  *reply = core_->Status();
  return ToGrpc(absl::OkStatus());
}

grpc::Status ClusterService::Shutdown(grpc::ServerContext*, const v1::ShutdownClusterRequest* request,
                                      v1::ShutdownClusterReply*) {
  core_->Drain(request->no_checkpoint());
  return ToGrpc(absl::OkStatus());
}

grpc::Status MembershipService::Register(grpc::ServerContext*, const v1::RegisterRequest* request,
                                         v1::RegisterReply* reply) {
  return Answer(core_->Register(*request), reply);
}

grpc::Status MembershipService::Heartbeat(grpc::ServerContext*, const v1::HeartbeatRequest* request,
                                          v1::HeartbeatReply*) {
  return ToGrpc(core_->Heartbeat(*request));
}

grpc::ServerUnaryReactor* MembershipService::CommitStep(grpc::CallbackServerContext* context, const v1::StepVote* vote,
                                                        v1::StepDecision* decision) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  core_->CommitStep(*vote, [reactor, decision](absl::StatusOr<v1::StepDecision> answer) {
    reactor->Finish(Answer(std::move(answer), decision));
  });
  return reactor;
}

absl::StatusOr<std::unique_ptr<CoordinatorServer>> CoordinatorServer::Start(const std::string& address, Core* core) {
  PENSTOCK_RETURN_IF_ERROR(CheckLoopback(address));
  grpc::EnableDefaultHealthCheckService(true);
  grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  std::unique_ptr<CoordinatorServer> server(new CoordinatorServer(core));
  grpc::ServerBuilder builder;
  int port = 0;
  PrepareServer(&builder, address, &port);
  builder.RegisterService(&server->jobs_);
  builder.RegisterService(&server->cluster_);
  builder.RegisterService(&server->membership_);
  server->server_ = builder.BuildAndStart();
  if (server->server_ == nullptr || port == 0) {
    return absl::UnavailableError(absl::StrCat(
        "cannot listen on ", address, ": the port is in use (another coordinator?); give coordinator.listen another"));
  }
  server->awake_ = std::make_unique<AwakeCallbacks>(server->server_.get());
  server->address_ = absl::StrCat(address.substr(0, address.rfind(':')), ":", port);
  return server;
}

CoordinatorServer::~CoordinatorServer() {
  if (server_ == nullptr) return;
  awake_.reset();
  server_->Shutdown(gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_seconds(1, GPR_TIMESPAN)));
  server_->Wait();
}

}  // namespace penstock
