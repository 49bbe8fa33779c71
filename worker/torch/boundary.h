// Boundary tensors between torch and the runtime: bytes are shared, not copied (on a CPU). Thread-safe.
#ifndef PENSTOCK_WORKER_TORCH_BOUNDARY_H_
#define PENSTOCK_WORKER_TORCH_BOUNDARY_H_

#include "absl/status/statusor.h"
#include "worker/device/device_memory.h"
#include "worker/runtime/tensor.h"
#include "worker/torch/torch.h"

namespace penstock {

// A view that keeps the tensor alive. REQUIRES: contiguous; float32, bfloat16, float16 or int64.
TensorView ToView(at::Tensor tensor);

// A tensor over the received memory, on `device`.
// Args:   memory: the device's; on a CPU it counts the received memory for as long as the tensor lives. Outlives it.
// Errors: InvalidArgument: dtype, or bytes that do not fill the shape.
absl::StatusOr<at::Tensor> FromReceived(ReceivedTensor received, at::Device device, DeviceMemory* memory);

}  // namespace penstock

#endif  // PENSTOCK_WORKER_TORCH_BOUNDARY_H_
