// Calls on workers: asynchronous, each with a deadline where it only answers, each can be cancelled. Thread-safe.
// Callbacks come on gRPC's threads, sometimes on the caller's own before the call returns: never call under a lock
// that a callback takes.
#ifndef PENSTOCK_COORDINATOR_WORKER_CLIENT_H_
#define PENSTOCK_COORDINATOR_WORKER_CLIENT_H_

#include <grpcpp/client_context.h>

#include <functional>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "proto/worker.grpc.pb.h"

namespace penstock {

// One call, made before it is started so that it can be cancelled at any time: before its start too.
class WorkerCall {
 public:
  // The call ends with Cancelled, at once or when it is started. Idempotent.
  void Cancel();

 private:
  friend class WorkerClient;
  // Returns false when it was cancelled before.
  bool Begin(std::shared_ptr<grpc::ClientContext> context);

  absl::Mutex mu_;
  bool cancelled_ ABSL_GUARDED_BY(mu_) = false;
  std::shared_ptr<grpc::ClientContext> context_ ABSL_GUARDED_BY(mu_);
};

class WorkerClient {
 public:
  // Called once, with the reply where the status is OK; freed on one of gRPC's threads. It must not own the client: the
  // last channel of a process takes gRPC's callback threads down with it, and none of them can wait for itself.
  template <typename Reply>
  using Done = std::function<void(const absl::Status&, const Reply&)>;

  explicit WorkerClient(const std::string& address);

  // Errors as documented in proto/worker.proto; Unavailable where the worker cannot be reached.
  void Load(const std::shared_ptr<WorkerCall>& call, v1::LoadRequest request, Done<v1::LoadReply> done);
  void Run(const std::shared_ptr<WorkerCall>& call, v1::RunRequest request, Done<v1::RunReply> done);
  void Save(const std::shared_ptr<WorkerCall>& call, v1::SaveRequest request, Done<v1::SaveReply> done);
  void Measure(const std::shared_ptr<WorkerCall>& call, v1::MeasureRequest request, Done<v1::MeasureReply> done);
  void Unload(const std::shared_ptr<WorkerCall>& call, v1::UnloadRequest request, Done<v1::UnloadReply> done);

 private:
  template <typename Request, typename Reply, typename Method>
  void Start(const std::shared_ptr<WorkerCall>& call, Method method, absl::Duration deadline, Request request,
             Done<Reply> done);

  std::unique_ptr<v1::Worker::Stub> stub_;
};

}  // namespace penstock

#endif  // PENSTOCK_COORDINATOR_WORKER_CLIENT_H_
