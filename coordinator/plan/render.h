// A plan as people and programs read it: the table of `penstock plan`, and its JSON. Pure.
// Source: docs/schedules.md, "Reading a plan".
#ifndef PENSTOCK_COORDINATOR_PLAN_RENDER_H_
#define PENSTOCK_COORDINATOR_PLAN_RENDER_H_

#include <cstdint>
#include <string>
#include <vector>

#include "proto/job.pb.h"
#include "proto/plan.pb.h"

namespace penstock {

// What is known of the workers that would run a plan. Both may be shorter than the plan has ranks: the rest is unknown.
struct PlanWorkers {
  std::vector<uint64_t> memory_bytes;  // limit of the worker that runs rank r; 0: no limit
  std::vector<std::string> names;      // "localhost/cpu.0"; empty: none yet
};

// The table, one line a stage, then bubble, step time and throughput, then notes. Ends with a newline, has no colour.
// Args: plan as MakePlan returns it for `spec`.
std::string RenderPlanText(const v1::JobSpec& spec, const v1::Plan& plan, const PlanWorkers& workers = {});

// One JSON object with the same facts, at full precision, and the compute actions as text; indented, no final newline.
std::string RenderPlanJson(const v1::JobSpec& spec, const v1::Plan& plan, const PlanWorkers& workers = {});

}  // namespace penstock

#endif  // PENSTOCK_COORDINATOR_PLAN_RENDER_H_
