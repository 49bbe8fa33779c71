// Times layers one by one, in the thread that calls, as a stage would run them. Thread-compatible.
// Source: docs/schedules.md, "Measured costs". This header includes no torch.
#ifndef PENSTOCK_WORKER_TORCH_MEASURE_H_
#define PENSTOCK_WORKER_TORCH_MEASURE_H_

#include <functional>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/clock.h"
#include "proto/worker.pb.h"
#include "worker/device/device_memory.h"

namespace penstock {

// Args:    device: "cpu", "cuda:0". memory: of that device; its peak is reset.
//          cancelled: asked between layers; true ends the measurement.
// Returns: .layers: those asked for, in order; .update_bytes_per_us if it was asked for. Medians of repetitions that
// are
//          interleaved over the layers, so that a slow moment of the host falls on all of them.
// Errors:  as rpc Worker.Measure; Cancelled.
absl::StatusOr<v1::MeasuredCosts> MeasureCosts(const v1::MeasureRequest& request, absl::string_view device,
                                               DeviceMemory* memory, Clock* clock,
                                               const std::function<bool()>& cancelled);

}  // namespace penstock

#endif  // PENSTOCK_WORKER_TORCH_MEASURE_H_
