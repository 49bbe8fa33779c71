// Measures what a job's layers cost, on idle workers, and keeps it. Blocks; never call under a lock. Thread-safe.
// Source: docs/schedules.md, "Measured costs".
#ifndef PENSTOCK_COORDINATOR_MEASUREMENT_H_
#define PENSTOCK_COORDINATOR_MEASUREMENT_H_

#include <functional>

#include "absl/status/statusor.h"
#include "coordinator/core.h"
#include "proto/coordinator.pb.h"

namespace penstock {

// Args:    cancelled: asked now and then; true ends the measurement.
// Errors:  as rpc Jobs.Measure; Cancelled.
absl::StatusOr<v1::MeasureJobReply> MeasureJob(Core* core, const v1::MeasureJobRequest& request,
                                               const std::function<bool()>& cancelled);

}  // namespace penstock

#endif  // PENSTOCK_COORDINATOR_MEASUREMENT_H_
