// How long stages may be before their workers' memory is full. Pure.
// Source: docs/schedules.md, "Partition".
#ifndef PENSTOCK_COORDINATOR_PLAN_STAGE_LIMITS_H_
#define PENSTOCK_COORDINATOR_PLAN_STAGE_LIMITS_H_

#include <algorithm>
#include <cstddef>
#include <vector>

namespace penstock {

// Stages that may hold the same layers are of one kind: workers with equal limits that keep equally many micro-batches.
struct StageLimits {
  std::vector<int> kind_of_stage;  // empty: no stage has a limit
  // [kind][begin]: the end of the longest stage that may begin with this layer, `begin` itself where none may. A stage
  // that may hold some layers may hold the first of them alone; nothing else is assumed.
  std::vector<std::vector<int>> longest;

  bool none() const { return kind_of_stage.empty(); }

  // Whether every part of an allowed stage is allowed too, on every rank: then a walk that makes each stage as long as
  // it may be finds out whether there is a partition at all.
  bool simple() const {
    if (none()) return true;
    const auto same = [this](int kind) { return kind == kind_of_stage.front(); };
    if (!std::all_of(kind_of_stage.begin(), kind_of_stage.end(), same)) return false;
    const std::vector<int>& ends = longest[kind_of_stage.front()];
    return std::is_sorted(ends.begin(), ends.end());
  }

  // REQUIRES: 0 <= begin < the number of layers.
  int LongestFrom(int stage, int begin, int num_layers) const {
    return none() ? num_layers : longest[kind_of_stage[static_cast<size_t>(stage)]][static_cast<size_t>(begin)];
  }
};

}  // namespace penstock

#endif  // PENSTOCK_COORDINATOR_PLAN_STAGE_LIMITS_H_
