// Whether an action table is a valid schedule. Every list that runs has passed this. Pure.
// Source: docs/schedules.md, "What makes a schedule valid".
#ifndef PENSTOCK_COORDINATOR_PLAN_VALIDATE_H_
#define PENSTOCK_COORDINATOR_PLAN_VALIDATE_H_

#include "absl/status/status.h"
#include "common/action.h"
#include "coordinator/plan/placement.h"
#include "coordinator/plan/table.h"

namespace penstock {

enum class PassKind {
  kTraining,     // a forward and a backward, whole or in two parts, of every stage and micro-batch
  kForwardOnly,  // a forward of each
};

// Checks compute actions alone, as a schedule or a person gives them: the table has no sends and receives yet.
// Errors: InvalidArgument: names the rule, the rank and the position, and prints the table with the place. Then
// `place`,
//         unless null, is that place: the first rank's of several that wait for each other.
absl::Status ValidateComputeActions(const ActionTable& table, const Placement& placement, int micro_batches,
                                    PassKind pass, TablePlace* place = nullptr);

// Checks a whole table, as workers run it: the same rules, and those of sends and receives.
// Errors: as above.
absl::Status ValidateTable(const ActionTable& table, const Placement& placement, int micro_batches, PassKind pass);

}  // namespace penstock

#endif  // PENSTOCK_COORDINATOR_PLAN_VALIDATE_H_
