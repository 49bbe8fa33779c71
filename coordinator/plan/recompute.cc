#include "coordinator/plan/recompute.h"

#include <algorithm>
#include <cstddef>
#include <iterator>
#include <vector>

namespace penstock {
namespace {

// What a stage of this list did last, and its last forward.
struct StageState {
  Action last;
  bool has_last = false;
  int last_forward = 0;
};

std::vector<StageState> StatesOf(const ActionList& list) {
  int stages = 0;
  for (const Action& action : list) stages = std::max(stages, action.stage + 1);
  std::vector<StageState> states(stages);
  for (const Action& action : list) {
    if (action.kind == ActionKind::kForward) states[action.stage].last_forward = action.micro_batch;
  }
  return states;
}

// Whether EXCEPT_LAST keeps what the F of this B or I made.
bool IsKept(const Action& backward, const StageState& state) {
  const Action forward{backward.stage, ActionKind::kForward, backward.micro_batch, state.last.fused};
  return backward.micro_batch == state.last_forward || (state.has_last && state.last == forward);
}

}  // namespace

ActionTable AddRecompute(const ActionTable& table, v1::Pipeline::Recompute policy) {
  if (policy != v1::Pipeline::RECOMPUTE_BOUNDARY && policy != v1::Pipeline::RECOMPUTE_EXCEPT_LAST) return table;
  ActionTable result(table.size());
  for (size_t rank = 0; rank < table.size(); ++rank) {
    std::vector<StageState> states = StatesOf(table[rank]);
    ActionList& list = result[rank];
    for (const Action& action : table[rank]) {
      StageState& state = states[action.stage];
      const bool kept = policy == v1::Pipeline::RECOMPUTE_EXCEPT_LAST && IsKept(action, state);
      if (IsBackward(action.kind) && !kept) {
        const bool second_of_pair = !list.empty() && list.back().fused;
        list.insert(list.end() - (second_of_pair ? 1 : 0), {action.stage, ActionKind::kRecompute, action.micro_batch});
      }
      list.push_back(action);
      state.last = action;
      state.has_last = true;
    }
  }
  return result;
}

ActionTable WithoutRecompute(const ActionTable& table) {
  ActionTable result(table.size());
  for (size_t rank = 0; rank < table.size(); ++rank) {
    std::copy_if(table[rank].begin(), table[rank].end(), std::back_inserter(result[rank]),
                 [](const Action& action) { return action.kind != ActionKind::kRecompute; });
  }
  return result;
}

}  // namespace penstock
