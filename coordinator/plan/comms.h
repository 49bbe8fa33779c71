// The communication pass: compute actions -> the lists that workers run. Pure.
// Source: docs/schedules.md, "Sends and receives".
#ifndef PENSTOCK_COORDINATOR_PLAN_COMMS_H_
#define PENSTOCK_COORDINATOR_PLAN_COMMS_H_

#include "absl/status/statusor.h"
#include "common/action.h"
#include "coordinator/plan/placement.h"
#include "coordinator/plan/validate.h"

namespace penstock {

// Puts a SEND right behind every F, B and I whose result another rank needs, and its RECV right before the F, B or I
// that needs it: behind an R of the same micro-batch, which so runs while the gradient is on its way. Nothing travels
// between stages of one rank.
// Args:    table: compute actions alone.
// Errors:  InvalidArgument: as ValidateComputeActions, which it calls first; so the result can always finish.
// O(actions) time.
absl::StatusOr<ActionTable> AddCommunication(const ActionTable& table, const Placement& placement, int micro_batches,
                                             PassKind pass);

}  // namespace penstock

#endif  // PENSTOCK_COORDINATOR_PLAN_COMMS_H_
