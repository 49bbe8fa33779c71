// Where torch's exceptions end: everything that calls torch for the rest of the project goes through here.
// Thread-safe. This header includes no torch.
#ifndef PENSTOCK_WORKER_TORCH_TORCH_GUARD_H_
#define PENSTOCK_WORKER_TORCH_TORCH_GUARD_H_

#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"

namespace penstock {

// Runs `body` without gradient recording (layers bring their own backward passes).
// Args:    where: "stage 1, layer h.3, forward of micro-batch 2"; asked for only after a failure.
// Errors:  what `body` returns. ResourceExhausted: memory is out, or over its limit. Internal: any other exception.
absl::Status RunTorch(absl::FunctionRef<std::string()> where, absl::FunctionRef<absl::Status()> body);

}  // namespace penstock

#endif  // PENSTOCK_WORKER_TORCH_TORCH_GUARD_H_
