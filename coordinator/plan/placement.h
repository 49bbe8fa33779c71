// Which rank runs which stage. Pure.
// Source: docs/schedules.md, "Placement".
#ifndef PENSTOCK_COORDINATOR_PLAN_PLACEMENT_H_
#define PENSTOCK_COORDINATOR_PLAN_PLACEMENT_H_

#include <algorithm>
#include <vector>

#include "common/schedule_kind.h"

namespace penstock {

struct Placement {
  std::vector<int> rank_of_stage;

  int num_stages() const { return static_cast<int>(rank_of_stage.size()); }
  int num_ranks() const {
    return rank_of_stage.empty() ? 0 : 1 + *std::max_element(rank_of_stage.begin(), rank_of_stage.end());
  }

  friend bool operator==(const Placement&, const Placement&) = default;
};

// Stage s on rank s.
Placement OneStagePerRank(int num_stages);

// `chunks` stages on each of `ranks` ranks. Round robin: stage s on rank s mod ranks. V: stages 0 to p-1 down the
// ranks, p to 2p-1 up again, stage s on rank 2p-1-s: at the turn two neighbours share rank p-1. REQUIRES: ranks >= 1,
// chunks >= 1; a V has two chunks.
Placement MakePlacement(PlacementKind kind, int ranks, int chunks);

}  // namespace penstock

#endif  // PENSTOCK_COORDINATOR_PLAN_PLACEMENT_H_
