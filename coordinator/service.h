// The coordinator's gRPC services: thin adapters between proto/coordinator.proto and the core. Thread-safe.
#ifndef PENSTOCK_COORDINATOR_SERVICE_H_
#define PENSTOCK_COORDINATOR_SERVICE_H_

#include <grpcpp/server.h>

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "common/awake_callbacks.h"
#include "coordinator/core.h"
#include "proto/coordinator.grpc.pb.h"

namespace penstock {

class JobsService final : public v1::Jobs::Service {
 public:
  explicit JobsService(Core* core) : core_(core) {}

  grpc::Status GetPlan(grpc::ServerContext*, const v1::GetPlanRequest* request, v1::GetPlanReply* reply) override;
  grpc::Status Measure(grpc::ServerContext* context, const v1::MeasureJobRequest* request,
                       v1::MeasureJobReply* reply) override;
  grpc::Status Submit(grpc::ServerContext*, const v1::SubmitRequest* request, v1::SubmitReply* reply) override;
  grpc::Status Get(grpc::ServerContext*, const v1::GetRequest* request, v1::GetReply* reply) override;
  grpc::Status List(grpc::ServerContext*, const v1::ListRequest* request, v1::ListReply* reply) override;
  grpc::Status Watch(grpc::ServerContext* context, const v1::WatchRequest* request,
                     grpc::ServerWriter<v1::JobStatus>* writer) override;
  grpc::Status Logs(grpc::ServerContext* context, const v1::LogsRequest* request,
                    grpc::ServerWriter<v1::LogChunk>* writer) override;
  grpc::Status Stop(grpc::ServerContext*, const v1::StopRequest* request, v1::StopReply* reply) override;
  grpc::Status Generate(grpc::ServerContext* context, const v1::GenerateRequest* request,
                        grpc::ServerWriter<v1::GenerateReply>* writer) override;

 private:
  absl::Status WatchJob(grpc::ServerContext* context, const std::string& job,
                        grpc::ServerWriter<v1::JobStatus>* writer);
  absl::Status CheckRank(const v1::LogsRequest& request, const std::string& job);
  absl::Status StreamLog(grpc::ServerContext* context, const v1::LogsRequest& request,
                         grpc::ServerWriter<v1::LogChunk>* writer);
  Core* const core_;
};

class ClusterService final : public v1::Cluster::Service {
 public:
  explicit ClusterService(Core* core) : core_(core) {}

  grpc::Status GetStatus(grpc::ServerContext*, const v1::GetStatusRequest*, v1::ClusterStatus* reply) override;
  grpc::Status Shutdown(grpc::ServerContext*, const v1::ShutdownClusterRequest* request,
                        v1::ShutdownClusterReply*) override;

 private:
  Core* const core_;
};

// CommitStep waits for all ranks, so it holds no thread while it does: a callback method.
class MembershipService final : public v1::Membership::WithCallbackMethod_CommitStep<v1::Membership::Service> {
 public:
  explicit MembershipService(Core* core) : core_(core) {}

  grpc::Status Register(grpc::ServerContext*, const v1::RegisterRequest* request, v1::RegisterReply* reply) override;
  grpc::Status Heartbeat(grpc::ServerContext*, const v1::HeartbeatRequest* request, v1::HeartbeatReply*) override;
  grpc::ServerUnaryReactor* CommitStep(grpc::CallbackServerContext* context, const v1::StepVote* vote,
                                       v1::StepDecision* decision) override;

 private:
  Core* const core_;
};

// All services, health and reflection on one port.
class CoordinatorServer {
 public:
  // Errors:  InvalidArgument: not a loopback address. Unavailable: the port is in use; names it.
  static absl::StatusOr<std::unique_ptr<CoordinatorServer>> Start(const std::string& address, Core* core);
  // Ends streams that are open; calls that are answered within a second are let through.
  // REQUIRES: no vote waits (Core::Drain has returned, or no job runs).
  ~CoordinatorServer();

  // HOST:PORT that it is bound to.
  const std::string& address() const { return address_; }

 private:
  explicit CoordinatorServer(Core* core) : jobs_(core), cluster_(core), membership_(core) {}

  JobsService jobs_;
  ClusterService cluster_;
  MembershipService membership_;
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<AwakeCallbacks> awake_;
  std::string address_;
};

}  // namespace penstock

#endif  // PENSTOCK_COORDINATOR_SERVICE_H_
