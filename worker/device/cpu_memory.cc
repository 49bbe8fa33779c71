#include <atomic>
#include <cstdlib>

#include "common/limits.h"
#include "worker/device/device_memory.h"
#include "worker/torch/torch.h"

namespace penstock {
namespace {

// Each block is preceded by its size, so that freeing can count without a table and its lock.
class CountingAllocator final : public c10::Allocator {
 public:
  c10::DataPtr allocate(size_t bytes) override {
    if (bytes == 0) return {nullptr, nullptr, &Free, c10::DeviceType::CPU};
    const uint64_t limit = limit_.load(std::memory_order_relaxed);
    const uint64_t now = allocated_.fetch_add(bytes, std::memory_order_relaxed) + bytes;
    void* block = nullptr;
    if ((limit > 0 && now > limit) || posix_memalign(&block, kHeader, kHeader + bytes) != 0) {
      allocated_.fetch_sub(bytes, std::memory_order_relaxed);
      Refuse(bytes, now - bytes, limit);
    }
    *static_cast<size_t*>(block) = bytes;
    RaisePeak(now);
    void* data = static_cast<char*>(block) + kHeader;
    return {data, data, &Free, c10::DeviceType::CPU};
  }

  c10::DeleterFnPtr raw_deleter() const override { return &Free; }

  void copy_data(void* to, const void* from, size_t bytes) const override { default_copy_data(to, from, bytes); }

  void Adopt(uint64_t bytes) { RaisePeak(allocated_.fetch_add(bytes, std::memory_order_relaxed) + bytes); }
  void Release(uint64_t bytes) { allocated_.fetch_sub(bytes, std::memory_order_relaxed); }

  void set_limit(uint64_t bytes) { limit_.store(bytes, std::memory_order_relaxed); }
  uint64_t limit() const { return limit_.load(std::memory_order_relaxed); }
  uint64_t allocated() const { return allocated_.load(std::memory_order_relaxed); }
  void reset_peak() { peak_.store(allocated(), std::memory_order_relaxed); }
  uint64_t peak() const { return peak_.load(std::memory_order_relaxed); }

  // Never destroyed: tensors in static storage may be freed after it.
  static CountingAllocator* Get() {
    static CountingAllocator* const allocator = new CountingAllocator;
    return allocator;
  }

 private:
  static constexpr size_t kHeader = limits::kTensorAlignment;

  static void Free(void* data) {
    if (data == nullptr) return;
    void* block = static_cast<char*>(data) - kHeader;
    Get()->allocated_.fetch_sub(*static_cast<size_t*>(block), std::memory_order_relaxed);
    std::free(block);
  }

  void RaisePeak(uint64_t now) {
    uint64_t peak = peak_.load(std::memory_order_relaxed);
    while (now > peak && !peak_.compare_exchange_weak(peak, now, std::memory_order_relaxed)) {
    }
  }

  [[noreturn]] void Refuse(size_t bytes, uint64_t in_use, uint64_t limit) const {
    if (limit > 0 && in_use + bytes > limit) {
      TORCH_CHECK_WITH(OutOfMemoryError, false, "out of memory on cpu: a tensor of ", bytes,
                       " bytes does not fit: ", in_use, " bytes are in use (at most ", peak(),
                       " so far), the worker's limit is ", limit);
    }
    TORCH_CHECK_WITH(OutOfMemoryError, false, "out of memory on cpu: the host refused ", bytes, " bytes; ", in_use,
                     " bytes are in use (at most ", peak(), " so far)");
  }

  std::atomic<uint64_t> limit_{0};
  std::atomic<uint64_t> allocated_{0};
  std::atomic<uint64_t> peak_{0};
};

class CpuMemory final : public DeviceMemory {
 public:
  uint64_t AllocatedBytes() const override { return CountingAllocator::Get()->allocated(); }
  uint64_t PeakBytes() const override { return CountingAllocator::Get()->peak(); }
  uint64_t LimitBytes() const override { return CountingAllocator::Get()->limit(); }
  void ResetPeak() override { CountingAllocator::Get()->reset_peak(); }
  void Adopt(uint64_t bytes) override { CountingAllocator::Get()->Adopt(bytes); }
  void Release(uint64_t bytes) override { CountingAllocator::Get()->Release(bytes); }
};

}  // namespace

void InstallCpuAllocator() { c10::SetCPUAllocator(CountingAllocator::Get(), /*priority=*/255); }

std::unique_ptr<DeviceMemory> OpenCpuMemory(uint64_t limit_bytes) {
  CountingAllocator::Get()->set_limit(limit_bytes);
  return std::make_unique<CpuMemory>();
}

}  // namespace penstock
