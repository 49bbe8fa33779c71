#include "coordinator/plan/render.h"

#include <algorithm>
#include <optional>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "common/action.h"
#include "common/micro_batch.h"
#include "coordinator/plan/advice.h"
#include "coordinator/plan/planner.h"
#include "coordinator/plan/table.h"
#include "model/model_info.h"
#include "nlohmann/json.hpp"

namespace penstock {
namespace {

std::string Bytes(uint64_t bytes) {
  const double value = static_cast<double>(bytes);
  if (bytes >= uint64_t{1} << 30) return absl::StrFormat("%.2f GiB", value / (1 << 30));
  if (bytes >= uint64_t{1} << 20) return absl::StrFormat("%.1f MiB", value / (1 << 20));
  if (bytes >= uint64_t{1} << 10) return absl::StrFormat("%.1f KiB", value / (1 << 10));
  return absl::StrCat(bytes, " B");
}

std::string Count(double count) {
  if (count >= 1e9) return absl::StrFormat("%.2fG", count / 1e9);
  if (count >= 1e6) return absl::StrFormat("%.1fM", count / 1e6);
  if (count >= 1e3) return absl::StrFormat("%.1fk", count / 1e3);
  return absl::StrFormat("%.0f", count);
}

std::string Time(double us) {
  if (us >= 1e6) return absl::StrFormat("%.2f s", us / 1e6);
  if (us >= 1e4) return absl::StrFormat("%.0f ms", us / 1e3);
  if (us >= 1e3) return absl::StrFormat("%.1f ms", us / 1e3);
  return absl::StrFormat("%.0f us", us);
}

// "4 h 39 min", "12 s".
std::string LongTime(double us) {
  const int64_t seconds = static_cast<int64_t>(us / 1e6 + 0.5);
  if (seconds >= 3600) return absl::StrCat(seconds / 3600, " h ", seconds % 3600 / 60, " min");
  if (seconds >= 60) return absl::StrCat(seconds / 60, " min ", seconds % 60, " s");
  return absl::StrCat(seconds, " s");
}

std::vector<std::string> LayerNames(const v1::JobSpec& spec, const v1::Stage& stage) {
  std::vector<std::string> names;
  for (uint32_t i = stage.first_layer(); i < stage.end_layer() && static_cast<int>(i) < spec.model().layers_size();
       ++i) {
    names.push_back(spec.model().layers(i).name());
  }
  return names;
}

// All names where they are short, else the first and the last.
std::string LayersText(const std::vector<std::string>& names) {
  constexpr size_t kWidth = 28;
  std::string all = absl::StrJoin(names, " ");
  if (all.size() <= kWidth || names.size() < 3) return all;
  return absl::StrCat(names.front(), " .. ", names.back(), " (", names.size(), ")");
}

std::string OptimizerName(const v1::Optimizer& optimizer) {
  switch (optimizer.name()) {
    case v1::Optimizer::ADAM:
      return "adam";
    case v1::Optimizer::ADAMW:
      return "adamw";
    default:
      return "sgd";
  }
}

uint64_t PeakBytes(const v1::Stage& stage) { return stage.state_bytes() + stage.peak_activation_bytes(); }

uint64_t LimitOf(const PlanWorkers& workers, uint32_t rank) {
  return rank < workers.memory_bytes.size() ? workers.memory_bytes[rank] : 0;
}

std::string NameOf(const PlanWorkers& workers, uint32_t rank) {
  return rank < workers.names.size() ? workers.names[rank] : "";
}

// What a step is counted in: tokens for sequences, else samples.
struct Throughput {
  double per_step = 0;
  std::string unit;
};

Throughput ThroughputOf(const v1::JobSpec& spec) {
  const bool tokens = spec.data().seq_len() > 0 && spec.data().train().format() != v1::Dataset::FORMAT_CSV;
  return {static_cast<double>(spec.train().batch_size()) * (tokens ? spec.data().seq_len() : 1),
          tokens ? "tokens" : "samples"};
}

// Rows of cells, each column as wide as its widest cell. right[c]: column c is aligned to the right.
std::string AlignColumns(const std::vector<std::vector<std::string>>& rows, const std::vector<bool>& right) {
  std::vector<size_t> widths(right.size(), 0);
  for (const auto& row : rows) {
    for (size_t c = 0; c < row.size(); ++c) widths[c] = std::max(widths[c], row[c].size());
  }
  std::string text;
  for (const auto& row : rows) {
    std::string line;
    for (size_t c = 0; c < row.size(); ++c) {
      const std::string padding(widths[c] - row[c].size(), ' ');
      absl::StrAppend(&line, c == 0 ? "" : "  ", right[c] ? padding : "", row[c], right[c] ? "" : padding);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    absl::StrAppend(&text, line, "\n");
  }
  return text;
}

std::string Headline(const v1::JobSpec& spec, const v1::Plan& plan) {
  uint64_t parameters = 0;
  for (const v1::Stage& stage : plan.stages()) parameters += stage.parameter_bytes() / 4;
  const SampleRange first = MicroBatch(spec.train().batch_size(), plan.micro_batches(), 0);
  const std::string sequence = ThroughputOf(spec).unit == "tokens"
                                   ? absl::StrCat(" x ", spec.data().seq_len(), " tokens")
                                   : absl::StrCat(" sample", first.size() == 1 ? "" : "s");
  const bool even = spec.train().batch_size() % plan.micro_batches() == 0;
  return absl::StrCat(spec.name(), ": ", spec.model().layers_size(), " layers, ", Count(parameters), " parameters, ",
                      spec.train().precision(), ", ", OptimizerName(spec.train().optimizer()), "; ", plan.stages_size(),
                      plan.stages_size() == 1 ? " stage, " : " stages, ", plan.micro_batches(),
                      plan.micro_batches() == 1 ? " micro-batch of " : " micro-batches of ", even ? "" : "at most ",
                      first.size(), sequence, ", schedule ", plan.schedule(), "\n");
}

std::string StageTable(const v1::JobSpec& spec, const v1::Plan& plan, const PlanWorkers& workers) {
  std::vector<std::vector<std::string>> rows = {
      {"STAGE", "LAYERS", "PARAMS", "STATE", "ACTIV.", "PEAK", "LIMIT", "FIT", "TIME/MB", "WORKER"}};
  for (int s = 0; s < plan.stages_size(); ++s) {
    const v1::Stage& stage = plan.stages(s);
    const uint64_t limit = LimitOf(workers, stage.rank());
    const std::string worker = NameOf(workers, stage.rank());
    rows.push_back({absl::StrCat(s), LayersText(LayerNames(spec, stage)), Count(stage.parameter_bytes() / 4.0),
                    Bytes(stage.state_bytes()), Bytes(stage.peak_activation_bytes()), Bytes(PeakBytes(stage)),
                    limit == 0 ? "-" : Bytes(limit), limit == 0 || PeakBytes(stage) <= limit ? "yes" : "NO",
                    Time(stage.forward_us() + stage.backward_us()),
                    worker.empty() ? absl::StrCat("(rank ", stage.rank(), ")") : worker});
  }
  return AlignColumns(rows, {false, false, true, true, true, true, true, false, true, false});
}

}  // namespace

std::string RenderPlanText(const v1::JobSpec& spec, const v1::Plan& plan, const PlanWorkers& workers) {
  std::string text = absl::StrCat(Headline(spec, plan), StageTable(spec, plan, workers));
  absl::StrAppendFormat(&text, "Bubble %.1f %%", 100 * plan.predicted_bubble());
  if (const std::optional<MoreMicroBatches> more = FindMoreMicroBatches(spec, plan)) {
    absl::StrAppendFormat(&text, " (%d micro-batches would give %.1f %%)", more->micro_batches, 100 * more->bubble);
  }
  const double step_us = plan.predicted_step_us();
  const Throughput throughput = ThroughputOf(spec);
  if (step_us > 0) {
    absl::StrAppend(&text, "   Step ~", Time(step_us), ", ", Count(throughput.per_step * 1e6 / step_us), " ",
                    throughput.unit, "/s, ", spec.train().steps(), " steps in ",
                    LongTime(step_us * static_cast<double>(spec.train().steps())));
  }
  absl::StrAppend(&text, "\n");
  absl::StrAppend(&text, "Times are ", plan.cost_source(), "\n");
  if (const std::optional<BetterSplit> better = FindBetterSplit(spec, plan)) {
    absl::StrAppendFormat(&text,
                          "note: stage %d takes %.0f %% longer than the mean; "
                          "split [%s] would balance better\n",
                          better->slowest_stage, 100 * better->over_mean, absl::StrJoin(better->sizes, ", "));
  }
  return text;
}

std::string RenderPlanJson(const v1::JobSpec& spec, const v1::Plan& plan, const PlanWorkers& workers) {
  using Json = nlohmann::ordered_json;
  const Throughput throughput = ThroughputOf(spec);
  Json json = {{"name", spec.name()},
               {"schedule", plan.schedule()},
               {"micro_batches", plan.micro_batches()},
               {"batch_size", spec.train().batch_size()},
               {"cost_source", plan.cost_source()},
               {"predicted", {{"step_us", plan.predicted_step_us()}, {"bubble", plan.predicted_bubble()}}}};
  if (plan.predicted_step_us() > 0) {
    json["predicted"][throughput.unit + "_per_second"] = throughput.per_step * 1e6 / plan.predicted_step_us();
  }
  json["stages"] = Json::array();
  for (int s = 0; s < plan.stages_size(); ++s) {
    const v1::Stage& stage = plan.stages(s);
    const uint64_t limit = LimitOf(workers, stage.rank());
    Json item = {{"stage", s},
                 {"rank", stage.rank()},
                 {"layers", LayerNames(spec, stage)},
                 {"parameters", stage.parameter_bytes() / 4},
                 {"parameter_bytes", stage.parameter_bytes()},
                 {"state_bytes", stage.state_bytes()},
                 {"peak_activation_bytes", stage.peak_activation_bytes()},
                 {"peak_bytes", PeakBytes(stage)},
                 {"output_bytes", stage.output_bytes()},
                 {"forward_us", stage.forward_us()},
                 {"backward_us", stage.backward_us()},
                 {"limit_bytes", limit == 0 ? Json(nullptr) : Json(limit)},
                 {"fits", limit == 0 || PeakBytes(stage) <= limit}};
    const std::string worker = NameOf(workers, stage.rank());
    item["worker"] = worker.empty() ? Json(nullptr) : Json(worker);
    json["stages"].push_back(std::move(item));
  }
  json["actions"] = Json::array();
  for (const v1::RankActions& list : plan.train()) {
    Json words = Json::array();
    for (const v1::Action& proto : list.actions()) {
      const absl::StatusOr<Action> action = FromProto(proto);
      if (action.ok() && IsCompute(action->kind)) words.push_back(ToText(*action));
    }
    json["actions"].push_back(std::move(words));
  }
  json["notes"] = Advice(spec, plan);
  return json.dump(2);
}

}  // namespace penstock
