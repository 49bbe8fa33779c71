#include "coordinator/plan/placement.h"

#include <cstddef>

#include "absl/strings/str_cat.h"
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

absl::StatusOr<Placement> PlacementOfTable(const ActionTable& table) {
  constexpr int kNowhere = -1;
  size_t actions = 0;
  for (const ActionList& list : table) actions += list.size();
  Placement placement;
  for (size_t rank = 0; rank < table.size(); ++rank) {
    if (table[rank].empty()) {
      return absl::InvalidArgumentError(absl::StrCat("rank ", rank, " has no action: every rank runs a stage"));
    }
    for (size_t i = 0; i < table[rank].size(); ++i) {
      const Action& action = table[rank][i];
      const std::string where = absl::StrCat("rank ", rank, ", action ", i, " (", ToText(action), "): ");
      // Stages are numbered without gaps, and each has an action.
      if (action.stage < 0 || static_cast<size_t>(action.stage) >= actions) {
        return absl::InvalidArgumentError(absl::StrCat(where, "stages are numbered from 0 without gaps"));
      }
      if (action.stage >= placement.num_stages()) placement.rank_of_stage.resize(action.stage + 1, kNowhere);
      int& owner = placement.rank_of_stage[action.stage];
      if (owner == kNowhere) owner = static_cast<int>(rank);
      if (owner == static_cast<int>(rank)) continue;
      return absl::InvalidArgumentError(
          absl::StrCat(where, "stage ", action.stage, " is on rank ", owner, "; every stage is on one rank"));
    }
  }
  for (int stage = 0; stage < placement.num_stages(); ++stage) {
    if (placement.rank_of_stage[stage] != kNowhere) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("stage ", stage, " has no action; stages are numbered from 0 to ", placement.num_stages() - 1));
  }
  if (table.empty()) return absl::InvalidArgumentError("the table has no ranks");
  return placement;
}

}  // namespace penstock
