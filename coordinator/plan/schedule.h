// Schedules: in which order each rank runs its compute actions. Pure.
// Source: docs/schedules.md, "Schedules", which has each one's origin.
#ifndef PENSTOCK_COORDINATOR_PLAN_SCHEDULE_H_
#define PENSTOCK_COORDINATOR_PLAN_SCHEDULE_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/action.h"
#include "common/schedule_kind.h"
#include "coordinator/plan/costs.h"
#include "coordinator/plan/placement.h"

namespace penstock {

struct ScheduleRequest {
  std::string name;  // of ScheduleKinds()
  int ranks = 1;
  int chunks = 1;  // stages a rank
  int micro_batches = 1;
  int group = 0;         // interleaved: micro-batches a round; 0: DefaultGroup
  bool reverse = false;  // gpipe: input gradients from the last micro-batch to the first
  // By stage; must outlive the call. Needed by kinds with needs_costs, else unused.
  const PipelineCosts* costs = nullptr;
  // Searched schedules: what the activations of each rank may take, beside the schedule's own bound; empty: no limit.
  std::vector<int64_t> activation_limit_bytes;
  // Where the stages lie if that is given: the schedule's own placement, up to the ranks' numbers.
  std::optional<Placement> placement;
};

// Compute actions alone; AddRecompute (recompute.h) and AddCommunication (comms.h) go on from here.
struct Schedule {
  Placement placement;
  ActionTable table;
};

// The compute actions of a training step. Every stage runs its W's in ascending order.
// Errors: InvalidArgument: no schedule of this name (the message lists those there are); a need that the shape does not
//         meet (it names key and remedy); costs are missing, of other stages, negative or not numbers; a limit below
//         one micro-batch's activations (it names the rank); a placement that is not the schedule's.
// O(actions) time; zb-1p and zb-2p O(ranks * actions).
absl::StatusOr<Schedule> MakeSchedule(const ScheduleRequest& request);

// A pass that only goes forward (evaluation, generation): each stage runs all micro-batches in ascending order, a rank
// its stages one after the other. Works for any placement.
ActionTable ForwardOnlySchedule(const Placement& placement, int micro_batches);

}  // namespace penstock

#endif  // PENSTOCK_COORDINATOR_PLAN_SCHEDULE_H_
