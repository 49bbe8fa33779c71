// Comparisons as text and as JSON.
#include <cmath>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "cli/comparison.h"
#include "cli/text_table.h"
#include "cli/units.h"
#include "common/proto_json.h"

namespace penstock {
namespace {

using Json = nlohmann::ordered_json;
using Unit = std::string (*)(double);

constexpr TableColumn::Align kLeft = TableColumn::Align::kLeft;
constexpr TableColumn::Align kRight = TableColumn::Align::kRight;

std::string Seconds(double seconds) {
  return seconds >= 1 ? absl::StrFormat("%.3f s", seconds) : absl::StrFormat("%.3f ms", 1e3 * seconds);
}

std::string Bytes(double bytes) { return BytesText(static_cast<uint64_t>(bytes)); }

std::string Share(double share) { return absl::StrFormat("%.1f %%", 100 * share); }

std::string Text(const std::optional<double>& value, Unit unit) { return value.has_value() ? unit(*value) : "-"; }

void AddFigure(const std::string& what, const Figure& figure, Unit unit, const std::string& difference,
               TextTable* table) {
  table->AddRow({what, Text(figure.predicted, unit), Text(figure.measured, unit), difference});
}

TextTable FigureTable(const std::string& what) {
  return TextTable(
      {{what, kLeft, TableColumn::Fit::kCut}, {"PREDICTED", kRight}, {"MEASURED", kRight}, {"DIFFERENCE", kRight}});
}

Json ToJson(const Figure& figure) {
  const auto number = [](const std::optional<double>& value) {
    return value.has_value() ? Json(*value) : Json(nullptr);
  };
  return {{"predicted", number(figure.predicted)},
          {"measured", number(figure.measured)},
          {"difference", number(figure.Difference())}};
}

}  // namespace

std::string ComparisonText(const Comparison& comparison, int width) {
  std::string text = absl::StrCat("job ", comparison.job, ", ", comparison.schedule, "; medians over ",
                                  comparison.steps, " steps; the plan's costs: ", comparison.cost_source, "\n\n");
  TextTable whole = FigureTable("STEP");
  AddFigure("step", comparison.step_seconds, &Seconds, comparison.step_seconds.DifferenceText(), &whole);
  AddFigure("  pass (makespan)", comparison.pass_seconds, &Seconds, comparison.pass_seconds.DifferenceText(), &whole);
  AddFigure("  vote, decision, update", comparison.update_seconds, &Seconds, comparison.update_seconds.DifferenceText(),
            &whole);
  const bool both = comparison.bubble.predicted.has_value() && comparison.bubble.measured.has_value();
  const double points = both ? 100 * (*comparison.bubble.measured - *comparison.bubble.predicted) : 0;
  AddFigure("bubble (GPipe's: idle share of the pass)", comparison.bubble, &Share,
            both ? absl::StrFormat("%+.1f points", std::abs(points) < 0.05 ? 0.0 : points) : "-", &whole);
  absl::StrAppend(&text, whole.Render(width), "\n");
  TextTable ranks = FigureTable("RANK");
  for (const RankComparison& rank : comparison.ranks) {
    const std::string name = absl::StrCat(rank.rank, " ");
    AddFigure(absl::StrCat(name, "computes"), rank.busy_seconds, &Seconds, rank.busy_seconds.DifferenceText(), &ranks);
    AddFigure(absl::StrCat(name, "waits"), rank.idle_seconds, &Seconds, rank.idle_seconds.DifferenceText(), &ranks);
    AddFigure(absl::StrCat(name, "state"), rank.state_bytes, &Bytes, rank.state_bytes.DifferenceText(), &ranks);
    AddFigure(absl::StrCat(name, "peak memory"), rank.peak_bytes, &Bytes, rank.peak_bytes.DifferenceText(), &ranks);
  }
  absl::StrAppend(&text, ranks.Render(width), "\n");
  TextTable stages = FigureTable("STAGE, MICRO-BATCH");
  for (const StageComparison& stage : comparison.stages) {
    const std::pair<const char*, const Figure*> kinds[] = {{"F forward", &stage.forward_seconds},
                                                           {"I input gradient", &stage.input_gradient_seconds},
                                                           {"W weight gradient", &stage.weight_gradient_seconds},
                                                           {"R recompute", &stage.recompute_seconds}};
    for (const auto& [name, figure] : kinds) {
      if (!figure->predicted.has_value() && !figure->measured.has_value()) continue;
      AddFigure(absl::StrCat(stage.stage, " (", stage.layers, ") ", name), *figure, &Seconds, figure->DifferenceText(),
                &stages);
    }
  }
  absl::StrAppend(&text, stages.Render(width), "\n", comparison.verdict, "\n");
  return text;
}

std::string ComparisonJson(const Comparison& comparison) {
  Json json = {{"job", comparison.job},
               {"schedule", comparison.schedule},
               {"cost_source", comparison.cost_source},
               {"steps", comparison.steps},
               {"step_seconds", ToJson(comparison.step_seconds)},
               {"pass_seconds", ToJson(comparison.pass_seconds)},
               {"update_seconds", ToJson(comparison.update_seconds)},
               {"bubble", ToJson(comparison.bubble)},
               {"ranks", Json::array()},
               {"stages", Json::array()},
               {"verdict", comparison.verdict}};
  for (const RankComparison& rank : comparison.ranks) {
    json["ranks"].push_back({{"rank", rank.rank},
                             {"worker", rank.worker},
                             {"busy_seconds", ToJson(rank.busy_seconds)},
                             {"idle_seconds", ToJson(rank.idle_seconds)},
                             {"state_bytes", ToJson(rank.state_bytes)},
                             {"peak_bytes", ToJson(rank.peak_bytes)}});
  }
  for (const StageComparison& stage : comparison.stages) {
    json["stages"].push_back({{"stage", stage.stage},
                              {"rank", stage.rank},
                              {"layers", stage.layers},
                              {"forward_seconds", ToJson(stage.forward_seconds)},
                              {"input_gradient_seconds", ToJson(stage.input_gradient_seconds)},
                              {"weight_gradient_seconds", ToJson(stage.weight_gradient_seconds)},
                              {"recompute_seconds", ToJson(stage.recompute_seconds)}});
  }
  return JsonText(json, 1);
}

}  // namespace penstock
