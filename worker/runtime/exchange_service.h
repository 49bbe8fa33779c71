// The server side of rpc Exchange: reads frames from neighbours as undecoded bytes, hands them to the loaded rank's
// Receiver, sends its credit back. Thread-safe.
#ifndef PENSTOCK_WORKER_RUNTIME_EXCHANGE_SERVICE_H_
#define PENSTOCK_WORKER_RUNTIME_EXCHANGE_SERVICE_H_

#include <grpcpp/server_builder.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include <memory>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "proto/worker.grpc.pb.h"
#include "worker/runtime/receiver.h"

namespace penstock {

// Sets what a server needs that receives tensors, beside what every server needs (common/channel.h).
// Source: docs/wire.md, "Pages".
void PrepareForTensors(grpc::ServerBuilder* builder);

class ExchangeService final : public v1::Exchange::WithRawCallbackMethod_Exchange<v1::Exchange::Service> {
 public:
  // Streams that open from now on belong to this receiver. Streams of the one before stay its.
  void SetReceiver(std::shared_ptr<Receiver> receiver) ABSL_LOCKS_EXCLUDED(mu_);
  // Nothing is loaded any more, unless another receiver has been set since.
  void RemoveReceiver(const Receiver* receiver) ABSL_LOCKS_EXCLUDED(mu_);

  grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* Exchange(grpc::CallbackServerContext* context) override;

 private:
  absl::Mutex mu_;
  std::shared_ptr<Receiver> receiver_ ABSL_GUARDED_BY(mu_);
};

}  // namespace penstock

#endif  // PENSTOCK_WORKER_RUNTIME_EXCHANGE_SERVICE_H_
