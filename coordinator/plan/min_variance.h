// The dynamic program behind the partitioners. Pure.
// Source: docs/schedules.md, "Partition".
#ifndef PENSTOCK_COORDINATOR_PLAN_MIN_VARIANCE_H_
#define PENSTOCK_COORDINATOR_PLAN_MIN_VARIANCE_H_

#include <functional>
#include <vector>

#include "coordinator/plan/partition.h"
#include "coordinator/plan/prefix_sums.h"
#include "coordinator/plan/stage_limits.h"

namespace penstock {

// The partition into num_stages that minimises the sum of squared costs, of those whose every stage is allowed.
// Args:     allowed(begin, end): whether the layers may be one stage; if a range is allowed, so is every part of it.
// REQUIRES: 1 <= num_stages <= costs.size(), and a partition of allowed stages exists.
// Exact. O(L K log L) time, O(L K) memory, and far less where `allowed` leaves little choice.
Partition MinVarianceAmong(const PrefixSums& costs, int num_stages, const std::function<bool(int, int)>& allowed);

// The same where stages differ in what they may hold: within `reach` and `limits`.
// Args:     reach[b]: the largest end of a stage from b; never falls.
// REQUIRES: 1 <= num_stages <= costs.size(), and a partition within both exists (cover.h).
// Exact. O(K L l) time, l being how many layers a stage can have: the plain table, where a stage's best cut may move
// either way.
Partition MinVarianceWithin(const PrefixSums& costs, int num_stages, const std::vector<int>& reach,
                            const StageLimits& limits);

}  // namespace penstock

#endif  // PENSTOCK_COORDINATOR_PLAN_MIN_VARIANCE_H_
