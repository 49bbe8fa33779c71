// The dynamic program behind the partitioners. Pure.
// Source: docs/schedules.md, "Partition".
#ifndef PENSTOCK_COORDINATOR_PLAN_MIN_VARIANCE_H_
#define PENSTOCK_COORDINATOR_PLAN_MIN_VARIANCE_H_

#include <functional>

#include "coordinator/plan/partition.h"
#include "coordinator/plan/prefix_sums.h"

namespace penstock {

// The partition into num_stages that minimises the sum of squared costs, of those whose every stage is allowed.
// Args:     allowed(begin, end): whether the layers may be one stage; if a range is allowed, so is every part of it.
// REQUIRES: 1 <= num_stages <= costs.size(), and a partition of allowed stages exists.
// Exact. O(L K log L) time, O(L K) memory, and far less where `allowed` leaves little choice.
Partition MinVarianceAmong(const PrefixSums& costs, int num_stages, const std::function<bool(int, int)>& allowed);

}  // namespace penstock

#endif  // PENSTOCK_COORDINATOR_PLAN_MIN_VARIANCE_H_
