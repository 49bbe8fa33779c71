// Which rank runs which stage. Pure.
#ifndef PENSTOCK_COORDINATOR_PLAN_PLACEMENT_H_
#define PENSTOCK_COORDINATOR_PLAN_PLACEMENT_H_

#include <algorithm>
#include <numeric>
#include <vector>

namespace penstock {

struct Placement {
  std::vector<int> rank_of_stage;

  int num_stages() const { return static_cast<int>(rank_of_stage.size()); }
  int num_ranks() const {
    return rank_of_stage.empty() ? 0 : 1 + *std::max_element(rank_of_stage.begin(), rank_of_stage.end());
  }
};

// Stage s on rank s.
inline Placement OneStagePerRank(int num_stages) {
  Placement placement{std::vector<int>(num_stages)};
  std::iota(placement.rank_of_stage.begin(), placement.rank_of_stage.end(), 0);
  return placement;
}

}  // namespace penstock

#endif  // PENSTOCK_COORDINATOR_PLAN_PLACEMENT_H_
