#include "coordinator/plan/cover.h"

#include <algorithm>

namespace penstock {
namespace {

// A walk that makes each stage as long as it may be. If it needs more stages than there are, no partition keeps the
// bounds; if it needs fewer, longer stages can be split without breaking them.
Coverage CoverByWalk(const BoundedCost& first, const BoundedCost& second, int num_stages, const StageLimits& limits) {
  Coverage coverage;
  const int layers = first.sums.size();
  int begin = 0;
  for (int stage = 0; stage < num_stages && begin < layers; ++stage) {
    const int first_end = ExtendTo(first, begin);
    const int other_end = std::min(ExtendTo(second, begin), limits.LongestFrom(stage, begin, layers));
    const int end = std::min(first_end, other_end);
    if (first_end <= other_end && first_end < layers) {
      coverage.smallest_over = std::min(coverage.smallest_over, first.sums.Sum(begin, first_end + 1));
    }
    if (end == begin) return coverage;
    coverage.largest = std::max(coverage.largest, first.sums.Sum(begin, end));
    begin = end;
  }
  coverage.fits = begin == layers;
  return coverage;
}

// The same by all ends that are possible, stage by stage, where a longer stage now may mean trouble later.
Coverage CoverByEnds(const BoundedCost& first, const BoundedCost& second, int num_stages, const StageLimits& limits) {
  Coverage coverage;
  const int layers = first.sums.size();
  std::vector<int> reach(layers);
  for (int begin = 0; begin < layers; ++begin) {
    const int first_end = ExtendTo(first, begin);
    reach[begin] = std::min(first_end, ExtendTo(second, begin));
    if (first_end < layers) {
      coverage.smallest_over = std::min(coverage.smallest_over, first.sums.Sum(begin, first_end + 1));
    }
  }
  const StageEnds ends(reach, num_stages, limits);
  if (!ends.Complete()) return coverage;
  coverage.fits = true;
  for (int stage = num_stages - 1, end = layers; stage >= 0; --stage) {
    int begin = end - 1;
    while (!ends.Possible(stage, begin) || std::min(reach[begin], limits.LongestFrom(stage, begin, layers)) < end) {
      --begin;
    }
    coverage.largest = std::max(coverage.largest, first.sums.Sum(begin, end));
    end = begin;
  }
  return coverage;
}

}  // namespace

int ExtendTo(const BoundedCost& cost, int begin) {
  // Doubles its stride first: ranges are short where there are many stages.
  int low = begin, stride = 1;
  while (low + stride <= cost.sums.size() && cost.sums.Sum(begin, low + stride) <= cost.bound) {
    low += stride;
    stride *= 2;
  }
  // The first end that is known not to keep, or past the last.
  int high = std::min(low + stride, cost.sums.size() + 1);
  while (high - low > 1) {
    const int middle = (low + high) / 2;
    (cost.sums.Sum(begin, middle) <= cost.bound ? low : high) = middle;
  }
  return low;
}

Coverage Cover(const BoundedCost& first, const BoundedCost& second, int num_stages, const StageLimits& limits) {
  return limits.simple() ? CoverByWalk(first, second, num_stages, limits)
                         : CoverByEnds(first, second, num_stages, limits);
}

StageEnds::StageEnds(const std::vector<int>& reach, int num_stages, const StageLimits& limits)
    : num_layers_(static_cast<int>(reach.size())),
      num_stages_(num_stages),
      first_(num_stages + 1, 0),
      possible_(num_stages + 1) {
  // The first begin from which the stages behind could cover the rest, were there no limits.
  std::vector<int> earliest(num_stages + 1, num_layers_);
  for (int count = num_stages - 1, begin = num_layers_; count >= 0; --count) {
    const auto far_enough = std::lower_bound(reach.begin(), reach.begin() + begin, begin);
    begin = static_cast<int>(far_enough - reach.begin());
    earliest[count] = begin;
  }
  possible_[0].assign(1, earliest[0] == 0);
  for (int count = 1; count <= num_stages; ++count) {
    const int first = std::max(count, earliest[count]), last = num_layers_ - (num_stages - count);
    first_[count] = first;
    if (first > last) continue;
    // Each begin that is possible allows the ends up to its longest; +1 and -1 mark where such runs begin and end.
    std::vector<int> marks(last - first + 2, 0);
    for (int begin = first_[count - 1]; begin <= std::min(Last(count - 1), last - 1); ++begin) {
      if (!Possible(count - 1, begin)) continue;
      const int low = std::max(begin + 1, first);
      const int high = std::min({reach[begin], limits.LongestFrom(count - 1, begin, num_layers_), last});
      if (low > high) continue;
      ++marks[low - first];
      --marks[high + 1 - first];
    }
    possible_[count].assign(last - first + 1, 0);
    for (int i = 0, open = 0; i <= last - first; ++i) {
      open += marks[i];
      possible_[count][i] = open > 0;
    }
    while (!possible_[count].empty() && possible_[count].back() == 0) possible_[count].pop_back();
  }
}

}  // namespace penstock
