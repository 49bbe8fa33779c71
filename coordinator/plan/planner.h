// Makes plans: costs -> partition -> schedule -> communication pass -> validate -> simulate. Pure.
// Source: docs/schedules.md.
#ifndef PENSTOCK_COORDINATOR_PLAN_PLANNER_H_
#define PENSTOCK_COORDINATOR_PLAN_PLANNER_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "coordinator/plan/simulate.h"
#include "proto/job.pb.h"
#include "proto/plan.pb.h"

namespace penstock {

// Compute actions that a search for a split may simulate: a second or less on one core.
inline constexpr int64_t kSearchActions = 4 << 20;

// What a plan is made for.
struct PlanRequest {
  const v1::JobSpec& spec;
  // What workers found its layers to take, or null: then costs are estimated. Must outlive the call.
  const v1::MeasuredCosts* measured = nullptr;
  // By rank: the limit of the worker that runs it; 0 or missing: none. `split: auto` and `schedule: auto` keep them if
  // anything does; whether the plan does is CheckFits' to say.
  std::vector<uint64_t> memory_bytes = {};
  SimulationDetail detail = SimulationDetail::kTotals;
  int64_t search_actions = kSearchActions;
};

struct PlannedJob {
  v1::Plan plan;
  Simulation simulation;
  std::vector<std::string> notes;  // what was chosen and by how much, as sentences
};

// Makes the plan of a job from its `pipeline` keys, or completes and checks the plan that it brings: training lists
// from the schedule's name where it has none, sends and receives, forward-only lists, costs.
// Errors: InvalidArgument: more stages than layers, layers not owned exactly once, a malformed schedule (the message
//         prints the table with the place), a need of the schedule that is not met, batch_size < micro_batches,
//         measured costs of another model.
absl::StatusOr<PlannedJob> PlanJob(const PlanRequest& request);

// PlanJob without limits; only the plan.
absl::StatusOr<v1::Plan> MakePlan(const v1::JobSpec& spec, const v1::MeasuredCosts* measured = nullptr);

// One schedule in a comparison.
struct ScheduleRow {
  std::string schedule;
  int stages = 0;
  int chunks = 1;              // stages a rank
  absl::Status status;         // why it cannot run this job; the rest is of one that can
  PlannedJob planned;          // with its best split, as the job's `split` has it
  uint64_t missing_bytes = 0;  // by how much ranks exceed their limits, together
};

// Every schedule on as many ranks as the job has, in the order of their names, the simplest first.
// Errors: InvalidArgument: the job cannot be planned with any: its model, its number of stages or of micro-batches.
absl::StatusOr<std::vector<ScheduleRow>> CompareSchedules(const PlanRequest& request);

// How many ranks a job's plan has, whatever its schedule.
// Errors: InvalidArgument: pipeline.stages cannot be dealt out to ranks.
absl::StatusOr<int> RanksOfJob(const v1::JobSpec& spec);

// The same job with another schedule on as many ranks, which may mean more stages.
// Errors: InvalidArgument: no schedule of this name.
absl::StatusOr<v1::JobSpec> WithSchedule(const PlanRequest& request, const std::string& schedule);

// Whether the plan fits: memory_bytes[r] is the limit of the worker that runs rank r, 0: no limit.
// Errors: ResourceExhausted: names the first rank that does not fit, by how much, and what would make it fit.
absl::Status CheckFits(const PlanRequest& request, const v1::Plan& plan);

// Sentences of advice: a better split, more micro-batches, recomputation.
std::vector<std::string> Advice(const PlanRequest& request, const v1::Plan& plan);

}  // namespace penstock

#endif  // PENSTOCK_COORDINATOR_PLAN_PLANNER_H_
