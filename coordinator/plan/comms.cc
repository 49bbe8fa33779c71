#include "coordinator/plan/comms.h"

#include "common/status_macros.h"

namespace penstock {
namespace {

// Whether stages `from` and `to` exist both and lie on different ranks.
bool Crosses(const Placement& placement, int from, int to) {
  if (from < 0 || to < 0 || from >= placement.num_stages() || to >= placement.num_stages()) return false;
  return placement.rank_of_stage[from] != placement.rank_of_stage[to];
}

}  // namespace

absl::StatusOr<ActionTable> AddCommunication(const ActionTable& table, const Placement& placement, int micro_batches,
                                             PassKind pass) {
  PENSTOCK_RETURN_IF_ERROR(ValidateComputeActions(table, placement, micro_batches, pass));
  // A send never blocks and a receiver keeps what comes early, so a receive belongs right before its consumer: any
  // earlier and the rank would wait while it could compute. What can finish without communication then can with it.
  ActionTable whole(table.size());
  for (size_t rank = 0; rank < table.size(); ++rank) {
    whole[rank].reserve(3 * table[rank].size());
    for (const Action& action : table[rank]) {
      const auto [stage, kind, micro_batch, fused] = action;
      const bool forward = kind == ActionKind::kForward;
      // W and R need nothing from other ranks, and nobody waits for them.
      const bool travels = forward || IsBackward(kind);
      const int before = forward ? stage - 1 : stage + 1, after = forward ? stage + 1 : stage - 1;
      if (travels && Crosses(placement, before, stage)) {
        whole[rank].push_back({stage, forward ? ActionKind::kRecvForward : ActionKind::kRecvBackward, micro_batch});
      }
      whole[rank].push_back(action);
      if (travels && Crosses(placement, stage, after)) {
        whole[rank].push_back({stage, forward ? ActionKind::kSendForward : ActionKind::kSendBackward, micro_batch});
      }
    }
  }
  return whole;
}

}  // namespace penstock
