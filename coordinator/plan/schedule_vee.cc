// The lists of the schedules on a V: zb-v (arXiv 2401.10241) and dualpipe-v (DualPipe's half).
#include <algorithm>
#include <array>
#include <deque>
#include <utility>

#include "coordinator/plan/schedule_lists.h"

namespace penstock {
namespace {

// One rank's list as it grows, its two stages called chunk 0 (on the way down) and chunk 1 (on the way up). Each kind
// of each chunk goes through the micro-batches in ascending order.
class VeeList {
 public:
  VeeList(int rank, int ranks, int micro_batches)
      : stages_{rank, 2 * ranks - 1 - rank}, micro_batches_(micro_batches) {}

  void Forward(int chunk) { Add(chunk, ActionKind::kForward, forwards_[chunk]++); }
  void Backward(int chunk) { Add(chunk, ActionKind::kBackward, backwards_[chunk]++); }
  // Its W waits in the queue.
  void InputGradient(int chunk) {
    waiting_.push_back({stages_[chunk], ActionKind::kWeightGradient, backwards_[chunk]});
    Add(chunk, ActionKind::kInputGradient, backwards_[chunk]++);
  }
  // The W that has waited longest.
  void OldestWeight() {
    if (waiting_.empty()) return;
    Push(waiting_.front());
    waiting_.pop_front();
  }
  // The chunk's W that has waited longest.
  void Weight(int chunk) {
    const auto oldest = std::find_if(waiting_.begin(), waiting_.end(),
                                     [&](const Action& action) { return action.stage == stages_[chunk]; });
    Push(*oldest);
    waiting_.erase(oldest);
  }
  void BackwardInTwoParts(int chunk) {
    InputGradient(chunk);
    Weight(chunk);
  }
  void FuseWithNext() {
    if (!list_.empty()) list_.back().fused = true;
  }

  int forwards(int chunk) const { return forwards_[chunk]; }
  bool waits(int chunk) const {
    return std::any_of(waiting_.begin(), waiting_.end(),
                       [&](const Action& action) { return action.stage == stages_[chunk]; });
  }
  ActionList Take() && { return std::move(list_); }

 private:
  void Add(int chunk, ActionKind kind, int micro_batch) { Push({stages_[chunk], kind, micro_batch}); }
  // What the step does not have is left out: lists are built for as many micro-batches as their phases take.
  void Push(const Action& action) {
    if (action.micro_batch < micro_batches_) list_.push_back(action);
  }

  std::array<int, 2> stages_;
  int micro_batches_;
  std::array<int, 2> forwards_ = {0, 0}, backwards_ = {0, 0};
  std::deque<Action> waiting_;
  ActionList list_;
};

ActionList ZeroBubbleVList(int rank, int ranks, int micro_batches) {
  // The phases overlap in time unless there are so many.
  const int count = std::max(micro_batches, 2 * ranks - 1);
  VeeList list(rank, ranks, micro_batches);
  for (int i = 0; i < 2 * (ranks - rank) - 1; ++i) list.Forward(0);
  for (int i = 0; i < rank; ++i) {
    list.Forward(1);
    list.Forward(0);
  }
  for (int i = 0; i < ranks - rank; ++i) {
    list.Forward(1);
    list.BackwardInTwoParts(1);
  }
  while (list.forwards(1) < count) {
    if (list.forwards(0) < count) list.Forward(0);
    list.BackwardInTwoParts(0);
    list.Forward(1);
    list.BackwardInTwoParts(1);
  }
  for (int i = 0; i < rank; ++i) {
    list.InputGradient(0);
    list.InputGradient(1);
  }
  for (int i = 0; i < ranks - rank; ++i) {
    list.InputGradient(0);
    list.Weight(0);
  }
  while (list.waits(1)) list.Weight(1);
  while (list.waits(0)) list.Weight(0);
  return std::move(list).Take();
}

// Phases (6) to (8): what is left once all forwards have run. From its middle on, gradients for the input go first.
void FinishDualPipeV(int rank, int ranks, VeeList* list) {
  bool splits = false;
  const auto backward = [&](int chunk) { splits ? list->InputGradient(chunk) : list->Backward(chunk); };
  const int middle = (rank + 1) / 2;
  for (int i = 0; i <= rank; ++i) {
    if (i == middle && rank % 2 == 1) splits = true;
    backward(1);
    if (i == middle && rank % 2 == 0) splits = true;
    backward(0);
  }
  for (int i = 0; i < ranks - rank - 1; ++i) {
    list->OldestWeight();
    list->InputGradient(0);
  }
  for (int i = 0; i <= rank; ++i) list->OldestWeight();
}

ActionList DualPipeVList(int rank, int ranks, int micro_batches) {
  VeeList list(rank, ranks, micro_batches);
  const int behind = ranks - rank - 1;
  for (int i = 0; i < 2 * behind; ++i) list.Forward(0);
  for (int i = 0; i <= rank; ++i) {
    list.Forward(0);
    list.Forward(1);
  }
  for (int i = 0; i < behind; ++i) {
    list.BackwardInTwoParts(1);
    list.Forward(1);
  }
  const auto pair = [&](int forward, int backward) {
    list.Forward(forward);
    list.FuseWithNext();
    list.Backward(backward);
  };
  for (int i = 0; i < micro_batches - 2 * ranks + rank + 1; ++i) {
    if (i == 0 && behind == 0) {
      // The last rank has just run the forward that this backward belongs to: nothing to overlap with.
      list.Forward(0);
      list.Backward(1);
    } else {
      pair(0, 1);
    }
    pair(1, 0);
  }
  for (int i = 0; i < behind; ++i) {
    list.Backward(1);
    pair(1, 0);
  }
  FinishDualPipeV(rank, ranks, &list);
  return std::move(list).Take();
}

}  // namespace

ActionTable ZeroBubbleVLists(int ranks, int micro_batches) {
  ActionTable table;
  for (int rank = 0; rank < ranks; ++rank) table.push_back(ZeroBubbleVList(rank, ranks, micro_batches));
  return table;
}

ActionTable DualPipeVLists(int ranks, int micro_batches) {
  ActionTable table;
  for (int rank = 0; rank < ranks; ++rank) table.push_back(DualPipeVList(rank, ranks, micro_batches));
  return table;
}

}  // namespace penstock
