// Calls to the coordinator, each with a deadline. Thread-safe.
#ifndef PENSTOCK_CLI_CLIENT_H_
#define PENSTOCK_CLI_CLIENT_H_

#include <functional>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "proto/coordinator.grpc.pb.h"

namespace penstock {

// Ends a streaming call from another thread. Thread-safe.
class Canceller {
 public:
  // Ends the call under way, and the next one if there is none.
  void Cancel();
  // Takes a cancellation back; returns whether there was one.
  bool Reset();

 private:
  friend class Client;
  void Attach(grpc::ClientContext* context);
  void Detach();

  absl::Mutex mu_;
  grpc::ClientContext* context_ ABSL_GUARDED_BY(mu_) = nullptr;
  bool cancelled_ ABSL_GUARDED_BY(mu_) = false;
};

class Client {
 public:
  // Opens no connection yet. REQUIRES: CheckLoopback(address) is OK.
  explicit Client(std::string address);

  const std::string& address() const { return address_; }

  // Errors of all calls: the RPC's (proto/coordinator.proto). Unavailable: nothing answers; the message says where.
  absl::StatusOr<v1::SubmitReply> Submit(const v1::SubmitRequest& request);
  // Blocks for seconds, or minutes where layers are large.
  absl::StatusOr<v1::MeasureJobReply> Measure(const v1::MeasureJobRequest& request);
  absl::StatusOr<v1::GetReply> Get(const std::string& job);
  absl::StatusOr<v1::StopReply> Stop(const std::string& job, bool no_checkpoint);
  absl::StatusOr<v1::ClusterStatus> GetStatus();
  // Blocks until the cluster's workers are gone.
  absl::Status Shutdown(bool no_checkpoint, absl::Duration patience);

  // Streams. `on_message` returns false to end the call, which then is OK. Errors: Cancelled: by `canceller`.
  absl::Status Watch(const std::string& job, Canceller* canceller,
                     const std::function<bool(const v1::JobStatus&)>& on_message);
  absl::Status Logs(const v1::LogsRequest& request, Canceller* canceller,
                    const std::function<bool(const v1::LogChunk&)>& on_message);
  absl::Status Generate(const v1::GenerateRequest& request, Canceller* canceller,
                        const std::function<bool(const v1::GenerateReply&)>& on_message);

 private:
  absl::Status Explain(const absl::Status& status) const;
  template <typename Request, typename Reply, typename Method>
  absl::StatusOr<Reply> Call(Method method, const Request& request, absl::Duration patience);
  template <typename Reader, typename Message>
  absl::Status Stream(grpc::ClientContext* context, std::unique_ptr<Reader> reader, Canceller* canceller,
                      const std::function<bool(const Message&)>& on_message);

  const std::string address_;
  const std::shared_ptr<grpc::Channel> channel_;
  const std::unique_ptr<v1::Jobs::Stub> jobs_;
  const std::unique_ptr<v1::Cluster::Stub> cluster_;
};

}  // namespace penstock

#endif  // PENSTOCK_CLI_CLIENT_H_
