#include <dlfcn.h>

#include "absl/strings/str_cat.h"
#include "worker/device/device_memory.h"
#include "worker/torch/torch.h"
#include "worker/torch/torch_guard.h"

namespace penstock {
namespace {

// Torch's caching allocator of one CUDA device. Its own fraction of the device's memory is the limit.
class CudaMemory final : public DeviceMemory {
 public:
  CudaMemory(int index, uint64_t limit_bytes) : index_(index), limit_bytes_(limit_bytes) {}

  uint64_t AllocatedBytes() const override { return Allocated().current; }
  uint64_t PeakBytes() const override { return Allocated().peak; }
  uint64_t LimitBytes() const override { return limit_bytes_; }
  // What the device uses lies in its own memory, which its allocator counts.
  void Adopt(uint64_t) override {}
  void Release(uint64_t) override {}
  void ResetPeak() override { c10::getDeviceAllocator(c10::DeviceType::CUDA)->resetPeakStats(index_); }

 private:
  c10::CachingAllocator::Stat Allocated() const {
    constexpr size_t kAggregate = static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE);
    return c10::getDeviceAllocator(c10::DeviceType::CUDA)->getDeviceStats(index_).allocated_bytes[kAggregate];
  }

  const c10::DeviceIndex index_;
  const uint64_t limit_bytes_;
};

absl::Status LoadLibrary(const char* library, absl::string_view meaning) {
  if (dlopen(library, RTLD_NOW | RTLD_GLOBAL) != nullptr) return absl::OkStatus();
  return absl::NotFoundError(absl::StrCat(meaning, ": ", dlerror()));
}

}  // namespace

absl::StatusOr<std::unique_ptr<DeviceMemory>> OpenCudaMemory(int index, uint64_t limit_bytes) {
  const std::string name = absl::StrCat("cuda:", index);
  absl::Status loaded =
      LoadLibrary("libcuda.so.1", absl::StrCat("no device ", name, " here: the NVIDIA driver's library is missing"));
  if (!loaded.ok()) return loaded;
  // Registers itself with torch as it is loaded; a host without it runs on the CPU alone.
  loaded =
      LoadLibrary("libtorch_cuda.so",
                  absl::StrCat("no device ", name, " here: torch's CUDA library, or one that it needs, is missing"));
  if (!loaded.ok()) return loaded;
  int count = 0;
  const absl::Status counted = RunTorch([&] { return absl::StrCat("opening ", name); },
                                        [&] {
                                          count = at::detail::getCUDAHooks().deviceCount();
                                          if (index < count) at::globalContext().lazyInitDevice(c10::DeviceType::CUDA);
                                          return absl::OkStatus();
                                        });
  if (!counted.ok()) return absl::NotFoundError(counted.message());
  if (index >= count) {
    return absl::NotFoundError(absl::StrCat("no device ", name, " here: the driver shows ", count, " CUDA device(s)",
                                            count == 0 ? "" : absl::StrCat(", cuda:0 to cuda:", count - 1)));
  }
  return std::make_unique<CudaMemory>(index, limit_bytes);
}

}  // namespace penstock
