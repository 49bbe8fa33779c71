// Where boundary tensors wait, by key, for the action that takes them. Bytes only. Thread-safe.
// Source: docs/wire.md, "Mailbox".
#ifndef PENSTOCK_WORKER_RUNTIME_MAILBOX_H_
#define PENSTOCK_WORKER_RUNTIME_MAILBOX_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/clock.h"
#include "worker/runtime/bounds.h"
#include "worker/runtime/buffer_pool.h"
#include "worker/runtime/credit_planner.h"
#include "worker/runtime/frame_codec.h"
#include "worker/runtime/tensor.h"

namespace penstock {

class Mailbox {
 public:
  struct Counts {
    uint64_t frames_received = 0;
    uint64_t bytes_received = 0;
    uint64_t frames_dropped = 0;  // duplicate or stale
    uint64_t held_bytes = 0;      // reserved for tensors that have not been taken
  };
  struct TakenTensor {
    ReceivedTensor tensor;
    std::vector<Grant> grants;  // what may be sent now that it is gone
  };

  Mailbox(BoundaryBounds bounds, size_t budget_bytes, Clock* clock);

  // As CreditPlanner::BeginRange. What is still held of passes before first_pass is dropped.
  std::vector<Grant> BeginRange(std::vector<ExpectedTensor> expected, uint64_t first_pass, uint64_t passes);

  // As CreditPlanner::Granted.
  std::vector<Grant> Granted() const;

  // Checks a piece, reserves memory for its tensor if it is the first one, and copies it in. Pieces may come in any
  // order; a duplicate or a stale one is dropped and counted.
  // Errors: InvalidArgument: outside what the plan allows, or at odds with earlier pieces. ResourceExhausted: without
  //         credit, or the host refuses the memory. DataLoss: the checksum. All name the key. After an error the tensor
  //         will not become complete.
  absl::Status Deposit(const ReceivedFrame& frame);

  // Waits for the tensor and hands it out. REQUIRES: keys are taken in the order of BeginRange's list.
  // Args:   deadline: on the clock's Monotonic().
  // Errors: DeadlineExceeded: names the key and how much of it has come. What Poison was given, whatever has come.
  absl::StatusOr<TakenTensor> Take(const BoundaryKey& key, absl::Duration deadline);

  // Ends every wait, now and later, with this error, and frees what is held. The first error wins.
  void Poison(const absl::Status& why);

  Counts counts() const;

 private:
  struct Entry {
    TensorMeta meta;
    std::shared_ptr<char[]> data;
    size_t total_bytes = 0;
    size_t copied_bytes = 0;              // checked and in place
    std::map<uint64_t, uint64_t> pieces;  // [begin, end) that have been claimed by a copy, merged
  };
  enum class Claim { kNew, kDuplicate, kOverlap };

  static Claim ClaimPiece(Entry* entry, uint64_t begin, uint64_t end);
  // Finds or makes the entry for a piece and claims its place. *dest is null when the piece is to be dropped.
  absl::Status Reserve(const ReceivedFrame& frame, const BoundaryKey& key, std::shared_ptr<char[]>* dest)
      ABSL_LOCKS_EXCLUDED(mu_);

  const BoundaryBounds bounds_;
  Clock* const clock_;
  BufferPool pool_;

  mutable absl::Mutex mu_;
  CreditPlanner planner_ ABSL_GUARDED_BY(mu_);
  absl::flat_hash_map<BoundaryKey, Entry> entries_ ABSL_GUARDED_BY(mu_);
  absl::Status poison_ ABSL_GUARDED_BY(mu_);
  Counts counts_ ABSL_GUARDED_BY(mu_);
};

}  // namespace penstock

#endif  // PENSTOCK_WORKER_RUNTIME_MAILBOX_H_
