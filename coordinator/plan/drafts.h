// Drafts of plans: where the layers are cut, where the stages lie, in which order they run. Pure.
// Source: docs/schedules.md, "Partition" and "Schedules".
#ifndef PENSTOCK_COORDINATOR_PLAN_DRAFTS_H_
#define PENSTOCK_COORDINATOR_PLAN_DRAFTS_H_

#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "coordinator/plan/planning.h"

namespace penstock {

// Cuts the model as `pipeline.split` says and makes the variant's lists. `split: auto` searches for the cuts: under
// GPipe with estimated costs the exact makespan partition, else the best that the simulator finds, from that one and
// the min-variance one on, simulating at most search_actions compute actions. Args:    planning.spec: names no plan;
// its schedule and number of stages are the variant's. Errors:  InvalidArgument: more stages than there are places to
// cut, an explicit split that does not fit the model, a
//          cut where only tokens pass, a need of the schedule that is not met.
absl::StatusOr<Draft> MakeDraft(const Planning& planning, const Variant& variant, int64_t search_actions);

// Turns a draft into the whole plan: 1. sends and receives, 2. validation, 3. simulation, 4. forward-only lists.
// Errors: InvalidArgument: a malformed schedule.
absl::StatusOr<FinishedPlan> FinishDraft(const Planning& planning, const Draft& draft,
                                         SimulationDetail detail = SimulationDetail::kTotals);

// Whether every cut lies behind the layer that turns tokens into numbers: tokens have no gradient to send back.
// Errors: InvalidArgument: names the first cut that does not, and where it may lie.
absl::Status CheckCuts(const Planning& planning, const Partition& stages);

}  // namespace penstock

#endif  // PENSTOCK_COORDINATOR_PLAN_DRAFTS_H_
