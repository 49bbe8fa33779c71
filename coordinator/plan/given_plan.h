// A plan that a job brings: from a plan file, or from an earlier run. Pure.
// Source: docs/schedules.md, "The plan file".
#ifndef PENSTOCK_COORDINATOR_PLAN_GIVEN_PLAN_H_
#define PENSTOCK_COORDINATOR_PLAN_GIVEN_PLAN_H_

#include <vector>

#include "absl/status/statusor.h"
#include "coordinator/plan/planning.h"

namespace penstock {

// The stages and their ranks, as the given plan has them.
struct GivenStages {
  Partition stages;
  Placement placement;
};

// Errors: InvalidArgument: layers that are not owned exactly once, a cut where only tokens pass, a rank without a stage
//         among those with one.
absl::StatusOr<GivenStages> TakeStages(const Planning& planning, const v1::Plan& given);

// The drafts that complete the plan: the one of its lists; without lists the one of its schedule's name, and for `auto`
// those of every schedule that can run these stages where they are.
// Errors: InvalidArgument: a malformed list, no schedule of this name, a need of it that is not met.
absl::StatusOr<std::vector<Draft>> DraftsOfPlan(const Planning& planning, const v1::Plan& given);

}  // namespace penstock

#endif  // PENSTOCK_COORDINATOR_PLAN_GIVEN_PLAN_H_
