// The torch wall's front door: what worker/main needs of torch. This header includes no torch.
#ifndef PENSTOCK_WORKER_TORCH_TORCH_DEVICE_H_
#define PENSTOCK_WORKER_TORCH_TORCH_DEVICE_H_

#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "worker/runtime/stage_runner.h"

namespace penstock {

// Sets what must be set before torch's first computation (MKL_CBWR, threads of this thread). Call first thing in main.
void PrepareTorch();

// Opens "cpu" or "cuda:N", one intra-op thread.
// Args:    memory_limit_bytes: allocations beyond it fail; 0: no limit.
// Errors:  InvalidArgument: not a device's name. NotFound: no such device here; names those there are, or the
//          library or driver that is missing.
absl::StatusOr<std::unique_ptr<Device>> OpenTorchDevice(absl::string_view name, uint64_t memory_limit_bytes);

}  // namespace penstock

#endif  // PENSTOCK_WORKER_TORCH_TORCH_DEVICE_H_
