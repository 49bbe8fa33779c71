// The lists of v-half and v-min: a block of F, F, I, I that repeats every six slots, so that its offsets bound how long
// an activation lives (arXiv 2405.15362).
#include <algorithm>
#include <array>
#include <deque>
#include <utility>
#include <vector>

#include "common/logging.h"
#include "coordinator/plan/schedule_lists.h"

namespace penstock {
namespace {

// Slots of a block: F and I of both chunks, and a W for each.
constexpr int kPeriod = 6;

// The slots in which a rank begins F of chunk 0, F of chunk 1, I of chunk 1, I of chunk 0.
using Offsets = std::array<int, 4>;

Offsets HalfOffsets(int rank, int ranks) {
  const int shift = ranks % 2 == 0 ? 3 : 0;  // else two actions would meet in a slot
  return {2 * rank, 3 * ranks - 2 - rank, 3 * ranks + shift + 2 * rank - 1, 6 * ranks + shift - 2 - rank};
}

Offsets MinOffsets(int rank, int ranks) {
  const int shift = ranks % 3 == 0 ? 2 : 0;
  return {rank, 2 * ranks - 1 - rank, 2 * ranks + shift + rank, 4 * ranks + shift - 1 - rank};
}

struct SlottedAction {
  int slot = 0;
  Action action;
};

// The blocks of all micro-batches, one after the other.
std::vector<SlottedAction> RepeatBlock(const Offsets& offsets, int rank, int ranks, int micro_batches) {
  const int down = rank, up = 2 * ranks - 1 - rank;
  const std::array<Action, 4> block = {Action{down, ActionKind::kForward, 0}, Action{up, ActionKind::kForward, 0},
                                       Action{up, ActionKind::kInputGradient, 0},
                                       Action{down, ActionKind::kInputGradient, 0}};
  std::vector<SlottedAction> slots;
  slots.reserve(block.size() * micro_batches);
  for (int m = 0; m < micro_batches; ++m) {
    for (size_t i = 0; i < block.size(); ++i) {
      slots.push_back({offsets[i] + kPeriod * m, {block[i].stage, block[i].kind, m}});
    }
  }
  std::sort(slots.begin(), slots.end(), [](const SlottedAction& a, const SlottedAction& b) { return a.slot < b.slot; });
  return slots;
}

// The most activations of a stage that the rank keeps from F to W if every W takes the first free slot.
int PeakOfBlocks(const std::vector<SlottedAction>& slots) {
  int kept = 0, waiting = 0, peak = 0, next_slot = 0;
  for (const SlottedAction& slotted : slots) {
    const int free_slots = slotted.slot - next_slot;
    const int run = std::min(free_slots, waiting);
    waiting -= run;
    kept -= run;
    next_slot = slotted.slot + 1;
    if (slotted.action.kind == ActionKind::kForward) {
      peak = std::max(peak, ++kept);
    } else {
      ++waiting;
    }
  }
  return peak;
}

// Pulls the blocks together: all ranks run their actions in the order of the slots, each as soon as it can, where every
// action takes one tick; a W runs where its rank would stand still. No rank keeps more than the blocks did.
class Squeeze {
 public:
  Squeeze(std::vector<std::vector<SlottedAction>> slots, int micro_batches, int peak)
      : slots_(std::move(slots)),
        num_stages_(2 * static_cast<int>(slots_.size())),
        micro_batches_(micro_batches),
        peak_(peak),
        ranks_(slots_.size()),
        forward_tick_(static_cast<size_t>(num_stages_) * micro_batches, kNever),
        input_tick_(forward_tick_) {}

  ActionTable Run() {
    size_t left = 0;
    for (const auto& slots : slots_) left += slots.size() / 4 * kPeriod;
    for (int tick = 0; left > 0; ++tick) {
      size_t ran = 0;
      for (size_t r = 0; r < ranks_.size(); ++r) ran += RunOne(r, tick) ? 1 : 0;
      // The order of the slots can always be kept, and W's make the room that the blocks had.
      CHECK_GT(ran, 0u) << "blocks that wait for each other";
      left -= ran;
    }
    ActionTable table;
    for (Rank& rank : ranks_) table.push_back(std::move(rank.list));
    return table;
  }

 private:
  static constexpr int kNever = -1;

  struct Rank {
    size_t next = 0;
    int kept = 0;
    std::deque<Action> waiting;  // W's
    ActionList list;
  };

  size_t Index(int stage, int micro_batch) const { return static_cast<size_t>(stage) * micro_batches_ + micro_batch; }
  static bool Before(int done, int tick) { return done != kNever && done < tick; }

  bool CanRun(const Rank& rank, const Action& action, int tick) const {
    const auto [stage, kind, m, fused] = action;
    if (kind == ActionKind::kForward) {
      return rank.kept < peak_ && (stage == 0 || Before(forward_tick_[Index(stage - 1, m)], tick));
    }
    return Before(forward_tick_[Index(stage, m)], tick) &&
           (stage + 1 == num_stages_ || Before(input_tick_[Index(stage + 1, m)], tick));
  }

  // What the rank does in this tick; false if nothing.
  bool RunOne(size_t r, int tick) {
    Rank& rank = ranks_[r];
    if (rank.next < slots_[r].size() && CanRun(rank, slots_[r][rank.next].action, tick)) {
      const Action action = slots_[r][rank.next++].action;
      rank.list.push_back(action);
      if (action.kind == ActionKind::kForward) {
        ++rank.kept;
        forward_tick_[Index(action.stage, action.micro_batch)] = tick;
      } else {
        rank.waiting.push_back({action.stage, ActionKind::kWeightGradient, action.micro_batch});
        input_tick_[Index(action.stage, action.micro_batch)] = tick;
      }
      return true;
    }
    if (rank.waiting.empty()) return false;
    rank.list.push_back(rank.waiting.front());
    rank.waiting.pop_front();
    --rank.kept;
    return true;
  }

  const std::vector<std::vector<SlottedAction>> slots_;
  const int num_stages_, micro_batches_, peak_;
  std::vector<Rank> ranks_;
  std::vector<int> forward_tick_, input_tick_;  // by stage and micro-batch
};

ActionTable BlockLists(int ranks, int micro_batches, Offsets (*offsets)(int rank, int ranks)) {
  std::vector<std::vector<SlottedAction>> slots;
  int peak = 0;
  for (int rank = 0; rank < ranks; ++rank) {
    slots.push_back(RepeatBlock(offsets(rank, ranks), rank, ranks, micro_batches));
    peak = std::max(peak, PeakOfBlocks(slots.back()));
  }
  return Squeeze(std::move(slots), micro_batches, peak).Run();
}

}  // namespace

ActionTable VHalfLists(int ranks, int micro_batches) { return BlockLists(ranks, micro_batches, HalfOffsets); }

ActionTable VMinLists(int ranks, int micro_batches) { return BlockLists(ranks, micro_batches, MinOffsets); }

}  // namespace penstock
