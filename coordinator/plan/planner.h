// Makes plans: costs -> partition -> schedule -> communication pass -> validate -> simulate. Pure.
// Source: docs/schedules.md.
#ifndef PENSTOCK_COORDINATOR_PLAN_PLANNER_H_
#define PENSTOCK_COORDINATOR_PLAN_PLANNER_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "proto/job.pb.h"
#include "proto/plan.pb.h"

namespace penstock {

// Makes the plan of a job from its `pipeline` keys, or completes and checks the plan that it brings: training lists
// from the schedule's name where it has none, sends and receives, forward-only lists, costs.
// Errors: InvalidArgument: more stages than layers, layers not owned exactly once, a malformed schedule (the message
//         prints the table with the place), batch_size < micro_batches.
absl::StatusOr<v1::Plan> MakePlan(const v1::JobSpec& spec);

// Whether the plan fits: memory_bytes[r] is the limit of the worker that runs rank r, 0: no limit.
// Errors: ResourceExhausted: names the first rank that does not fit, by how much, and what would make it fit.
absl::Status CheckFits(const v1::JobSpec& spec, const v1::Plan& plan, const std::vector<uint64_t>& memory_bytes);

// Sentences of advice: a better split, more micro-batches.
std::vector<std::string> Advice(const v1::JobSpec& spec, const v1::Plan& plan);

}  // namespace penstock

#endif  // PENSTOCK_COORDINATOR_PLAN_PLANNER_H_
