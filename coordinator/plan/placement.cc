#include "coordinator/plan/placement.h"

#include "common/logging.h"

namespace penstock {

Placement OneStagePerRank(int num_stages) { return MakePlacement(PlacementKind::kRoundRobin, num_stages, 1); }

Placement MakePlacement(PlacementKind kind, int ranks, int chunks) {
  CHECK_GE(ranks, 1);
  CHECK_GE(chunks, 1);
  CHECK(kind == PlacementKind::kRoundRobin || chunks == 2) << "a V has two chunks, not " << chunks;
  Placement placement;
  for (int stage = 0; stage < ranks * chunks; ++stage) {
    const bool up = kind == PlacementKind::kVee && stage >= ranks;
    placement.rank_of_stage.push_back(up ? 2 * ranks - 1 - stage : stage % ranks);
  }
  return placement;
}

}  // namespace penstock
