#include "coordinator/plan/schedule.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/logging.h"

namespace penstock {
namespace {

struct NamedSchedule {
  std::string name;
  ActionTable (*make)(const Placement& placement, int micro_batches);
};

const std::vector<NamedSchedule>& Registry() {
  static const auto* const kSchedules =
      new std::vector<NamedSchedule>{{"gpipe", GPipeSchedule}, {"1f1b", OneForwardOneBackwardSchedule}};
  return *kSchedules;
}

}  // namespace

const std::vector<std::string>& ScheduleNames() {
  static const auto* const kNames = [] {
    auto* names = new std::vector<std::string>;
    for (const NamedSchedule& schedule : Registry()) names->push_back(schedule.name);
    return names;
  }();
  return *kNames;
}

absl::StatusOr<ActionTable> MakeSchedule(absl::string_view name, const Placement& placement, int micro_batches) {
  for (const NamedSchedule& schedule : Registry()) {
    if (schedule.name == name) return schedule.make(placement, micro_batches);
  }
  return absl::InvalidArgumentError(
      absl::StrCat("there is no schedule '", name, "'; there are ", absl::StrJoin(ScheduleNames(), ", ")));
}

ActionTable GPipeSchedule(const Placement& placement, int micro_batches) {
  CHECK_EQ(placement.num_stages(), placement.num_ranks());
  ActionTable table(placement.num_ranks());
  for (int stage = 0; stage < placement.num_stages(); ++stage) {
    ActionList& list = table[placement.rank_of_stage[stage]];
    list.reserve(size_t{2} * micro_batches);
    for (int m = 0; m < micro_batches; ++m) list.push_back({stage, ActionKind::kForward, m});
    for (int m = 0; m < micro_batches; ++m) list.push_back({stage, ActionKind::kBackward, m});
  }
  return table;
}

ActionTable OneForwardOneBackwardSchedule(const Placement& placement, int micro_batches) {
  CHECK_EQ(placement.num_stages(), placement.num_ranks());
  ActionTable table(placement.num_ranks());
  for (int stage = 0; stage < placement.num_stages(); ++stage) {
    ActionList& list = table[placement.rank_of_stage[stage]];
    list.reserve(size_t{2} * micro_batches);
    // As many forwards as it takes until the first micro-batch's gradient can be on its way back. The position in the
    // pipeline counts, not the rank's number: a plan may place stages on ranks in any order.
    const int warm_up = std::min(micro_batches, placement.num_stages() - 1 - stage);
    for (int m = 0; m < warm_up; ++m) list.push_back({stage, ActionKind::kForward, m});
    for (int m = warm_up; m < micro_batches; ++m) {
      list.push_back({stage, ActionKind::kForward, m});
      list.push_back({stage, ActionKind::kBackward, m - warm_up});
    }
    for (int m = micro_batches - warm_up; m < micro_batches; ++m) list.push_back({stage, ActionKind::kBackward, m});
  }
  return table;
}

ActionTable ForwardOnlySchedule(const Placement& placement, int micro_batches) {
  ActionTable table(placement.num_ranks());
  for (int stage = 0; stage < placement.num_stages(); ++stage) {
    ActionList& list = table[placement.rank_of_stage[stage]];
    for (int m = 0; m < micro_batches; ++m) list.push_back({stage, ActionKind::kForward, m});
  }
  return table;
}

}  // namespace penstock
