// Which actions a step's length comes from. Pure.
// Source: docs/schedules.md, "Simulation".
#ifndef PENSTOCK_COORDINATOR_PLAN_CRITICAL_PATH_H_
#define PENSTOCK_COORDINATOR_PLAN_CRITICAL_PATH_H_

#include <cstddef>
#include <vector>

#include "coordinator/plan/simulate.h"

namespace penstock {

// What the makespan consists of: a chain of actions, each of which began the moment the one before it was done or its
// result had arrived. The step gets shorter only if something on it does.
struct CriticalPath {
  struct Step {
    int rank = 0;
    size_t index = 0;      // into Simulation::actions[rank]
    double before_us = 0;  // between the end of the step before and its start: the result was on the way
  };
  std::vector<Step> steps;  // the first starts at 0, the last ends at the makespan
  double compute_us = 0;
  double transfer_us = 0;  // results on the way
  double queue_us = 0;     // results behind others on the same link
};

// Where an action could have begun by both, the path stays on its rank.
// Args: a simulation with SimulationDetail::kActions.
// O(actions) time.
CriticalPath FindCriticalPath(const Simulation& simulation);

}  // namespace penstock

#endif  // PENSTOCK_COORDINATOR_PLAN_CRITICAL_PATH_H_
