// The sending end of a stream: carries boundary tensors to one neighbour in one direction, through shared memory where
// the neighbour is on this host and offers some. Thread-safe.
// Source: docs/wire.md, "Stream", "Shared memory".
#ifndef PENSTOCK_WORKER_RUNTIME_PEER_SENDER_H_
#define PENSTOCK_WORKER_RUNTIME_PEER_SENDER_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "common/clock.h"
#include "worker/runtime/receiver.h"
#include "worker/runtime/tensor.h"

namespace penstock {

class PeerSender {
 public:
  struct Counts {
    uint64_t frames_sent = 0;
    uint64_t bytes_sent = 0;
    uint64_t shared_bytes_sent = 0;  // part of bytes_sent: through shared memory
  };
  // Told once why the stream has ended; on one of gRPC's threads, so it must not destroy the sender.
  using OnEnd = std::function<void(const absl::Status& why)>;

  // Args:    opening: any key that the stream may carry; tells the receiver whose stream this is.
  //          max_queued: tensors that may wait here; more is a fault of the plan.
  PeerSender(const RankIdentity& identity, int to_rank, const BoundaryKey& opening, size_t max_queued, Clock* clock,
             OnEnd on_end);
  // Cancels the stream; returns when gRPC has let go of it and its connection is closed. Not for gRPC's threads.
  ~PeerSender();

  // Opens the stream. Does not block: whether it could be opened shows in on_end.
  void Open();

  // Queues a tensor; it leaves once its key is granted, in pieces, read in place. Never blocks.
  // Errors: why the stream has ended. ResourceExhausted: the queue is full.
  absl::Status Send(const BoundaryKey& key, TensorView tensor);

  // Waits until at most `queued` tensors have not left yet.
  // Errors: DeadlineExceeded: names the first that waits. Why the stream has ended.
  absl::Status AwaitQueued(size_t queued, absl::Duration deadline);

  // Ends the stream with this reason. Does not block.
  void Cancel(const absl::Status& why);

  Counts counts() const;

 private:
  class Stream;
  const std::unique_ptr<Stream> stream_;
};

}  // namespace penstock

#endif  // PENSTOCK_WORKER_RUNTIME_PEER_SENDER_H_
