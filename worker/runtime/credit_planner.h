// Decides which tensors a rank lets its neighbours send. Pure; thread-compatible.
// Source: docs/wire.md, "Credit".
//
// A rank takes its tensors in the order of its RECV actions, pass after pass. Grants are given in that same order,
// so what is granted and not yet taken is a window over one endless list:
//
//     taken ........ | granted: in flight or in the mailbox | not granted
//                    ^ next_take_                           ^ next_grant_
//
// The window always holds the next tensor that the rank needs; beyond it, it holds what fits the byte budget.
// Plain byte credit would not do: early frames could use it up and starve the one that everything waits for.
#ifndef PENSTOCK_WORKER_RUNTIME_CREDIT_PLANNER_H_
#define PENSTOCK_WORKER_RUNTIME_CREDIT_PLANNER_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "worker/runtime/tensor.h"

namespace penstock {

// A tensor that every pass of a range receives; key.pass is not used.
struct ExpectedTensor {
  BoundaryKey key;
  int link = 0;      // over which it comes
  size_t bytes = 0;  // at most
};

struct Grant {
  BoundaryKey key;
  int link = 0;

  friend bool operator==(const Grant&, const Grant&) = default;
};

class CreditPlanner {
 public:
  // Args: budget_bytes: what granted and untaken tensors may hold together, the next needed one aside.
  explicit CreditPlanner(size_t budget_bytes) : budget_bytes_(budget_bytes) {}

  // The rank will walk `passes` passes from number `first_pass`, each receiving `expected` in this order. What was
  // granted for passes at or after first_pass and not used stays allowed: its sender knows of it.
  // Returns: what may be sent now.
  std::vector<Grant> BeginRange(std::vector<ExpectedTensor> expected, uint64_t first_pass, uint64_t passes);

  // The rank has taken its next tensor. Returns: what may be sent in addition. To save messages, grants beyond the
  // next needed tensor are given once half of the budget is free.
  // REQUIRES: key is the next in order.
  std::vector<Grant> Taken(const BoundaryKey& key);

  enum class State {
    kGranted,     // may be sent
    kTaken,       // was taken, or belongs to a pass that is over: a frame of it is stale
    kNotGranted,  // may not be sent yet, or is not expected at all
  };
  State StateOf(const BoundaryKey& key) const;

  // Every key that is granted and not taken, in order; for a stream that opens late.
  std::vector<Grant> Granted() const;

  size_t granted_bytes() const { return granted_bytes_; }

 private:
  uint64_t End() const { return passes_ * expected_.size(); }
  Grant At(uint64_t index) const;
  size_t BytesAt(uint64_t index) const { return expected_[index % expected_.size()].bytes; }
  std::vector<Grant> Extend();

  size_t budget_bytes_;
  std::vector<ExpectedTensor> expected_;
  absl::flat_hash_map<BoundaryKey, size_t> place_;  // of a key with pass 0 in expected_
  absl::flat_hash_set<BoundaryKey> left_over_;      // granted in earlier ranges, unused, of passes that may still come
  uint64_t first_pass_ = 0;
  uint64_t passes_ = 0;
  uint64_t next_take_ = 0;   // indices count on over the passes of the range
  uint64_t next_grant_ = 0;  // next_take_ <= next_grant_ <= End()
  size_t granted_bytes_ = 0;
};

}  // namespace penstock

#endif  // PENSTOCK_WORKER_RUNTIME_CREDIT_PLANNER_H_
