// What the planner's parts hand to each other. Internal to the planner: callers use planner.h. Pure.
// Source: docs/schedules.md.
#ifndef PENSTOCK_COORDINATOR_PLAN_PLANNING_H_
#define PENSTOCK_COORDINATOR_PLAN_PLANNING_H_

#include <cstdint>
#include <string>
#include <vector>

#include "common/action.h"
#include "coordinator/plan/model_costs.h"
#include "coordinator/plan/partition.h"
#include "coordinator/plan/placement.h"
#include "coordinator/plan/simulate.h"
#include "model/model_info.h"
#include "proto/job.pb.h"
#include "proto/plan.pb.h"

namespace penstock {

// A job, and what all plans of it for one number of micro-batches share.
struct Planning {
  const v1::JobSpec& spec;
  const ModelInfo& model;
  const ModelCosts& costs;
  const std::vector<uint64_t>& memory_bytes;  // by rank: its worker's limit; 0 or missing: none
  bool measured = false;                      // whether costs are

  uint64_t LimitOf(size_t rank) const { return rank < memory_bytes.size() ? memory_bytes[rank] : 0; }
};

// A shape that a plan may have: how many ranks, how many stages on each, and in which order they run.
struct Variant {
  std::string schedule;
  int ranks = 1;
  int chunks = 1;

  int stages() const { return ranks * chunks; }
  friend bool operator==(const Variant&, const Variant&) = default;
};

// What a plan is made of, before it is costed.
struct Draft {
  Partition stages;
  Placement placement;
  std::string schedule;
  ActionTable compute;
};

// A draft as a whole plan, and how it was found to run.
struct FinishedPlan {
  v1::Plan plan;
  Simulation simulation;
};

}  // namespace penstock

#endif  // PENSTOCK_COORDINATOR_PLAN_PLANNING_H_
