#include "coordinator/plan/bottleneck.h"

#include <algorithm>
#include <limits>
#include <queue>
#include <vector>

namespace penstock {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// The end of the longest range from `begin` whose sum keeps to `bound`. Doubles its stride first: ranges are short
// where there are many stages.
int Extend(const PrefixSums& sums, int begin, double bound) {
  int low = begin, stride = 1;
  while (low + stride <= sums.size() && sums.Sum(begin, low + stride) <= bound) {
    low += stride;
    stride *= 2;
  }
  int high = std::min(low + stride,
                      sums.size() + 1);  // the first end that is known not to keep, or past the last
  while (high - low > 1) {
    const int middle = (low + high) / 2;
    (sums.Sum(begin, middle) <= bound ? low : high) = middle;
  }
  return low;
}

// A walk that makes each stage as long as two bounds let it. If it needs more stages than there are, no partition keeps
// the bounds; if it needs fewer, longer stages can be split without breaking them.
struct Greedy {
  bool fits = false;
  double largest = 0;                // of the first cost's stage sums
  double smallest_over = kInfinity;  // of the first cost's sums that its bound
                                     // cut off: the next bound worth a try
};

Greedy Cover(const PrefixSums& first, double first_bound, const PrefixSums& second, double second_bound,
             int num_stages) {
  Greedy greedy;
  int begin = 0;
  for (int stage = 0; stage < num_stages && begin < first.size(); ++stage) {
    const int first_end = Extend(first, begin, first_bound), second_end = Extend(second, begin, second_bound);
    const int end = std::min(first_end, second_end);
    if (first_end <= second_end && first_end < first.size()) {
      greedy.smallest_over = std::min(greedy.smallest_over, first.Sum(begin, first_end + 1));
    }
    if (end == begin) return greedy;
    greedy.largest = std::max(greedy.largest, first.Sum(begin, end));
    begin = end;
  }
  greedy.fits = begin == first.size();
  return greedy;
}

// The smallest bound on `first` that some partition keeps together with second_bound; infinity if none does. `low` is a
// known lower bound.
double SmallestBound(const PrefixSums& first, const PrefixSums& second, double second_bound, int num_stages,
                     double low) {
  const Greedy widest = Cover(first, kInfinity, second, second_bound, num_stages);
  if (!widest.fits) return kInfinity;
  double high = widest.largest;
  // Every bound that is tried becomes the largest sum that it led to, or the smallest that it cut off: the search runs
  // over sums that occur and ends on one exactly.
  bool try_low = true;
  while (low < high) {
    const double middle = low + (high - low) / 2;
    const double bound = try_low || middle <= low ? low : middle;
    try_low = !try_low;
    const Greedy greedy = Cover(first, bound, second, second_bound, num_stages);
    if (greedy.fits) {
      high = greedy.largest;
      if (bound == low) break;
    } else {
      low = greedy.smallest_over;
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

StageBounds BestBounds(const PrefixSums& forward, const PrefixSums& backward, int num_stages) {
  // No largest part is smaller than the mean; the factor keeps rounding on the safe side.
  const double share = (1 - 1e-9) / num_stages;
  const auto best_forward = [&](double backward_bound) {
    return SmallestBound(forward, backward, backward_bound, num_stages, share * forward.Sum(0, forward.size()));
  };
  const auto best_backward = [&](double forward_bound) {
    return SmallestBound(backward, forward, forward_bound, num_stages, share * backward.Sum(0, backward.size()));
  };
  // The least backward bound is a staircase that falls as the forward bound grows. Its two ends:
  StageBounds left{best_forward(kInfinity), 0}, right{0, best_backward(kInfinity)};
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
