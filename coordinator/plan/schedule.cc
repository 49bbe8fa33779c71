#include "coordinator/plan/schedule.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/logging.h"
#include "common/status_macros.h"
#include "coordinator/plan/schedule_lists.h"
#include "coordinator/plan/schedule_ready.h"
#include "coordinator/plan/schedule_search.h"

namespace penstock {
namespace {

absl::Status CheckShape(const ScheduleRequest& request) {
  if (request.ranks >= 1 && request.chunks >= 1 && request.micro_batches >= 1 && request.group >= 0) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "a schedule needs at least 1 rank, 1 stage a rank and 1 micro-batch; asked for ", request.ranks, " ranks, ",
      request.chunks, " stages a rank, ", request.micro_batches, " micro-batches and groups of ", request.group));
}

// The schedule's own ranks, each by the number that the given placement has for it.
// Errors: InvalidArgument: no numbering makes the two placements one.
absl::StatusOr<std::vector<int>> RankNumbers(const Placement& own, const Placement& given,
                                             const ScheduleRequest& request) {
  if (given.num_stages() != own.num_stages() || given.num_ranks() != own.num_ranks()) {
    return absl::InvalidArgumentError(absl::StrCat(given.num_stages(), " stages on ", given.num_ranks(), " ranks, but ",
                                                   request.name, " here has ", own.num_stages(), " on ",
                                                   own.num_ranks()));
  }
  constexpr int kFree = -1;
  std::vector<int> number(own.num_ranks(), kFree), owner(own.num_ranks(), kFree);
  for (int stage = 0; stage < own.num_stages(); ++stage) {
    const int rank = own.rank_of_stage[stage], to = given.rank_of_stage[stage];
    if (number[rank] == kFree && owner[to] == kFree) {
      number[rank] = to;
      owner[to] = rank;
    }
    if (number[rank] == to) continue;
    const std::string rule = number[rank] == kFree ? absl::StrCat("on a rank without stage ", owner[to])
                                                   : absl::StrCat("on rank ", number[rank], ", beside stage ", rank);
    return absl::InvalidArgumentError(absl::StrCat("stage ", stage, " is on rank ", to, ", but ", request.name,
                                                   " runs it ", rule, ": move it, or give lists of your own"));
  }
  return number;
}

// What each rank may keep: so many of its own micro-batches as there are ranks, times `factor`, or the given limit if
// that is less.
// Errors: InvalidArgument: a given limit does not hold one micro-batch.
absl::StatusOr<std::vector<int64_t>> SearchLimits(const ScheduleRequest& request, int factor) {
  const std::vector<int64_t>& given = request.activation_limit_bytes;
  if (!given.empty() && static_cast<int>(given.size()) != request.ranks) {
    return absl::InvalidArgumentError(
        absl::StrCat(given.size(), " limits of activation memory for ", request.ranks, " ranks"));
  }
  std::vector<int64_t> limits;
  for (int r = 0; r < request.ranks; ++r) {
    const StageCost& cost = request.costs->Of(r, 0);
    const int64_t one = SearchedActivationBytes(cost);
    limits.push_back(one * request.ranks * factor);
    if (given.empty() || cost.activation_bytes == 0) continue;
    if (given[r] < one) {
      return absl::InvalidArgumentError(
          absl::StrCat("rank ", r, " may keep ", given[r], " bytes of activations, but one micro-batch takes ", one,
                       ": use smaller micro-batches (more pipeline.micro_batches), or give its worker more memory"));
    }
    limits.back() = std::min(limits.back(), given[r]);
  }
  return limits;
}

absl::StatusOr<ActionTable> SearchedLists(const ScheduleRequest& request, int factor) {
  PENSTOCK_ASSIGN_OR_RETURN(const std::vector<int64_t> limits, SearchLimits(request, factor));
  return SearchZeroBubble(request.ranks, request.micro_batches, *request.costs, limits);
}

absl::StatusOr<ActionTable> MakeLists(const ScheduleRequest& request, const Placement& placement) {
  const int p = request.ranks, m = request.micro_batches;
  const absl::string_view name = request.name;
  if (name == "gpipe") return GPipeLists(p, request.chunks, m, request.reverse);
  if (name == "1f1b") return OneForwardOneBackwardLists(p, m);
  if (name == "interleaved") {
    return InterleavedLists(p, request.chunks, m, request.group > 0 ? request.group : DefaultGroup(p, m));
  }
  if (name == "zb-h1") return ZeroBubbleH1Lists(p, m);
  if (name == "zb-h2") return ZeroBubbleH2Lists(p, m);
  if (name == "zb-1p") return SearchedLists(request, 1);
  if (name == "zb-2p") return SearchedLists(request, 2);
  if (name == "zb-v") return ZeroBubbleVLists(p, m);
  if (name == "v-half") return VHalfLists(p, m);
  if (name == "v-min") return VMinLists(p, m);
  if (name == "dualpipe-v") return DualPipeVLists(p, m);
  if (name == "ready") return ReadyLists(placement, m, *request.costs);
  return absl::InternalError(absl::StrCat("schedule ", name, " has no lists"));
}

}  // namespace

absl::StatusOr<Schedule> MakeSchedule(const ScheduleRequest& request) {
  const ScheduleKind* kind = FindScheduleKind(request.name);
  if (kind == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat("there is no schedule '", request.name, "'; there are ", absl::StrJoin(ScheduleNames(), ", ")));
  }
  PENSTOCK_RETURN_IF_ERROR(CheckShape(request));
  const PipelineShape shape{request.ranks * request.chunks, request.chunks, request.micro_batches, request.group,
                            request.reverse};
  if (const auto unmet = FindUnmetNeed(*kind, shape)) {
    return absl::InvalidArgumentError(absl::StrCat(unmet->key, " ", unmet->text));
  }
  if (kind->needs_costs) {
    if (request.costs == nullptr) {
      return absl::InvalidArgumentError(absl::StrCat("schedule ", request.name, " is made from the stages' times"));
    }
    PENSTOCK_RETURN_IF_ERROR(CheckCosts(*request.costs, shape.stages, request.micro_batches));
  }
  Schedule schedule;
  schedule.placement = MakePlacement(kind->placement, request.ranks, request.chunks);
  std::vector<int> number;
  if (request.placement.has_value()) {
    PENSTOCK_ASSIGN_OR_RETURN(number, RankNumbers(schedule.placement, *request.placement, request));
  }
  PENSTOCK_ASSIGN_OR_RETURN(schedule.table, MakeLists(request, schedule.placement));
  if (!request.placement.has_value()) return schedule;
  Schedule renumbered{*request.placement, ActionTable(schedule.table.size())};
  for (size_t rank = 0; rank < number.size(); ++rank) {
    renumbered.table[number[rank]] = std::move(schedule.table[rank]);
  }
  return renumbered;
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
