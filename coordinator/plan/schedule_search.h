// zb-1p and zb-2p: a schedule searched for the given times under a bound on activations. For schedule.cc alone. Pure.
// Source: docs/schedules.md, "Searched schedules"; arXiv 2401.10241, section 3.1.
#ifndef PENSTOCK_COORDINATOR_PLAN_SCHEDULE_SEARCH_H_
#define PENSTOCK_COORDINATOR_PLAN_SCHEDULE_SEARCH_H_

#include <cstdint>
#include <vector>

#include "common/action.h"
#include "coordinator/plan/costs.h"

namespace penstock {

// One stage a rank. A greedy walk lays the actions of all ranks round by round; it has three yes-or-no choices, and the
// best of the eight tables is kept: the one with the shortest span, then with the shortest makespan.
// Args:    costs: of `ranks` stages, sound. limit_bytes[r]: what rank r may keep between F and W, at least the
//          activations of one micro-batch.
// O(ranks * micro_batches) time.
ActionTable SearchZeroBubble(int ranks, int micro_batches, const PipelineCosts& costs,
                             const std::vector<int64_t>& limit_bytes);

// The bytes that the search counts for a micro-batch of this stage until its I; one of it waits for its W with
// deferred_bytes. A stage of which no bytes are known counts micro-batches: 1 each.
int64_t SearchedActivationBytes(const StageCost& cost);

}  // namespace penstock

#endif  // PENSTOCK_COORDINATOR_PLAN_SCHEDULE_SEARCH_H_
