#include "coordinator/plan/planner.h"

#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/action.h"
#include "common/micro_batch.h"
#include "common/status_macros.h"
#include "coordinator/plan/comms.h"
#include "coordinator/plan/costs.h"
#include "coordinator/plan/memory.h"
#include "coordinator/plan/partition.h"
#include "coordinator/plan/placement.h"
#include "coordinator/plan/schedule.h"
#include "coordinator/plan/simulate.h"
#include "coordinator/plan/table.h"
#include "coordinator/plan/validate.h"
#include "model/model_info.h"

namespace penstock {
namespace {

// Predicted steps closer than this are equal: the estimates are no better. The schedule with less memory wins then.
constexpr double kEqualSteps = 0.01;

// What a plan is made of, before it is costed.
struct Draft {
  Partition stages;
  Placement placement;
  int micro_batches = 0;
  std::string schedule;
  ActionTable train;  // as workers run it
};

absl::Status CheckMicroBatches(const v1::JobSpec& spec, uint32_t micro_batches) {
  if (micro_batches < 1) return absl::InvalidArgumentError("micro_batches must be at least 1");
  if (spec.train().batch_size() >= micro_batches) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("batch_size ", spec.train().batch_size(), " cannot be cut into ",
                                                 micro_batches, " micro-batches; each has at least one sample"));
}

Machine MachineOf(const v1::JobSpec& spec) { return CpuMachine(std::max(1u, spec.train().threads())); }

absl::StatusOr<Partition> ChoosePartition(const v1::JobSpec& spec, const ModelInfo& model) {
  const v1::Pipeline& pipeline = spec.pipeline();
  const int layers = static_cast<int>(model.layers.size()), stages = static_cast<int>(pipeline.stages());
  const int64_t samples = MicroBatch(spec.train().batch_size(), pipeline.micro_batches(), 0).size();
  std::vector<double> forward, backward, both;
  for (const ComputeTimes& times : EstimateTimes(model, samples, MachineOf(spec))) {
    forward.push_back(times.forward_us);
    backward.push_back(times.backward_us);
    both.push_back(times.forward_us + times.backward_us);
  }
  switch (pipeline.split()) {
    case v1::Pipeline::SPLIT_UNIFORM:
      return UniformPartition(layers, stages);
    case v1::Pipeline::SPLIT_MIN_VARIANCE:
      return MinVariancePartition(both, stages);
    case v1::Pipeline::SPLIT_EXPLICIT:
      if (pipeline.split_sizes_size() != stages && stages != 0) {
        return absl::InvalidArgumentError(absl::StrCat("the split [", absl::StrJoin(pipeline.split_sizes(), ", "),
                                                       "] has ", pipeline.split_sizes_size(), " stages, not ", stages));
      }
      return ExplicitPartition(layers, {pipeline.split_sizes().begin(), pipeline.split_sizes().end()});
    default:
      return MakespanPartition(forward, backward, stages);
  }
}

ScheduleRequest RequestOf(const std::string& name, const Draft& draft) {
  ScheduleRequest request;
  request.name = name;
  request.ranks = draft.placement.num_ranks();
  request.chunks = draft.placement.num_stages() / request.ranks;
  request.micro_batches = draft.micro_batches;
  request.placement = draft.placement;
  return request;
}

// Adds the training lists of the named schedule.
absl::Status AddSchedule(const std::string& name, Draft* draft) {
  PENSTOCK_ASSIGN_OR_RETURN(const Schedule schedule, MakeSchedule(RequestOf(name, *draft)));
  PENSTOCK_ASSIGN_OR_RETURN(
      draft->train, AddCommunication(schedule.table, schedule.placement, draft->micro_batches, PassKind::kTraining));
  draft->schedule = name;
  return absl::OkStatus();
}

v1::Stage StageProto(const ModelInfo& model, const v1::JobSpec& spec, const Draft& draft, int s,
                     const StageCost& cost) {
  v1::Stage stage;
  stage.set_first_layer(draft.stages[s].begin);
  stage.set_end_layer(draft.stages[s].end);
  stage.set_rank(draft.placement.rank_of_stage[s]);
  const StageMemory memory = EstimateMemory(model, draft.stages[s], spec.train().optimizer());
  stage.set_parameter_bytes(memory.parameter_bytes);
  stage.set_state_bytes(memory.State());
  stage.set_forward_us(cost.forward_us);
  stage.set_backward_us(cost.backward_us);
  stage.set_output_bytes(cost.output_bytes);
  return stage;
}

// Draft -> plan: 1. costs of each stage, 2. validate and simulate the training lists, 3. forward-only lists.
absl::StatusOr<v1::Plan> Finish(const v1::JobSpec& spec, const ModelInfo& model, const Draft& draft) {
  const Machine machine = MachineOf(spec);
  const PipelineCosts costs =
      EstimatePipeline(model, draft.stages, spec.train().batch_size(), draft.micro_batches, machine);
  PENSTOCK_RETURN_IF_ERROR(ValidateTable(draft.train, draft.placement, draft.micro_batches, PassKind::kTraining));
  PENSTOCK_ASSIGN_OR_RETURN(const Simulation simulation,
                            Simulate(draft.train, draft.placement, draft.micro_batches, costs));
  v1::Plan plan;
  plan.set_schedule(draft.schedule);
  plan.set_micro_batches(draft.micro_batches);
  double update_us = 0;
  for (int s = 0; s < draft.placement.num_stages(); ++s) {
    v1::Stage stage = StageProto(model, spec, draft, s, costs.larger[s]);
    stage.set_peak_activation_bytes(simulation.peak_activation_bytes[s]);
    update_us = std::max(update_us, static_cast<double>(stage.state_bytes()) / machine.update_bytes_per_us);
    *plan.add_stages() = std::move(stage);
  }
  for (const ActionList& list : draft.train) *plan.add_train() = ToProto(list);
  PENSTOCK_ASSIGN_OR_RETURN(const ActionTable forward,
                            AddCommunication(ForwardOnlySchedule(draft.placement, draft.micro_batches), draft.placement,
                                             draft.micro_batches, PassKind::kForwardOnly));
  for (const ActionList& list : forward) *plan.add_forward() = ToProto(list);
  plan.set_predicted_step_us(simulation.makespan_us + update_us);
  plan.set_predicted_bubble(simulation.bubbles.gpipe);
  plan.set_cost_source("estimated from FLOPs and bytes");
  return plan;
}

uint64_t LargestRankBytes(const v1::Plan& plan) {
  uint64_t largest = 0;
  for (const v1::Stage& stage : plan.stages()) {
    largest = std::max(largest, stage.state_bytes() + stage.peak_activation_bytes());
  }
  return largest;
}

// The schedules with whole backwards on one stage a rank, simulated: the shortest step, and among equal ones the least
// memory.
absl::StatusOr<v1::Plan> BestSchedule(const v1::JobSpec& spec, const ModelInfo& model, Draft draft) {
  std::vector<v1::Plan> plans;
  double shortest = 0;
  for (const char* name : {"gpipe", "1f1b"}) {
    PENSTOCK_RETURN_IF_ERROR(AddSchedule(name, &draft));
    PENSTOCK_ASSIGN_OR_RETURN(plans.emplace_back(), Finish(spec, model, draft));
    const double step = plans.back().predicted_step_us();
    shortest = plans.size() == 1 ? step : std::min(shortest, step);
  }
  const v1::Plan* best = nullptr;
  for (const v1::Plan& plan : plans) {
    if (plan.predicted_step_us() > shortest * (1 + kEqualSteps)) continue;
    if (best == nullptr || LargestRankBytes(plan) < LargestRankBytes(*best)) best = &plan;
  }
  return *best;
}

absl::StatusOr<v1::Plan> FinishWithSchedule(const v1::JobSpec& spec, const ModelInfo& model, const std::string& name,
                                            Draft draft) {
  if (name == kAutoSchedule) return BestSchedule(spec, model, std::move(draft));
  PENSTOCK_RETURN_IF_ERROR(AddSchedule(name, &draft));
  return Finish(spec, model, draft);
}

// The stages and their ranks, as the given plan has them.
absl::Status TakeStages(const v1::Plan& given, int num_layers, Draft* draft) {
  std::vector<int> sizes;
  std::set<uint32_t> ranks;
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
                                                     given.stages_size() - 1));
    }
    if (!ranks.insert(stage.rank()).second) {
      return absl::InvalidArgumentError(absl::StrCat("stage ", s, " is on rank ", stage.rank(),
                                                     ", which has a stage already; each rank runs one stage"));
    }
    draft->placement.rank_of_stage.push_back(static_cast<int>(stage.rank()));
  }
  PENSTOCK_ASSIGN_OR_RETURN(draft->stages, ExplicitPartition(num_layers, sizes));
  return absl::OkStatus();
}

// The training lists, as the given plan has them: compute actions alone, or with all sends and receives.
absl::Status TakeLists(const v1::Plan& given, Draft* draft) {
  ActionTable table;
  bool compute_only = true;
  for (const v1::RankActions& list : given.train()) {
    PENSTOCK_ASSIGN_OR_RETURN(table.emplace_back(), FromProto(list));
    for (const Action& action : table.back()) compute_only = compute_only && IsCompute(action.kind);
  }
  // The lists are what runs; the name is only kept where it tells the truth about them.
  const absl::StatusOr<Schedule> named = MakeSchedule(RequestOf(given.schedule(), *draft));
  draft->schedule = named.ok() && named->table == ComputeOnly(table) ? given.schedule() : std::string(kCustomSchedule);
  if (!compute_only) {
    draft->train = std::move(table);
    return absl::OkStatus();
  }
  PENSTOCK_ASSIGN_OR_RETURN(draft->train,
                            AddCommunication(table, draft->placement, draft->micro_batches, PassKind::kTraining));
  return absl::OkStatus();
}

// Where the keys put the stages.
absl::StatusOr<Placement> ChoosePlacement(const v1::Pipeline& pipeline, int stages) {
  const ScheduleKind* kind = FindScheduleKind(pipeline.schedule());
  if (kind == nullptr) return OneStagePerRank(stages);
  const int chunks = std::max(1, static_cast<int>(pipeline.chunks()));
  const PipelineShape shape{stages, chunks, static_cast<int>(pipeline.micro_batches()),
                            static_cast<int>(pipeline.group()), pipeline.reverse()};
  if (const auto unmet = FindUnmetNeed(*kind, shape)) {
    return absl::InvalidArgumentError(absl::StrCat(unmet->key, " ", unmet->text));
  }
  return MakePlacement(kind->placement, stages / chunks, chunks);
}

absl::StatusOr<v1::Plan> CompletePlan(const v1::JobSpec& spec, const ModelInfo& model) {
  const v1::Plan& given = spec.pipeline().plan();
  PENSTOCK_RETURN_IF_ERROR(CheckMicroBatches(spec, given.micro_batches()));
  Draft draft;
  draft.micro_batches = static_cast<int>(given.micro_batches());
  PENSTOCK_RETURN_IF_ERROR(TakeStages(given, static_cast<int>(model.layers.size()), &draft));
  if (given.train_size() == 0) return FinishWithSchedule(spec, model, given.schedule(), std::move(draft));
  PENSTOCK_RETURN_IF_ERROR(TakeLists(given, &draft));
  return Finish(spec, model, draft);
}

}  // namespace

absl::StatusOr<v1::Plan> MakePlan(const v1::JobSpec& spec) {
  PENSTOCK_ASSIGN_OR_RETURN(const ModelInfo model, InferModel(spec.model()));
  if (spec.pipeline().has_plan()) {
    absl::StatusOr<v1::Plan> plan = CompletePlan(spec, model);
    if (!plan.ok()) return Annotate(plan.status(), "the plan that the job brings");
    return plan;
  }
  const uint32_t micro_batches = spec.pipeline().micro_batches();
  PENSTOCK_RETURN_IF_ERROR(CheckMicroBatches(spec, micro_batches));
  Draft draft;
  PENSTOCK_ASSIGN_OR_RETURN(draft.stages, ChoosePartition(spec, model));
  PENSTOCK_ASSIGN_OR_RETURN(draft.placement, ChoosePlacement(spec.pipeline(), static_cast<int>(draft.stages.size())));
  draft.micro_batches = static_cast<int>(micro_batches);
  return FinishWithSchedule(spec, model, spec.pipeline().schedule(), std::move(draft));
}

}  // namespace penstock
