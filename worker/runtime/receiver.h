// The receiving half of a loaded rank: checks who sends, keeps the tensors, grants credit. Thread-safe.
// Source: docs/wire.md, "Stream".
#ifndef PENSTOCK_WORKER_RUNTIME_RECEIVER_H_
#define PENSTOCK_WORKER_RUNTIME_RECEIVER_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "common/clock.h"
#include "proto/worker.pb.h"
#include "worker/runtime/bounds.h"
#include "worker/runtime/mailbox.h"
#include "worker/runtime/stop_signal.h"

namespace penstock {

// Which job, on which rank, with which neighbours: what every frame and every credit is checked against.
struct RankIdentity {
  std::string job;
  uint64_t plan_epoch = 0;
  uint64_t incarnation = 0;  // of this worker
  int rank = 0;
  std::vector<v1::Neighbour> ranks;  // by rank
  std::vector<int> rank_of_stage;
  bool shared_memory = true;  // between workers of one host, where both find that they can

  // The stage that makes what `key` names; nothing when the plan has none.
  std::optional<int> SourceStage(const BoundaryKey& key) const;
  // "rank 1 (worker localhost/cpu.1)".
  std::string Describe(int rank) const;
};

// The other direction of a stream that a neighbour has opened to us.
class CreditStream {
 public:
  virtual ~CreditStream() = default;
  // Queues credit for the sender. Does not block.
  virtual void SendCredit(const v1::Credit& credit) = 0;
  // Ends the stream with this status. Does not block.
  virtual void Close(const absl::Status& why) = 0;
};

class Receiver {
 public:
  // Args: stop: told of every fault of a stream, and ends every wait here.
  Receiver(RankIdentity identity, BoundaryBounds bounds, size_t budget_bytes, Clock* clock,
           std::shared_ptr<StopSignal> stop);

  // A neighbour has opened a stream: `opening` is its first frame, which carries no tensor. The stream gets the
  // credit that has been given so far.
  // Returns: the link's number, for Deliver and Detach.
  // Errors:  FailedPrecondition: another job or plan epoch, or the stream is open already. Aborted: another
  //          incarnation of the neighbour. InvalidArgument: no such boundary between us, or it is no opening frame.
  absl::StatusOr<int> Attach(const v1::Frame& opening, std::shared_ptr<CreditStream> stream) ABSL_LOCKS_EXCLUDED(mu_);

  // Errors: as Mailbox::Deposit, and those of Attach.
  absl::Status Deliver(int link, const ReceivedFrame& frame);

  // The stream has ended, for this reason. Stops the rank.
  void Detach(int link, const absl::Status& why) ABSL_LOCKS_EXCLUDED(mu_);

  // As Mailbox::BeginRange; sends the credit. `expected[i].link` is filled in here.
  void BeginRange(std::vector<ExpectedTensor> expected, uint64_t first_pass, uint64_t passes);

  // As Mailbox::Take; sends the credit.
  absl::StatusOr<ReceivedTensor> Take(const BoundaryKey& key, absl::Duration deadline);

  const Mailbox& mailbox() const { return mailbox_; }
  const RankIdentity& identity() const { return identity_; }

  // Ends every stream and every wait. Does not block.
  void Close(const absl::Status& why) ABSL_LOCKS_EXCLUDED(mu_);

 private:
  absl::Status CheckOrigin(const v1::Frame& header, std::optional<int> link) const;
  int LinkOf(const BoundaryKey& key) const;
  void Send(const std::vector<Grant>& grants) ABSL_LOCKS_EXCLUDED(mu_);

  const RankIdentity identity_;
  const std::shared_ptr<StopSignal> stop_;
  Mailbox mailbox_;

  absl::Mutex mu_;
  bool closed_ ABSL_GUARDED_BY(mu_) = false;
  absl::flat_hash_map<int, std::shared_ptr<CreditStream>> streams_ ABSL_GUARDED_BY(mu_);  // by link
};

}  // namespace penstock

#endif  // PENSTOCK_WORKER_RUNTIME_RECEIVER_H_
