// The lists of the schedules on one stage a rank, and those that go round the ranks.
#include "coordinator/plan/schedule_lists.h"

#include <algorithm>

namespace penstock {
namespace {

// Appends `kind` of a stage for every micro-batch, ascending.
void AddAll(int stage, ActionKind kind, int micro_batches, ActionList* list) {
  for (int m = 0; m < micro_batches; ++m) list->push_back({stage, kind, m});
}

// warm_up forwards; then, for each backward, a forward if any is left, I, and W if more than `delay` wait.
ActionList ZeroBubbleList(int stage, int micro_batches, int warm_up, int delay) {
  ActionList list;
  int forward = 0, weight = 0;
  while (forward < std::min(micro_batches, warm_up)) list.push_back({stage, ActionKind::kForward, forward++});
  for (int m = 0; m < micro_batches; ++m) {
    if (forward < micro_batches) list.push_back({stage, ActionKind::kForward, forward++});
    list.push_back({stage, ActionKind::kInputGradient, m});
    if (m + 1 - weight > delay) list.push_back({stage, ActionKind::kWeightGradient, weight++});
  }
  while (weight < micro_batches) list.push_back({stage, ActionKind::kWeightGradient, weight++});
  return list;
}

}  // namespace

ActionTable GPipeLists(int ranks, int chunks, int micro_batches, bool reverse) {
  ActionTable table(ranks);
  for (int rank = 0; rank < ranks; ++rank) {
    ActionList& list = table[rank];
    list.reserve(size_t{3} * chunks * micro_batches);
    for (int chunk = 0; chunk < chunks; ++chunk) {
      AddAll(chunk * ranks + rank, ActionKind::kForward, micro_batches, &list);
    }
    for (int chunk = chunks - 1; chunk >= 0; --chunk) {
      const int stage = chunk * ranks + rank;
      if (!reverse) {
        AddAll(stage, ActionKind::kBackward, micro_batches, &list);
        continue;
      }
      for (int m = micro_batches - 1; m >= 0; --m) list.push_back({stage, ActionKind::kInputGradient, m});
      AddAll(stage, ActionKind::kWeightGradient, micro_batches, &list);
    }
  }
  return table;
}

ActionTable OneForwardOneBackwardLists(int ranks, int micro_batches) {
  ActionTable table(ranks);
  for (int rank = 0; rank < ranks; ++rank) {
    ActionList& list = table[rank];
    list.reserve(size_t{2} * micro_batches);
    // As many forwards as it takes until the first micro-batch's gradient can be on its way.
    const int warm_up = std::min(micro_batches, ranks - 1 - rank);
    AddAll(rank, ActionKind::kForward, warm_up, &list);
    for (int m = warm_up; m < micro_batches; ++m) {
      list.push_back({rank, ActionKind::kForward, m});
      list.push_back({rank, ActionKind::kBackward, m - warm_up});
    }
    for (int m = micro_batches - warm_up; m < micro_batches; ++m) list.push_back({rank, ActionKind::kBackward, m});
  }
  return table;
}

ActionTable InterleavedLists(int ranks, int chunks, int micro_batches, int group) {
  ActionTable table(ranks);
  const int round = group * chunks, count = micro_batches * chunks;
  for (int rank = 0; rank < ranks; ++rank) {
    ActionList& list = table[rank];
    list.reserve(size_t{2} * count);
    // The k-th forward; backwards take the chunks from the last to the first.
    const auto add = [&](ActionKind kind, int k) {
      const int turn = k % round / group;
      const int chunk = kind == ActionKind::kForward ? turn : chunks - 1 - turn;
      list.push_back({chunk * ranks + rank, kind, k / round * group + k % group});
    };
    // Groups smaller than the ranks come round before the first rank is ready for them: it must not run ahead of the
    // last by more than it gets back.
    const int ahead = std::min(2 * (ranks - 1 - rank), 2 * group);
    const int warm_up = std::min(count, ahead + (chunks - 1) * group);
    for (int k = 0; k < warm_up; ++k) add(ActionKind::kForward, k);
    for (int k = warm_up; k < count; ++k) {
      add(ActionKind::kForward, k);
      add(ActionKind::kBackward, k - warm_up);
    }
    for (int k = count - warm_up; k < count; ++k) add(ActionKind::kBackward, k);
  }
  return table;
}

ActionTable ZeroBubbleH1Lists(int ranks, int micro_batches) {
  ActionTable table;
  for (int r = 0; r < ranks; ++r) table.push_back(ZeroBubbleList(r, micro_batches, ranks - 1 - r, r));
  return table;
}

ActionTable ZeroBubbleH2Lists(int ranks, int micro_batches) {
  ActionTable table;
  for (int r = 0; r < ranks; ++r) table.push_back(ZeroBubbleList(r, micro_batches, 2 * (ranks - 1 - r), 2 * r));
  return table;
}

}  // namespace penstock
