// Aligned memory for received tensors, used again and again, so that a worker's resident size stays flat.
// Thread-safe.
#ifndef PENSTOCK_WORKER_RUNTIME_BUFFER_POOL_H_
#define PENSTOCK_WORKER_RUNTIME_BUFFER_POOL_H_

#include <cstddef>
#include <memory>

namespace penstock {

class BufferPool {
 public:
  // Keeps at most `max_free_bytes` of memory that nobody uses.
  explicit BufferPool(size_t max_free_bytes);

  // Memory of at least `bytes`, aligned to limits::kTensorAlignment, not initialised. Goes back to the pool with its
  // last reference, on whatever thread that is; it may outlive the pool. Null when the host refuses the memory.
  std::shared_ptr<char[]> Get(size_t bytes);

  // Bytes that wait for their next use.
  size_t FreeBytes() const;

 private:
  struct Shelf;
  std::shared_ptr<Shelf> shelf_;
};

}  // namespace penstock

#endif  // PENSTOCK_WORKER_RUNTIME_BUFFER_POOL_H_
