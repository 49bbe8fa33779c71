// The smallest bounds on a stage's forward and backward times that a partition can keep. Pure.
// Source: docs/schedules.md, "Partition".
#ifndef PENSTOCK_COORDINATOR_PLAN_BOTTLENECK_H_
#define PENSTOCK_COORDINATOR_PLAN_BOTTLENECK_H_

#include <cmath>

#include "coordinator/plan/prefix_sums.h"
#include "coordinator/plan/stage_limits.h"

namespace penstock {

// What no stage's forward and backward time may exceed.
struct StageBounds {
  double forward = 0;
  double backward = 0;

  double Sum() const { return forward + backward; }
  bool possible() const { return std::isfinite(Sum()); }
};

// Of all bounds that some partition into num_stages keeps, those with the smallest sum; infinite ones if the limits
// allow no partition.
// REQUIRES: 1 <= num_stages <= forward.size() == backward.size(), no negative cost; `limits` is of as many stages.
// Exact. O(K log L) for each pair of bounds that is tried, O(K L) where limits differ: tens of pairs where backward
// times follow forward times, as they do in networks, and more where the two pull apart.
StageBounds BestBounds(const PrefixSums& forward, const PrefixSums& backward, int num_stages,
                       const StageLimits& limits = {});

}  // namespace penstock

#endif  // PENSTOCK_COORDINATOR_PLAN_BOTTLENECK_H_
