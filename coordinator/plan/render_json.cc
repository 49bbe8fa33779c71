#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "coordinator/plan/choice.h"
#include "coordinator/plan/rank_memory.h"
#include "coordinator/plan/render.h"
#include "coordinator/plan/render_facts.h"
#include "coordinator/plan/table.h"
#include "nlohmann/json.hpp"

namespace penstock {
namespace {

using Json = nlohmann::ordered_json;

Json OrNull(uint64_t limit) { return limit == 0 ? Json(nullptr) : Json(limit); }
Json OrNull(const std::string& text) { return text.empty() ? Json(nullptr) : Json(text); }

Json PredictedJson(const v1::JobSpec& spec, const PlannedJob& planned) {
  const v1::Plan& plan = planned.plan;
  const Simulation& simulation = planned.simulation;
  const double step_us = plan.predicted_step_us();
  Json json = {{"step_us", step_us},
               {"makespan_us", simulation.makespan_us},
               {"span_us", simulation.span_us},
               {"update_us", plan.predicted_update_us()},
               {"bubble", plan.predicted_bubble()},
               {"bubbles",
                {{"gpipe", simulation.bubbles.gpipe},
                 {"megatron", simulation.bubbles.megatron},
                 {"zero_bubble", simulation.bubbles.zero_bubble}}},
               {"total_seconds", step_us / 1e6 * static_cast<double>(spec.train().steps())}};
  const Throughput throughput = ThroughputOf(spec);
  if (step_us > 0) json[throughput.unit + "_per_second"] = throughput.per_step * 1e6 / step_us;
  return json;
}

Json StageJson(const PlanRequest& request, const v1::Plan& plan, const std::vector<std::string>& workers, int s) {
  const v1::Stage& stage = plan.stages(s);
  const uint64_t limit = LimitOf(request, stage.rank());
  return {{"stage", s},
          {"rank", stage.rank()},
          {"layers", LayerNames(request.spec, stage)},
          {"parameters", stage.parameter_bytes() / 4},
          {"parameter_bytes", stage.parameter_bytes()},
          {"state_bytes", stage.state_bytes()},
          {"peak_activation_bytes", stage.peak_activation_bytes()},
          {"peak_bytes", stage.state_bytes() + stage.peak_activation_bytes()},
          {"output_bytes", stage.output_bytes()},
          {"forward_us", stage.forward_us()},
          {"backward_us", stage.backward_us()},
          {"weight_gradient_us", stage.weight_gradient_us()},
          {"recompute_us", stage.recompute_us()},
          {"limit_bytes", OrNull(limit)},
          {"fits", limit == 0 || RankPeakBytes(plan)[stage.rank()] <= limit},
          {"worker", OrNull(WorkerOf(workers, stage.rank()))}};
}

Json RanksJson(const PlanRequest& request, const v1::Plan& plan, const std::vector<std::string>& workers) {
  Json json = Json::array();
  const std::vector<std::vector<int>> stages = StagesByRank(plan);
  for (int rank = 0; rank < plan.ranks_size(); ++rank) {
    const v1::RankPrediction& prediction = plan.ranks(rank);
    const uint64_t limit = LimitOf(request, rank);
    json.push_back({{"rank", rank},
                    {"stages", stages[rank]},
                    {"busy_us", prediction.busy_us()},
                    {"state_bytes", prediction.peak_bytes() - prediction.peak_activation_bytes()},
                    {"peak_activation_bytes", prediction.peak_activation_bytes()},
                    {"peak_bytes", prediction.peak_bytes()},
                    {"limit_bytes", OrNull(limit)},
                    {"fits", limit == 0 || prediction.peak_bytes() <= limit},
                    {"worker", OrNull(WorkerOf(workers, rank))}});
  }
  return json;
}

Json ActionsJson(const v1::Plan& plan) {
  Json json = Json::array();
  for (const v1::RankActions& list : plan.train()) {
    Json words = Json::array();
    if (const auto actions = FromProto(list); actions.ok()) {
      ActionList compute;
      for (const Action& action : *actions) {
        if (IsCompute(action.kind)) compute.push_back(action);
      }
      words = ToWords(compute);
    }
    json.push_back(std::move(words));
  }
  return json;
}

Json TimelineJson(const Simulation& simulation) {
  Json json = Json::array();
  for (const std::vector<TimedAction>& list : simulation.actions) {
    Json rank = Json::array();
    for (const TimedAction& timed : list) {
      rank.push_back({{"action", ToText(timed.action)},
                      {"start_us", timed.start_us},
                      {"end_us", timed.end_us},
                      {"kept_bytes", timed.kept_bytes}});
    }
    json.push_back(std::move(rank));
  }
  return json;
}

}  // namespace

std::string RenderPlanJson(const PlanRequest& request, const PlannedJob& planned,
                           const std::vector<std::string>& workers) {
  const v1::Plan& plan = planned.plan;
  Json json = {{"name", request.spec.name()},           {"schedule", plan.schedule()},
               {"micro_batches", plan.micro_batches()}, {"batch_size", request.spec.train().batch_size()},
               {"cost_source", plan.cost_source()},     {"predicted", PredictedJson(request.spec, planned)}};
  json["stages"] = Json::array();
  for (int s = 0; s < plan.stages_size(); ++s) json["stages"].push_back(StageJson(request, plan, workers, s));
  json["ranks"] = RanksJson(request, plan, workers);
  json["actions"] = ActionsJson(plan);
  if (!planned.simulation.actions.empty()) json["timeline"] = TimelineJson(planned.simulation);
  json["notes"] = planned.notes;
  for (const std::string& note : Advice(request, plan)) json["notes"].push_back(note);
  return json.dump(2);
}

std::string RenderComparisonJson(const PlanRequest& request, const std::vector<ScheduleRow>& rows) {
  Json json = {{"name", request.spec.name()}};
  const size_t best = BestRow(rows);
  json["best"] = rows[best].schedule;
  json["schedules"] = Json::array();
  for (const size_t i : RowsByStep(rows)) {
    const ScheduleRow& row = rows[i];
    Json item = {{"schedule", row.schedule}, {"stages", row.stages}, {"chunks", row.chunks}, {"best", i == best}};
    if (!row.status.ok()) {
      item["applicable"] = false;
      item["reason"] = std::string(row.status.message());
      json["schedules"].push_back(std::move(item));
      continue;
    }
    item["applicable"] = true;
    item["cost_source"] = row.planned.plan.cost_source();
    item["predicted"] = PredictedJson(request.spec, row.planned);
    item["split"] = Json::array();
    for (const v1::Stage& stage : row.planned.plan.stages()) {
      item["split"].push_back(stage.end_layer() - stage.first_layer());
    }
    item["ranks"] = RanksJson(request, row.planned.plan, {});
    item["fits"] = row.missing_bytes == 0;
    json["schedules"].push_back(std::move(item));
  }
  return json.dump(2);
}

}  // namespace penstock
