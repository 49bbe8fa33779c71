// Whether stages that keep two bounds can cover all layers: the question that the search over bottlenecks asks. Pure.
// Internal to the partitioners. Source: docs/schedules.md, "Partition".
#ifndef PENSTOCK_COORDINATOR_PLAN_COVER_H_
#define PENSTOCK_COORDINATOR_PLAN_COVER_H_

#include <limits>
#include <vector>

#include "coordinator/plan/prefix_sums.h"
#include "coordinator/plan/stage_limits.h"

namespace penstock {

// A cost and what no stage's sum of it may exceed.
struct BoundedCost {
  const PrefixSums& sums;
  double bound;
};

struct Coverage {
  bool fits = false;
  double largest = 0;  // of the first cost's stage sums, in the cover that was found
  // Of the first cost's sums, the smallest that its bound cut off: the next bound worth a try.
  double smallest_over = std::numeric_limits<double>::infinity();
};

// The end of the longest range from `begin` whose sum keeps its bound. O(log of its length).
int ExtendTo(const BoundedCost& cost, int begin);

// Looks for num_stages stages that keep both bounds and the limits.
Coverage Cover(const BoundedCost& first, const BoundedCost& second, int num_stages, const StageLimits& limits);

// For limits that differ from stage to stage: where each stage can end, so that the stages before it cover what lies
// before, and (by the bounds alone) those after it what lies behind.
class StageEnds {
 public:
  // reach[b]: the largest end of a stage from b that the bounds allow; never falls.
  StageEnds(const std::vector<int>& reach, int num_stages, const StageLimits& limits);

  // Whether all stages together can end with the last layer.
  bool Complete() const { return Possible(num_stages_, num_layers_); }
  // Whether the first `count` stages can end before layer `end`.
  bool Possible(int count, int end) const {
    return end >= first_[count] && end <= Last(count) && possible_[count][end - first_[count]];
  }
  int First(int count) const { return first_[count]; }
  int Last(int count) const { return first_[count] + static_cast<int>(possible_[count].size()) - 1; }

 private:
  const int num_layers_, num_stages_;
  std::vector<int> first_;                   // by count
  std::vector<std::vector<char>> possible_;  // [count][end - first_[count]]
};

}  // namespace penstock

#endif  // PENSTOCK_COORDINATOR_PLAN_COVER_H_
