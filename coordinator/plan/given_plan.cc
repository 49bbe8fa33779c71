#include "coordinator/plan/given_plan.h"

#include <set>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/schedule_kind.h"
#include "common/status_macros.h"
#include "coordinator/plan/drafts.h"
#include "coordinator/plan/recompute.h"
#include "coordinator/plan/schedule.h"
#include "coordinator/plan/table.h"
#include "coordinator/plan/validate.h"

namespace penstock {
namespace {

ScheduleRequest RequestOf(const Planning& planning, const GivenStages& given, const std::string& name,
                          const PipelineCosts& costs) {
  ScheduleRequest request;
  request.name = name;
  request.ranks = given.placement.num_ranks();
  request.chunks = given.placement.num_stages() / request.ranks;
  request.micro_batches = planning.costs.micro_batches();
  request.costs = &costs;
  request.placement = given.placement;
  return request;
}

// Whether the name stands for these lists, with whatever options the schedule has.
bool IsNameOf(const ScheduleRequest& request, const ActionTable& lists) {
  const ScheduleKind* kind = FindScheduleKind(request.name);
  if (kind == nullptr) return false;
  std::vector<ScheduleRequest> requests = {request};
  if (kind->has_reverse) requests.emplace_back(request).reverse = true;
  for (int group = 1; kind->has_groups && group <= request.micro_batches; ++group) {
    if (request.micro_batches % group == 0) requests.emplace_back(request).group = group;
  }
  for (const ScheduleRequest& candidate : requests) {
    const absl::StatusOr<Schedule> schedule = MakeSchedule(candidate);
    if (schedule.ok() && schedule->table == lists) return true;
  }
  return false;
}

// The training lists, as the given plan has them: compute actions alone, or with all sends and receives.
absl::StatusOr<Draft> DraftOfLists(const Planning& planning, const GivenStages& given, const v1::Plan& plan) {
  ActionTable table;
  bool compute_only = true;
  for (const v1::RankActions& list : plan.train()) {
    PENSTOCK_ASSIGN_OR_RETURN(table.emplace_back(), FromProto(list));
    for (const Action& action : table.back()) compute_only = compute_only && IsCompute(action.kind);
  }
  if (!compute_only) {
    PENSTOCK_RETURN_IF_ERROR(
        ValidateTable(table, given.placement, planning.costs.micro_batches(), PassKind::kTraining));
  }
  Draft draft{given.stages, given.placement, plan.schedule(), ComputeOnly(table)};
  // The lists are what runs, forward passes that run again included; the name is only kept where it tells the truth
  // about them.
  const PipelineCosts costs = planning.costs.Pipeline(given.stages);
  if (!IsNameOf(RequestOf(planning, given, plan.schedule(), costs), WithoutRecompute(draft.compute))) {
    draft.schedule = std::string(kCustomSchedule);
  }
  return draft;
}

absl::StatusOr<Draft> DraftOfName(const Planning& planning, const GivenStages& given, const std::string& name) {
  const PipelineCosts costs = planning.costs.Pipeline(given.stages);
  PENSTOCK_ASSIGN_OR_RETURN(const Schedule schedule, MakeSchedule(RequestOf(planning, given, name, costs)));
  return Draft{given.stages, given.placement, name, AddRecompute(schedule.table, planning.spec.pipeline().recompute())};
}

}  // namespace

absl::StatusOr<GivenStages> TakeStages(const Planning& planning, const v1::Plan& given) {
  GivenStages taken;
  std::vector<int> sizes;
  std::set<int> ranks;
  uint32_t next_layer = 0;
  for (int s = 0; s < given.stages_size(); ++s) {
    const v1::Stage& stage = given.stages(s);
    if (stage.first_layer() != next_layer || stage.end_layer() < stage.first_layer()) {
      return absl::InvalidArgumentError(absl::StrCat("stage ", s, " has layers [", stage.first_layer(), ", ",
                                                     stage.end_layer(), "); it must begin with layer ", next_layer,
                                                     ", each layer is owned exactly once"));
    }
    next_layer = stage.end_layer();
    sizes.push_back(static_cast<int>(stage.end_layer() - stage.first_layer()));
    if (stage.rank() >= static_cast<uint32_t>(given.stages_size())) {
      return absl::InvalidArgumentError(absl::StrCat("stage ", s, " is on rank ", stage.rank(), "; ",
                                                     given.stages_size(), " stages have ranks 0 to ",
                                                     given.stages_size() - 1, " at most"));
    }
    taken.placement.rank_of_stage.push_back(static_cast<int>(stage.rank()));
    ranks.insert(static_cast<int>(stage.rank()));
  }
  int next_rank = 0;
  for (const int rank : ranks) {
    if (rank == next_rank++) continue;
    return absl::InvalidArgumentError(absl::StrCat("rank ", next_rank - 1, " has no stage, rank ", rank,
                                                   " has one; ranks are numbered from 0 without gaps"));
  }
  PENSTOCK_ASSIGN_OR_RETURN(taken.stages, ExplicitPartition(planning.costs.num_layers(), sizes));
  PENSTOCK_RETURN_IF_ERROR(CheckCuts(planning, taken.stages));
  return taken;
}

absl::StatusOr<std::vector<Draft>> DraftsOfPlan(const Planning& planning, const v1::Plan& given) {
  PENSTOCK_ASSIGN_OR_RETURN(const GivenStages stages, TakeStages(planning, given));
  std::vector<Draft> drafts;
  if (given.train_size() > 0) {
    PENSTOCK_ASSIGN_OR_RETURN(drafts.emplace_back(), DraftOfLists(planning, stages, given));
    return drafts;
  }
  if (given.schedule() != kAutoSchedule) {
    PENSTOCK_ASSIGN_OR_RETURN(drafts.emplace_back(), DraftOfName(planning, stages, given.schedule()));
    return drafts;
  }
  absl::Status first_error;
  for (const ScheduleKind& kind : ScheduleKinds()) {
    absl::StatusOr<Draft> draft = DraftOfName(planning, stages, std::string(kind.name));
    if (draft.ok()) drafts.push_back(*std::move(draft));
    first_error.Update(draft.status());
  }
  if (drafts.empty()) return first_error;
  return drafts;
}

}  // namespace penstock
