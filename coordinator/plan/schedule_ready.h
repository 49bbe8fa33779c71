// ready: the lists of ranks that run whatever is there, forwards until every micro-batch has reached the last stage,
// then backwards. For schedule.cc alone. Pure.
// Source: docs/schedules.md, "Readiness".
#ifndef PENSTOCK_COORDINATOR_PLAN_SCHEDULE_READY_H_
#define PENSTOCK_COORDINATOR_PLAN_SCHEDULE_READY_H_

#include "common/action.h"
#include "coordinator/plan/costs.h"
#include "coordinator/plan/placement.h"

namespace penstock {

// Plays the rule with these costs: at each time every rank that is free runs an action whose input has come, whatever
// its micro-batch and stage; the lists are what each rank did.
// Args: costs: of the placement's stages, sound. Any placement.
// O(A log A) time for A actions.
ActionTable ReadyLists(const Placement& placement, int micro_batches, const PipelineCosts& costs);

}  // namespace penstock

#endif  // PENSTOCK_COORDINATOR_PLAN_SCHEDULE_READY_H_
