// The coordinator's way into this worker: loads, runs, saves, measures, unloads. A thin adapter over RankSession.
// Thread-safe.
#ifndef PENSTOCK_WORKER_SERVICE_H_
#define PENSTOCK_WORKER_SERVICE_H_

#include <cstdint>
#include <functional>
#include <memory>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "proto/worker.grpc.pb.h"
#include "worker/runtime/probe_device.h"
#include "worker/runtime/rank_session.h"

namespace penstock {

class WorkerService final : public v1::Worker::WithCallbackMethod_Run<v1::Worker::Service> {
 public:
  // Args: incarnation: this process's, 0 while it has none. on_shutdown: the coordinator wants the process to end.
  WorkerService(SessionEnvironment environment, std::function<uint64_t()> incarnation,
                std::function<void()> on_shutdown);

  grpc::Status Load(grpc::ServerContext* context, const v1::LoadRequest* request, v1::LoadReply* reply) override;
  // Asynchronous, so that a cancelled call is seen at once.
  grpc::ServerUnaryReactor* Run(grpc::CallbackServerContext* context, const v1::RunRequest* request,
                                v1::RunReply* reply) override;
  grpc::Status Save(grpc::ServerContext* context, const v1::SaveRequest* request, v1::SaveReply* reply) override;
  grpc::Status Measure(grpc::ServerContext* context, const v1::MeasureRequest* request,
                       v1::MeasureReply* reply) override;
  grpc::Status Unload(grpc::ServerContext* context, const v1::UnloadRequest* request, v1::UnloadReply* reply) override;
  grpc::Status Shutdown(grpc::ServerContext* context, const v1::ShutdownRequest* request,
                        v1::ShutdownReply* reply) override;

  // What the loaded job has sent and received; empty when there is none.
  v1::Counters Counters() ABSL_LOCKS_EXCLUDED(mu_);

  // Stops what runs and frees what is loaded; nothing can be loaded after it. Waits for the action under way, which a
  // device cannot break off: a process that must end in time bounds that itself (main's alarm).
  void Close(const absl::Status& why) ABSL_LOCKS_EXCLUDED(mu_);

 private:
  absl::Status CheckIncarnation(uint64_t incarnation) const;
  absl::Status LoadSession(const v1::LoadRequest& request, v1::LoadReply* reply) ABSL_LOCKS_EXCLUDED(mu_, load_mu_);
  absl::StatusOr<v1::MeasuredCosts> MeasureIdle(const v1::MeasureRequest& request,
                                                const std::function<bool()>& cancelled)
      ABSL_LOCKS_EXCLUDED(mu_, load_mu_);
  // The session of this job and epoch. Errors: FailedPrecondition: it is not the one loaded.
  absl::StatusOr<std::shared_ptr<RankSession>> Find(const std::string& job, uint64_t epoch) ABSL_LOCKS_EXCLUDED(mu_);
  std::shared_ptr<RankSession> TakeSession() ABSL_LOCKS_EXCLUDED(mu_);

  const SessionEnvironment environment_;
  ProbeDevice probe_device_;
  ProbeCommitter probe_committer_;
  const SessionEnvironment probe_environment_;  // environment_ with these two
  const std::function<uint64_t()> incarnation_;
  const std::function<void()> on_shutdown_;

  absl::Mutex load_mu_;  // one Load, Measure or Unload at a time; held while the device works
  absl::Mutex mu_ ABSL_ACQUIRED_AFTER(load_mu_);
  std::shared_ptr<RankSession> session_ ABSL_GUARDED_BY(mu_);
  absl::Status closed_ ABSL_GUARDED_BY(mu_);
};

}  // namespace penstock

#endif  // PENSTOCK_WORKER_SERVICE_H_
