// Plans of jobs that have one; a test fails where there is none. Testonly.
#ifndef PENSTOCK_TESTS_COORDINATOR_PLAN_PLANNED_JOBS_H_
#define PENSTOCK_TESTS_COORDINATOR_PLAN_PLANNED_JOBS_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "coordinator/plan/planner.h"
#include "gtest/gtest.h"

namespace penstock {

// The plan of a job that has one.
inline v1::Plan Plan(const v1::JobSpec& spec) {
  const absl::StatusOr<v1::Plan> plan = MakePlan(spec);
  EXPECT_TRUE(plan.ok()) << plan.status();
  return plan.ok() ? *plan : v1::Plan();
}

// The plan with how it was found to run.
inline PlannedJob Planned(const v1::JobSpec& spec, const std::vector<uint64_t>& memory_bytes = {}) {
  const absl::StatusOr<PlannedJob> planned = PlanJob({spec, nullptr, memory_bytes});
  EXPECT_TRUE(planned.ok()) << planned.status();
  return planned.ok() ? *planned : PlannedJob();
}

}  // namespace penstock

#endif  // PENSTOCK_TESTS_COORDINATOR_PLAN_PLANNED_JOBS_H_
