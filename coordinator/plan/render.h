// A plan as people and programs read it: the table of `penstock plan`, a comparison of schedules, and their JSON. Pure.
// Source: docs/schedules.md, "Reading a plan".
#ifndef PENSTOCK_COORDINATOR_PLAN_RENDER_H_
#define PENSTOCK_COORDINATOR_PLAN_RENDER_H_

#include <string>
#include <vector>

#include "coordinator/plan/planner.h"

namespace penstock {

// The table, one line a stage, then bubble, step time and throughput, then notes. Ends with a newline, has no colour.
// Args: planned: as PlanJob returns it for `request`, whose limits it prints.
//       workers: "localhost/cpu.0", by rank; may be shorter than there are ranks, or empty.
std::string RenderPlanText(const PlanRequest& request, const PlannedJob& planned,
                           const std::vector<std::string>& workers = {});

// One JSON object with the same facts, at full precision, and the compute actions as text; indented, no final newline.
// Where the simulation has its actions, they stand there with their times.
std::string RenderPlanJson(const PlanRequest& request, const PlannedJob& planned,
                           const std::vector<std::string>& workers = {});

// Every schedule in one table, the best marked, with what keeps the others from running. Ends with a newline.
// Args: rows: as CompareSchedules returns them; at least one can run.
std::string RenderComparisonText(const PlanRequest& request, const std::vector<ScheduleRow>& rows);

// One JSON object with the same facts.
std::string RenderComparisonJson(const PlanRequest& request, const std::vector<ScheduleRow>& rows);

}  // namespace penstock

#endif  // PENSTOCK_COORDINATOR_PLAN_RENDER_H_
