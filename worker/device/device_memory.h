// A device's memory in figures. Thread-safe. This header includes no torch.
#ifndef PENSTOCK_WORKER_DEVICE_DEVICE_MEMORY_H_
#define PENSTOCK_WORKER_DEVICE_DEVICE_MEMORY_H_

#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"

namespace penstock {

class DeviceMemory {
 public:
  virtual ~DeviceMemory() = default;
  virtual uint64_t AllocatedBytes() const = 0;  // by tensors, now
  virtual uint64_t PeakBytes() const = 0;       // since ResetPeak
  virtual uint64_t LimitBytes() const = 0;      // 0: none
  // The peak starts again from what is allocated now.
  virtual void ResetPeak() = 0;
  // Counts memory that a tensor uses and that comes from elsewhere, until Release.
  virtual void Adopt(uint64_t bytes) = 0;
  virtual void Release(uint64_t bytes) = 0;
};

// Makes every CPU tensor of this process come from an allocator that counts, aligns to limits::kTensorAlignment and
// throws c10::OutOfMemoryError (see worker/torch/torch_guard.h) beyond the limit. Before torch's first tensor.
void InstallCpuAllocator();

// The process's CPU tensors, with a new limit. REQUIRES: InstallCpuAllocator was called.
std::unique_ptr<DeviceMemory> OpenCpuMemory(uint64_t limit_bytes);

// Loads torch's CUDA library and opens device `index`.
// Errors: NotFound: the driver, torch's CUDA library or a device of that number is missing; names which.
absl::StatusOr<std::unique_ptr<DeviceMemory>> OpenCudaMemory(int index, uint64_t limit_bytes);

}  // namespace penstock

#endif  // PENSTOCK_WORKER_DEVICE_DEVICE_MEMORY_H_
