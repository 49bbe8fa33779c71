#include "worker/runtime/buffer_pool.h"

#include <cstdlib>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/numeric/bits.h"
#include "absl/synchronization/mutex.h"
#include "common/limits.h"

namespace penstock {
namespace {

// Sizes are rounded up to four steps an octave: shapes that vary a little (generation) share buffers, and at most a
// quarter is wasted.
size_t RoundUp(size_t bytes) {
  const size_t least = limits::kTensorAlignment;
  if (bytes <= 4 * least) return (bytes + least - 1) / least * least;
  const size_t step = absl::bit_floor(bytes - 1) / 4;
  return (bytes + step - 1) / step * step;
}

}  // namespace

struct BufferPool::Shelf {
  explicit Shelf(size_t max) : max_free_bytes(max) {}
  ~Shelf() {
    for (auto& [size, buffers] : free) {
      for (char* buffer : buffers) std::free(buffer);
    }
  }

  const size_t max_free_bytes;
  absl::Mutex mu;
  size_t free_bytes ABSL_GUARDED_BY(mu) = 0;
  absl::flat_hash_map<size_t, std::vector<char*>> free ABSL_GUARDED_BY(mu);
};

BufferPool::BufferPool(size_t max_free_bytes) : shelf_(std::make_shared<Shelf>(max_free_bytes)) {}

std::shared_ptr<char[]> BufferPool::Get(size_t bytes) {
  const size_t size = RoundUp(bytes == 0 ? 1 : bytes);
  char* buffer = nullptr;
  {
    absl::MutexLock lock(&shelf_->mu);
    std::vector<char*>& buffers = shelf_->free[size];
    if (!buffers.empty()) {
      buffer = buffers.back();
      buffers.pop_back();
      shelf_->free_bytes -= size;
    }
  }
  if (buffer == nullptr) {
    buffer = static_cast<char*>(std::aligned_alloc(limits::kTensorAlignment, size));
    if (buffer == nullptr) return nullptr;
  }
  return std::shared_ptr<char[]>(buffer, [size, shelf = shelf_](char* memory) {
    {
      absl::MutexLock lock(&shelf->mu);
      if (shelf->free_bytes + size <= shelf->max_free_bytes) {
        shelf->free[size].push_back(memory);
        shelf->free_bytes += size;
        return;
      }
    }
    std::free(memory);
  });
}

size_t BufferPool::FreeBytes() const {
  absl::MutexLock lock(&shelf_->mu);
  return shelf_->free_bytes;
}

}  // namespace penstock
