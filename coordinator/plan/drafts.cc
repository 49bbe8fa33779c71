#include "coordinator/plan/drafts.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/schedule_kind.h"
#include "common/status_macros.h"
#include "coordinator/plan/comms.h"
#include "coordinator/plan/cuts.h"
#include "coordinator/plan/rank_memory.h"
#include "coordinator/plan/recompute.h"
#include "coordinator/plan/schedule.h"
#include "coordinator/plan/split_search.h"
#include "coordinator/plan/validate.h"

namespace penstock {
namespace {

// A searched schedule looks through its list for every action that it places, and does so with several settings.
constexpr int64_t kSearchedScheduleWork = 32;
// More tries gain nothing: a stage is off by a layer or two, not by twenty.
constexpr int64_t kMostTrials = 5000;

// The lists of one variant, for whatever partition.
class Lists {
 public:
  Lists(const Planning& planning, const Variant& variant) : planning_(planning), variant_(variant) {}

  // The lists for stages of these costs.
  absl::StatusOr<const Schedule*> For(const Partition& stages, const PipelineCosts& costs) {
    const ScheduleKind* kind = FindScheduleKind(variant_.schedule);
    if (made_.has_value() && (kind == nullptr || !kind->needs_costs)) return &*made_;
    PENSTOCK_ASSIGN_OR_RETURN(Schedule schedule, Make(kind, stages, costs));
    // Lists that a person wrote say themselves what runs again.
    if (variant_.schedule != kCsvSchedule) {
      schedule.table = AddRecompute(schedule.table, planning_.spec.pipeline().recompute());
    }
    made_ = std::move(schedule);
    return &*made_;
  }

 private:
  absl::StatusOr<Schedule> Make(const ScheduleKind* kind, const Partition& stages, const PipelineCosts& costs) const {
    const v1::Pipeline& pipeline = planning_.spec.pipeline();
    if (variant_.schedule == kCsvSchedule) return FromCsv(pipeline);
    ScheduleRequest request;
    request.name = variant_.schedule;
    request.ranks = variant_.ranks;
    request.chunks = variant_.chunks;
    request.micro_batches = planning_.costs.micro_batches();
    request.group = static_cast<int>(pipeline.group());
    request.reverse = pipeline.reverse();
    request.costs = &costs;
    if (kind != nullptr && kind->needs_costs) request.activation_limit_bytes = ActivationLimits(*kind, stages);
    return MakeSchedule(request);
  }

  absl::StatusOr<Schedule> FromCsv(const v1::Pipeline& pipeline) const {
    Schedule schedule;
    for (const v1::RankActions& list : pipeline.csv()) {
      PENSTOCK_ASSIGN_OR_RETURN(schedule.table.emplace_back(), FromProto(list));
    }
    PENSTOCK_ASSIGN_OR_RETURN(schedule.placement, PlacementOfTable(schedule.table));
    // Before it is simulated: a job that comes by RPC has passed no reader of files.
    PENSTOCK_RETURN_IF_ERROR(ValidateComputeActions(schedule.table, schedule.placement, planning_.costs.micro_batches(),
                                                    PassKind::kTraining));
    if (schedule.placement.num_stages() == variant_.stages()) return schedule;
    return absl::InvalidArgumentError(absl::StrCat("the schedule's actions are of ", schedule.placement.num_stages(),
                                                   " stages, pipeline.stages is ", variant_.stages()));
  }

  // What the workers' limits leave for activations; empty where there are none.
  std::vector<int64_t> ActivationLimits(const ScheduleKind& kind, const Partition& stages) const {
    std::vector<int64_t> limits;
    const Placement placement = MakePlacement(kind.placement, variant_.ranks, variant_.chunks);
    const std::vector<int64_t> state = RankStateBytes(planning_.costs, stages, placement);
    bool limited = false;
    for (size_t rank = 0; rank < state.size(); ++rank) {
      const int64_t limit = static_cast<int64_t>(planning_.LimitOf(rank));
      limited = limited || limit > state[rank];
      limits.push_back(limit > state[rank] ? limit - state[rank] : INT64_MAX);
    }
    return limited ? limits : std::vector<int64_t>();
  }

  const Planning& planning_;
  const Variant& variant_;
  std::optional<Schedule> made_;
};

// By how much ranks exceed their limits, together, and the step.
SplitScore ScoreOf(const Planning& planning, const Partition& stages, const Placement& placement,
                   const Simulation& simulation) {
  const std::vector<int64_t> state = RankStateBytes(planning.costs, stages, placement);
  SplitScore score;
  double update_us = 0;
  for (size_t rank = 0; rank < state.size(); ++rank) {
    const uint64_t limit = planning.LimitOf(rank);
    const uint64_t peak = static_cast<uint64_t>(state[rank] + simulation.rank_peak_activation_bytes[rank]);
    if (limit > 0 && peak > limit) score.missing_bytes += peak - limit;
    update_us = std::max(update_us, planning.costs.UpdateUs(state[rank]));
  }
  score.step_us = simulation.makespan_us + update_us;
  return score;
}

// The cuts that a search goes on from: the exact ones, and those that keep the limits for what each stage keeps under
// this schedule.
absl::StatusOr<std::vector<Partition>> Starts(const Planning& planning, const Variant& variant, Lists* lists) {
  PENSTOCK_ASSIGN_OR_RETURN(const Partition makespan, CutByMakespan(planning, variant.stages()));
  std::vector<Partition> starts = {makespan};
  PENSTOCK_ASSIGN_OR_RETURN(starts.emplace_back(), CutByVariance(planning, variant.stages()));
  if (planning.memory_bytes.empty() || variant.chunks > 1) return starts;
  const PipelineCosts costs = planning.costs.Pipeline(makespan);
  PENSTOCK_ASSIGN_OR_RETURN(const Schedule* schedule, lists->For(makespan, costs));
  const int micro_batches = planning.costs.micro_batches();
  PENSTOCK_ASSIGN_OR_RETURN(const Simulation simulation,
                            Simulate(schedule->table, schedule->placement, micro_batches, costs));
  std::vector<uint64_t> limits;
  std::vector<KeptSamples> kept;
  for (int s = 0; s < variant.stages(); ++s) {
    limits.push_back(planning.LimitOf(schedule->placement.rank_of_stage[s]));
    kept.push_back({simulation.peak_micro_batches[s] * planning.costs.samples(), 0});
  }
  const auto within = CutByMakespan(planning, variant.stages(), LimitsOf(planning.costs, limits, kept));
  if (within.ok()) starts.push_back(*within);
  return starts;
}

// The exact makespan partition under the workers' limits, where GPipe runs one stage a rank.
absl::StatusOr<Partition> CutForGPipe(const Planning& planning, const Variant& variant) {
  const KeptSamples kept = KeptByGPipe(planning.spec, planning.costs.micro_batches());
  std::vector<uint64_t> limits;
  for (int rank = 0; rank < variant.ranks; ++rank) limits.push_back(planning.LimitOf(rank));
  const std::vector<KeptSamples> everywhere(variant.ranks, kept);
  absl::StatusOr<Partition> within =
      CutByMakespan(planning, variant.stages(), LimitsOf(planning.costs, limits, everywhere));
  // Nothing fits: the plan of the shortest step is what the refusal speaks of.
  return absl::IsResourceExhausted(within.status()) ? CutByMakespan(planning, variant.stages()) : within;
}

absl::StatusOr<Partition> SearchCuts(const Planning& planning, const Variant& variant, int64_t search_actions,
                                     Lists* lists) {
  PENSTOCK_ASSIGN_OR_RETURN(const std::vector<Partition> starts, Starts(planning, variant, lists));
  const ScheduleKind* kind = FindScheduleKind(variant.schedule);
  const int64_t work = int64_t{3} * variant.stages() * planning.costs.micro_batches() *
                       (kind != nullptr && kind->needs_costs ? kSearchedScheduleWork : 1);
  const int64_t trials = std::min(search_actions / work, kMostTrials);
  if (trials < static_cast<int64_t>(starts.size())) return starts.front();
  PENSTOCK_ASSIGN_OR_RETURN(
      SplitSearch search, SearchSplit(starts, planning.costs.first_cut(), static_cast<int>(trials),
                                      [&](const Partition& stages) -> absl::StatusOr<SplitScore> {
                                        const PipelineCosts costs = planning.costs.Pipeline(stages);
                                        PENSTOCK_ASSIGN_OR_RETURN(const Schedule* schedule, lists->For(stages, costs));
                                        PENSTOCK_ASSIGN_OR_RETURN(const Simulation simulation,
                                                                  Simulate(schedule->table, schedule->placement,
                                                                           planning.costs.micro_batches(), costs));
                                        return ScoreOf(planning, stages, schedule->placement, simulation);
                                      }));
  return std::move(search.best);
}

absl::StatusOr<Partition> ChooseCuts(const Planning& planning, const Variant& variant, int64_t search_actions,
                                     Lists* lists) {
  PENSTOCK_RETURN_IF_ERROR(CheckStageCount(planning, variant.stages()));
  switch (planning.spec.pipeline().split()) {
    case v1::Pipeline::SPLIT_UNIFORM:
      return CutUniformly(planning, variant.stages());
    case v1::Pipeline::SPLIT_MIN_VARIANCE:
      return CutByVariance(planning, variant.stages());
    case v1::Pipeline::SPLIT_EXPLICIT:
      return CutAsWritten(planning, variant.stages());
    default:
      if (variant.stages() == 1) return Partition{{0, planning.costs.num_layers()}};
      if (variant.schedule == "gpipe" && variant.chunks == 1 && !planning.measured) {
        return CutForGPipe(planning, variant);
      }
      return SearchCuts(planning, variant, search_actions, lists);
  }
}

v1::Stage StageProto(const Planning& planning, const Draft& draft, int s, const StageCost& cost, bool recomputed) {
  const StageMemory memory = planning.costs.Memory(draft.stages[s]);
  v1::Stage stage;
  stage.set_first_layer(draft.stages[s].begin);
  stage.set_end_layer(draft.stages[s].end);
  stage.set_rank(draft.placement.rank_of_stage[s]);
  stage.set_parameter_bytes(memory.parameter_bytes);
  stage.set_state_bytes(memory.State());
  stage.set_forward_us(cost.forward_us);
  stage.set_backward_us(cost.backward_us);
  stage.set_weight_gradient_us(cost.weight_gradient_us);
  if (recomputed) stage.set_recompute_us(cost.recompute_us);
  stage.set_output_bytes(cost.output_bytes);
  return stage;
}

// Which stages run forward once more for some micro-batch.
std::vector<bool> RecomputedStages(const Draft& draft) {
  std::vector<bool> recomputed(draft.stages.size(), false);
  for (const ActionList& list : draft.compute) {
    for (const Action& action : list) {
      if (action.kind == ActionKind::kRecompute) recomputed[action.stage] = true;
    }
  }
  return recomputed;
}

// What the simulation says of stages, ranks and the step.
void AddPredictions(const Planning& planning, const Draft& draft, const Simulation& simulation, v1::Plan* plan) {
  const PipelineCosts costs = planning.costs.Pipeline(draft.stages);
  const std::vector<bool> recomputed = RecomputedStages(draft);
  for (int s = 0; s < draft.placement.num_stages(); ++s) {
    v1::Stage stage = StageProto(planning, draft, s, costs.larger[s], recomputed[s]);
    stage.set_peak_activation_bytes(simulation.peak_activation_bytes[s]);
    *plan->add_stages() = std::move(stage);
  }
  const std::vector<int64_t> state = RankStateBytes(planning.costs, draft.stages, draft.placement);
  double update_us = 0;
  for (size_t rank = 0; rank < state.size(); ++rank) {
    v1::RankPrediction* prediction = plan->add_ranks();
    prediction->set_busy_us(simulation.busy_us[rank]);
    prediction->set_peak_activation_bytes(simulation.rank_peak_activation_bytes[rank]);
    prediction->set_peak_bytes(state[rank] + simulation.rank_peak_activation_bytes[rank]);
    update_us = std::max(update_us, planning.costs.UpdateUs(state[rank]));
  }
  plan->set_predicted_update_us(update_us);
  plan->set_predicted_step_us(simulation.makespan_us + update_us);
  plan->set_predicted_bubble(simulation.bubbles.gpipe);
}

}  // namespace

absl::Status CheckCuts(const Planning& planning, const Partition& stages) {
  const int together = planning.costs.first_cut();
  if (stages.size() < 2 || stages[0].end >= together) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "stage 0 ends with layer '", planning.model.layers[stages[0].end - 1].name,
      "', which only passes tokens on, and tokens have no gradient to send back: the first stage must go on to layer '",
      planning.model.layers[together - 1].name, "', which turns them into numbers (", together, " layers or more)"));
}

absl::StatusOr<Draft> MakeDraft(const Planning& planning, const Variant& variant, int64_t search_actions) {
  Lists lists(planning, variant);
  Draft draft;
  PENSTOCK_ASSIGN_OR_RETURN(draft.stages, ChooseCuts(planning, variant, search_actions, &lists));
  PENSTOCK_RETURN_IF_ERROR(CheckCuts(planning, draft.stages));
  PENSTOCK_ASSIGN_OR_RETURN(const Schedule* schedule, lists.For(draft.stages, planning.costs.Pipeline(draft.stages)));
  draft.placement = schedule->placement;
  draft.compute = schedule->table;
  // Lists that a person wrote have no name of their own.
  draft.schedule = variant.schedule == kCsvSchedule ? std::string(kCustomSchedule) : variant.schedule;
  return draft;
}

absl::StatusOr<FinishedPlan> FinishDraft(const Planning& planning, const Draft& draft, SimulationDetail detail) {
  const int micro_batches = planning.costs.micro_batches();
  PENSTOCK_ASSIGN_OR_RETURN(const ActionTable train,
                            AddCommunication(draft.compute, draft.placement, micro_batches, PassKind::kTraining));
  PENSTOCK_RETURN_IF_ERROR(ValidateTable(train, draft.placement, micro_batches, PassKind::kTraining));
  FinishedPlan finished;
  PENSTOCK_ASSIGN_OR_RETURN(finished.simulation, Simulate(train, draft.placement, micro_batches,
                                                          planning.costs.Pipeline(draft.stages), detail));
  v1::Plan& plan = finished.plan;
  plan.set_schedule(draft.schedule);
  plan.set_micro_batches(micro_batches);
  AddPredictions(planning, draft, finished.simulation, &plan);
  for (const ActionList& list : train) *plan.add_train() = ToProto(list);
  PENSTOCK_ASSIGN_OR_RETURN(const ActionTable forward,
                            AddCommunication(ForwardOnlySchedule(draft.placement, micro_batches), draft.placement,
                                             micro_batches, PassKind::kForwardOnly));
  for (const ActionList& list : forward) *plan.add_forward() = ToProto(list);
  plan.set_cost_source(planning.costs.source());
  return finished;
}

}  // namespace penstock
