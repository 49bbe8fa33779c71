#include "coordinator/plan/timeline_shape.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/logging.h"

namespace penstock::timeline {
namespace {

// What fits on a screen or a page.
constexpr int kMostRanks = 64;

}  // namespace

const std::vector<Kind>& Kinds() {
  static const auto* const kKinds = new std::vector<Kind>{{ActionKind::kForward, 'F', "forward"},
                                                          {ActionKind::kRecompute, 'R', "recomputation"},
                                                          {ActionKind::kBackward, 'B', "backward"},
                                                          {ActionKind::kInputGradient, 'I', "input gradient"},
                                                          {ActionKind::kWeightGradient, 'W', "weight gradient"}};
  return *kKinds;
}

const Kind& KindOf(ActionKind kind) {
  const auto at =
      std::find_if(Kinds().begin(), Kinds().end(), [kind](const Kind& known) { return known.kind == kind; });
  CHECK(at != Kinds().end()) << static_cast<int>(kind);
  return *at;
}

std::vector<Kind> KindsIn(const Simulation& simulation) {
  std::vector<Kind> present;
  for (const Kind& kind : Kinds()) {
    const bool found = std::any_of(simulation.actions.begin(), simulation.actions.end(), [&](const auto& list) {
      return std::any_of(list.begin(), list.end(), [&](const auto& timed) { return timed.action.kind == kind.kind; });
    });
    if (found) present.push_back(kind);
  }
  return present;
}

std::string Name(const Action& action, int first_stage) {
  const char letter = KindOf(action.kind).letter;
  return absl::StrCat(std::string(1, action.stage == first_stage ? letter : absl::ascii_tolower(letter)),
                      action.micro_batch);
}

int FirstStage(const std::vector<TimedAction>& list) {
  int first = list.empty() ? 0 : list.front().action.stage;
  for (const TimedAction& timed : list) first = std::min(first, timed.action.stage);
  return first;
}

bool HasLaterStages(const Simulation& simulation) {
  return std::any_of(simulation.actions.begin(), simulation.actions.end(), [](const auto& list) {
    return std::any_of(list.begin(), list.end(),
                       [&](const auto& timed) { return timed.action.stage != list.front().action.stage; });
  });
}

double ShortestAction(const Simulation& simulation) {
  double shortest = 0;
  for (const std::vector<TimedAction>& list : simulation.actions) {
    for (const TimedAction& timed : list) {
      const double duration = timed.end_us - timed.start_us;
      if (duration > 0 && (shortest == 0 || duration < shortest)) shortest = duration;
    }
  }
  return shortest;
}

ShownRanks Show(const Simulation& simulation) {
  const int ranks = static_cast<int>(simulation.actions.size());
  ShownRanks shown;
  shown.left_out = std::max(0, ranks - kMostRanks);
  for (int rank = 0; rank < ranks; ++rank) {
    if (shown.left_out > 0 && rank >= kMostRanks / 2 && rank < ranks - kMostRanks / 2) continue;
    shown.ranks.push_back(rank);
  }
  shown.gap_after = shown.left_out > 0 ? kMostRanks / 2 : shown.ranks.size();
  return shown;
}

std::string TimeText(double us, const std::string& unit, double unit_us) {
  const double value = us / unit_us;
  // %g would write a large number as a power of ten.
  const std::string number = value >= 1000 ? absl::StrFormat("%.0f", value) : absl::StrFormat("%.4g", value);
  return unit.empty() ? number : absl::StrCat(number, " ", unit);
}

}  // namespace penstock::timeline
