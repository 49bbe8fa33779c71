#include "coordinator/plan/bottleneck.h"

#include <algorithm>
#include <limits>
#include <queue>

#include "coordinator/plan/cover.h"

namespace penstock {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// The smallest bound on `first` that some partition keeps together with the bound of `second`; infinity if none does.
// `low` is a known lower bound.
double SmallestBound(const PrefixSums& first, const BoundedCost& second, int num_stages, const StageLimits& limits,
                     double low) {
  const Coverage widest = Cover({first, kInfinity}, second, num_stages, limits);
  if (!widest.fits) return kInfinity;
  double high = widest.largest;
  // Every bound that is tried becomes the largest sum that it led to, or the smallest that it cut off: the search runs
  // over sums that occur and ends on one exactly.
  bool try_low = true;
  while (low < high) {
    const double middle = low + (high - low) / 2;
    const double bound = try_low || middle <= low ? low : middle;
    try_low = !try_low;
    const Coverage coverage = Cover({first, bound}, second, num_stages, limits);
    if (coverage.fits) {
      high = coverage.largest;
      if (bound == low) break;
    } else {
      low = coverage.smallest_over;
    }
  }
  return high;
}

// Forward bounds strictly between two that are known, with the best backward bound of each.
struct Gap {
  StageBounds left, right;

  // No bounds inside can have a smaller sum.
  double LowerBound() const { return left.forward + right.backward; }
  friend bool operator<(const Gap& a, const Gap& b) { return a.LowerBound() > b.LowerBound(); }
};

}  // namespace

StageBounds BestBounds(const PrefixSums& forward, const PrefixSums& backward, int num_stages,
                       const StageLimits& limits) {
  // No largest part is smaller than the mean; the factor keeps rounding on the safe side.
  const double share = (1 - 1e-9) / num_stages;
  const auto best_forward = [&](double backward_bound) {
    return SmallestBound(forward, {backward, backward_bound}, num_stages, limits,
                         share * forward.Sum(0, forward.size()));
  };
  const auto best_backward = [&](double forward_bound) {
    return SmallestBound(backward, {forward, forward_bound}, num_stages, limits,
                         share * backward.Sum(0, backward.size()));
  };
  // The least backward bound is a staircase that falls as the forward bound grows. Its two ends:
  StageBounds left{best_forward(kInfinity), 0}, right{0, best_backward(kInfinity)};
  if (left.forward == kInfinity) return {kInfinity, kInfinity};
  left.backward = best_backward(left.forward);
  right.forward = best_forward(right.backward);
  StageBounds best = left.Sum() <= right.Sum() ? left : right;
  // Best first, so that the search ends at the first gap that holds nothing better.
  std::priority_queue<Gap> gaps;
  const auto add_gap = [&](const StageBounds& from, const StageBounds& to) {
    if (from.forward < to.forward && to.backward < from.backward) gaps.push({from, to});
  };
  add_gap(left, right);
  while (!gaps.empty() && gaps.top().LowerBound() < best.Sum()) {
    const Gap gap = gaps.top();
    gaps.pop();
    const double middle = gap.left.forward + (gap.right.forward - gap.left.forward) / 2;
    if (middle <= gap.left.forward || middle >= gap.right.forward) continue;
    StageBounds step{0, best_backward(middle)};
    step.forward = best_forward(step.backward);
    if (step.Sum() < best.Sum()) best = step;
    add_gap(gap.left, step);
    add_gap({middle, step.backward}, gap.right);
  }
  return best;
}

}  // namespace penstock
