#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "cli/simulation.h"
#include "cli/text_table.h"
#include "coordinator/plan/critical_path.h"
#include "coordinator/plan/timeline.h"
#include "nlohmann/json.hpp"

namespace penstock {
namespace {

using Json = nlohmann::ordered_json;

// Ranks in the text, and turns of the critical path: what a screen holds.
constexpr size_t kShownRanks = 32;
constexpr size_t kShownTurns = 12;

Json ToJson(const SimulatedSchedule& simulated) {
  const Simulation& simulation = simulated.simulation;
  Json json;
  json["schedule"] = simulated.name;
  json["makespan"] = simulation.makespan_us;
  json["span"] = simulation.span_us;
  json["bubble"] = {{"gpipe", simulation.bubbles.gpipe},
                    {"megatron", simulation.bubbles.megatron},
                    {"zero_bubble", simulation.bubbles.zero_bubble}};
  json["peak_activations"] = Json::array();
  for (size_t rank = 0; rank < simulated.table.size(); ++rank) {
    json["peak_activations"].push_back(static_cast<double>(simulation.rank_peak_activation_bytes[rank]) /
                                       simulated.bytes_per_activation[rank]);
  }
  json["actions"] = Json::array();
  for (const ActionList& list : simulated.table) json["actions"].push_back(ToWords(list));
  return json;
}

std::string Number(double value) {
  return value >= 1e6 ? absl::StrFormat("%.0f", value) : absl::StrFormat("%.6g", value);
}
std::string Percent(double share) { return absl::StrFormat("%.2f %%", 100 * share); }

double Peak(const SimulatedSchedule& simulated, size_t rank) {
  return static_cast<double>(simulated.simulation.rank_peak_activation_bytes[rank]) /
         simulated.bytes_per_activation[rank];
}

double LargestPeak(const SimulatedSchedule& simulated) {
  double largest = 0;
  for (size_t rank = 0; rank < simulated.table.size(); ++rank) largest = std::max(largest, Peak(simulated, rank));
  return largest;
}

std::string Count(size_t count, const char* what) { return absl::StrCat(count, " ", what, count == 1 ? "" : "es"); }

std::string Title(const SimulatedSchedule& simulated) {
  const size_t ranks = simulated.table.size();
  const int stages = simulated.placement.num_stages();
  return absl::StrCat(simulated.name, ": ", ranks, ranks == 1 ? " rank, " : " ranks, ",
                      static_cast<size_t>(stages) == ranks ? "" : absl::StrCat(stages, " stages, "),
                      Count(simulated.micro_batches, "micro-batch"));
}

// "0F0 > 1F0 > 2F0 > 3F0 to 3B7 > 2B7": a turn for each change of rank.
std::string PathText(const Simulation& simulation, const CriticalPath& path) {
  std::vector<std::string> turns;
  for (size_t i = 0; i < path.steps.size();) {
    size_t end = i + 1;
    while (end < path.steps.size() && path.steps[end].rank == path.steps[i].rank) ++end;
    const auto name = [&](size_t step) {
      return ToText(simulation.actions[path.steps[step].rank][path.steps[step].index].action);
    };
    turns.push_back(end == i + 1 ? name(i) : absl::StrCat(name(i), " to ", name(end - 1)));
    i = end;
  }
  std::string text;
  for (size_t i = 0; i < turns.size(); ++i) {
    if (turns.size() > kShownTurns && i == kShownTurns / 2) {
      i = turns.size() - kShownTurns / 2;
      absl::StrAppend(&text, " > ...");
    }
    absl::StrAppend(&text, text.empty() ? "" : " > ", turns[i]);
  }
  return text;
}

std::string CriticalText(const Simulation& simulation) {
  const CriticalPath path = FindCriticalPath(simulation);
  std::string text = absl::StrCat("Critical path: ", Number(path.compute_us), " computing");
  if (path.transfer_us > 0) absl::StrAppend(&text, ", ", Number(path.transfer_us), " between ranks");
  if (path.queue_us > 1e-9 * simulation.makespan_us) {
    absl::StrAppend(&text, ", ", Number(path.queue_us), " behind others on a link");
  }
  return absl::StrCat(text, "\n  ", PathText(simulation, path), "\n");
}

std::string RanksText(const SimulatedSchedule& simulated, int width) {
  using Align = TableColumn::Align;
  TextTable table({{"RANK"}, {"BUSY", Align::kRight}, {"IDLE", Align::kRight}, {"PEAK", Align::kRight}});
  const Simulation& simulation = simulated.simulation;
  const size_t ranks = simulated.table.size();
  for (size_t rank = 0; rank < std::min(ranks, kShownRanks); ++rank) {
    const double idle = simulation.makespan_us > 0 ? 1 - simulation.busy_us[rank] / simulation.makespan_us : 0;
    table.AddRow({absl::StrCat(rank), Number(simulation.busy_us[rank]), Percent(std::max(0.0, idle)),
                  Number(Peak(simulated, rank))});
  }
  std::string text = table.Render(width);
  if (ranks > kShownRanks) absl::StrAppend(&text, "(", ranks - kShownRanks, " ranks more)\n");
  return text + "PEAK is in units of a micro-batch's activations on the rank.\n";
}

}  // namespace

std::string SimulationJson(const SimulatedSchedule& simulated) { return ToJson(simulated).dump(2); }

std::string SimulationJson(const std::vector<ComparedSchedule>& compared) {
  Json list = Json::array();
  for (const ComparedSchedule& one : compared) {
    if (one.simulated.ok()) {
      list.push_back(ToJson(*one.simulated));
    } else {
      list.push_back({{"schedule", one.name}, {"error", one.simulated.status().message()}});
    }
  }
  return list.dump(2);
}

std::string SimulationText(const SimulatedSchedule& simulated, int width) {
  const Simulation& simulation = simulated.simulation;
  std::string text =
      absl::StrCat(Title(simulated), "\nMakespan ", Number(simulation.makespan_us), ", span ",
                   Number(simulation.span_us), "\nBubble ", Percent(simulation.bubbles.gpipe),
                   " of all ranks' time (GPipe), ", Percent(simulation.bubbles.megatron), " of the work (Megatron), ",
                   Percent(simulation.bubbles.zero_bubble), " of the span (zero-bubble)\n");
  if (!simulation.actions.empty()) absl::StrAppend(&text, CriticalText(simulation));
  absl::StrAppend(&text, "\n", RanksText(simulated, width));
  if (simulation.actions.empty()) return text;
  TimelineOptions options;
  options.unit = "";
  options.width = width;
  return absl::StrCat(text, "\n", TimelineText(simulation, options));
}

std::string SimulationText(const std::vector<ComparedSchedule>& compared, int width) {
  using Align = TableColumn::Align;
  TextTable table({{"SCHEDULE"},
                   {"STAGES", Align::kRight},
                   {"MAKESPAN", Align::kRight},
                   {"SPAN", Align::kRight},
                   {"GPIPE", Align::kRight},
                   {"MEGATRON", Align::kRight},
                   {"ZERO-BUBBLE", Align::kRight},
                   {"PEAK", Align::kRight}});
  std::string rest;
  for (const ComparedSchedule& one : compared) {
    if (!one.simulated.ok()) {
      absl::StrAppend(&rest, one.name, ": ", one.simulated.status().message(), "\n");
      continue;
    }
    const Simulation& simulation = one.simulated->simulation;
    table.AddRow({one.name, absl::StrCat(one.simulated->placement.num_stages()), Number(simulation.makespan_us),
                  Number(simulation.span_us), Percent(simulation.bubbles.gpipe), Percent(simulation.bubbles.megatron),
                  Percent(simulation.bubbles.zero_bubble), Number(LargestPeak(*one.simulated))});
  }
  return absl::StrCat(table.Render(width), rest.empty() ? "" : "\n", rest,
                      "\nThe bubble by three definitions. PEAK is the fullest rank's, in units of a micro-batch's "
                      "activations.\n");
}

std::string SimulationSvg(const SimulatedSchedule& simulated) {
  const Simulation& simulation = simulated.simulation;
  TimelineOptions options;
  options.title = absl::StrCat(Title(simulated), "; makespan ", Number(simulation.makespan_us), ", bubble ",
                               Percent(simulation.bubbles.gpipe));
  options.unit = "";
  options.critical_path = true;
  options.memory_text = [&](int rank, int64_t) { return Number(Peak(simulated, rank)); };
  return TimelineSvg(simulation, options);
}

}  // namespace penstock
