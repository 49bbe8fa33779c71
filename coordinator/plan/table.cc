#include "coordinator/plan/table.h"

#include <algorithm>
#include <cstdint>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/logging.h"

namespace penstock {
namespace {

// What fits on a screen: enough around a place to see the pattern that it breaks.
constexpr size_t kShownActions = 24;
constexpr size_t kShownRanks = 16;

// The window of `count` out of `size` things that has `center` in its middle.
struct Window {
  size_t begin;
  size_t end;
};
Window Around(size_t center, size_t size, size_t count) {
  if (size <= count) return {0, size};
  const size_t begin = std::min(center - std::min(center, count / 2), size - count);
  return {begin, begin + count};
}

std::string RowText(const ActionList& list, std::optional<size_t> place) {
  const Window shown = Around(place.value_or(0), list.size(), kShownActions);
  const size_t marked = place.value_or(list.size());
  std::vector<std::string> words;
  if (shown.begin > 0) words.push_back(absl::StrCat("...(", shown.begin, " before)"));
  const auto add = [&](size_t begin, size_t end) {
    for (std::string& word : ToWords({list.begin() + begin, list.begin() + end})) words.push_back(std::move(word));
  };
  add(shown.begin, std::min(marked, shown.end));
  if (marked < shown.end) {
    words.push_back(absl::StrCat(">>", ToText(list[marked]), "<<", list[marked].fused ? "&" : ""));
    add(marked + 1, shown.end);
  }
  if (shown.end < list.size()) words.push_back(absl::StrCat("...(", list.size() - shown.end, " after)"));
  return absl::StrJoin(words, " ");
}

// What has been visited, by kind, stage and micro-batch.
class Visited {
 public:
  Visited(int num_stages, int micro_batches)
      : micro_batches_(micro_batches),
        num_stages_(num_stages),
        done_(size_t{kKinds} * num_stages * micro_batches, false) {}

  bool Has(ActionKind kind, int stage, int micro_batch) const { return done_[Index(kind, stage, micro_batch)]; }
  // An I counts as a B: whoever waits for the gradient takes either.
  void Add(const Action& action) {
    const ActionKind kind = action.kind == ActionKind::kInputGradient ? ActionKind::kBackward : action.kind;
    done_[Index(kind, action.stage, action.micro_batch)] = true;
  }

 private:
  // W and R come last: nothing waits for them.
  static constexpr int kKinds = static_cast<int>(ActionKind::kRecompute);

  size_t Index(ActionKind kind, int stage, int micro_batch) const {
    const size_t row = (static_cast<size_t>(kind) - 1) * num_stages_ + stage;
    return row * micro_batches_ + micro_batch;
  }

  int micro_batches_;
  size_t num_stages_;
  std::vector<bool> done_;
};

bool CanRun(const Action& action, int num_stages, const Visited& visited) {
  const auto [stage, kind, micro_batch, fused] = action;
  switch (kind) {
    case ActionKind::kForward:
      return stage == 0 || visited.Has(ActionKind::kForward, stage - 1, micro_batch);
    case ActionKind::kBackward:
    case ActionKind::kInputGradient:
      return visited.Has(ActionKind::kForward, stage, micro_batch) &&
             (stage == num_stages - 1 || visited.Has(ActionKind::kBackward, stage + 1, micro_batch));
    case ActionKind::kWeightGradient:
      return visited.Has(ActionKind::kBackward, stage, micro_batch);
    case ActionKind::kRecompute:
      return visited.Has(ActionKind::kForward, stage, micro_batch);
    case ActionKind::kSendForward:
      return visited.Has(ActionKind::kForward, stage, micro_batch);
    case ActionKind::kSendBackward:
      return visited.Has(ActionKind::kBackward, stage, micro_batch);
    case ActionKind::kRecvForward:
      return visited.Has(ActionKind::kSendForward, stage - 1, micro_batch);
    case ActionKind::kRecvBackward:
      return visited.Has(ActionKind::kSendBackward, stage + 1, micro_batch);
  }
  return false;
}

// The stage whose actions may have waited for this one; -1: none but its own.
int Consumer(const Action& action, int num_stages) {
  if (action.kind == ActionKind::kForward || action.kind == ActionKind::kSendForward) {
    return action.stage + 1 < num_stages ? action.stage + 1 : -1;
  }
  if (IsBackward(action.kind) || action.kind == ActionKind::kSendBackward) return action.stage - 1;
  return -1;
}

}  // namespace

std::string ListText(const ActionList& list) { return absl::StrJoin(ToWords(list), " "); }

std::string TableText(const ActionTable& table, const std::vector<std::optional<size_t>>& places) {
  size_t first_place = 0;
  while (first_place < places.size() && !places[first_place].has_value()) ++first_place;
  const Window shown = Around(first_place < places.size() ? first_place : 0, table.size(), kShownRanks);
  std::string text;
  if (shown.begin > 0) absl::StrAppend(&text, "  ...(", shown.begin, " ranks before)\n");
  for (size_t rank = shown.begin; rank < shown.end; ++rank) {
    const std::optional<size_t> place = rank < places.size() ? places[rank] : std::nullopt;
    absl::StrAppend(&text, "  rank ", rank, ": ", RowText(table[rank], place), "\n");
  }
  if (shown.end < table.size()) absl::StrAppend(&text, "  ...(", table.size() - shown.end, " ranks after)\n");
  return text;
}

ActionTable ComputeOnly(const ActionTable& table) {
  ActionTable compute(table.size());
  for (size_t rank = 0; rank < table.size(); ++rank) {
    for (const Action& action : table[rank]) {
      if (IsCompute(action.kind)) compute[rank].push_back(action);
    }
  }
  return compute;
}

int PeerStage(const Action& action) {
  CHECK(!IsCompute(action.kind)) << ToText(action);
  const bool up = action.kind == ActionKind::kSendForward || action.kind == ActionKind::kRecvBackward;
  return up ? action.stage + 1 : action.stage - 1;
}

absl::StatusOr<Placement> PlacementOfTable(const ActionTable& table, TablePlace* place) {
  TablePlace unused;
  TablePlace& at = place == nullptr ? unused : *place;
  if (table.empty()) return absl::InvalidArgumentError("the table has no ranks");
  constexpr int kNowhere = -1;
  size_t actions = 0;
  for (const ActionList& list : table) actions += list.size();
  Placement placement;
  TablePlace highest;  // the first action of the highest stage
  for (size_t rank = 0; rank < table.size(); ++rank) {
    at = {static_cast<int>(rank), 0};
    if (table[rank].empty()) {
      return absl::InvalidArgumentError(absl::StrCat("rank ", rank, " has no action: every rank runs a stage"));
    }
    for (; at.position < table[rank].size(); ++at.position) {
      const Action& action = table[rank][at.position];
      // Each stage has an action, so that there cannot be more stages than actions.
      if (action.stage < 0 || static_cast<size_t>(action.stage) >= actions) {
        return absl::InvalidArgumentError(absl::StrCat(ToText(action), ": stages are numbered from 0 without gaps"));
      }
      if (action.stage >= placement.num_stages()) {
        placement.rank_of_stage.resize(action.stage + 1, kNowhere);
        highest = at;
      }
      int& owner = placement.rank_of_stage[action.stage];
      if (owner == kNowhere) owner = at.rank;
      if (owner == at.rank) continue;
      return absl::InvalidArgumentError(absl::StrCat(ToText(action), ": stage ", action.stage, " is on rank ", owner,
                                                     "; every stage is on one rank"));
    }
  }
  at = highest;
  for (int stage = 0; stage < placement.num_stages(); ++stage) {
    if (placement.rank_of_stage[stage] != kNowhere) continue;
    return absl::InvalidArgumentError(absl::StrCat("stage ", stage, " has no action, but stage ",
                                                   placement.num_stages() - 1,
                                                   " has: stages are numbered without gaps"));
  }
  return placement;
}

std::vector<size_t> WalkTable(const ActionTable& table, const Placement& placement, int micro_batches,
                              absl::FunctionRef<void(int rank, const Action& action)> visit) {
  const int num_stages = placement.num_stages();
  Visited visited(num_stages, micro_batches);
  std::vector<size_t> position(table.size(), 0);
  // Ranks that may be able to go on. A rank that stands still comes back when something it may wait for was visited.
  std::vector<int> runnable;
  std::vector<bool> queued(table.size(), true);
  for (int rank = static_cast<int>(table.size()) - 1; rank >= 0; --rank) runnable.push_back(rank);
  while (!runnable.empty()) {
    const int rank = runnable.back();
    runnable.pop_back();
    const ActionList& list = table[rank];
    size_t& at = position[rank];
    while (at < list.size() && CanRun(list[at], num_stages, visited)) {
      const Action& action = list[at++];
      visited.Add(action);
      visit(rank, action);
      const int consumer = Consumer(action, num_stages);
      if (consumer < 0) continue;
      const int waiting = placement.rank_of_stage[consumer];
      if (queued[waiting]) continue;
      queued[waiting] = true;
      runnable.push_back(waiting);
    }
    queued[rank] = false;
  }
  return position;
}

}  // namespace penstock
