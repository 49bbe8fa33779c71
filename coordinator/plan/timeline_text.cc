#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "coordinator/plan/timeline.h"
#include "coordinator/plan/timeline_shape.h"

namespace penstock {
namespace {

// Without a terminal: what a page of text takes.
constexpr int kUnboundedWidth = 200;
// A narrower picture shows nothing.
constexpr int kMinColumns = 16;
// The shortest action's columns, at most: wider says no more.
constexpr int kMostColumnsAnAction = 4;

// Columns per microsecond. A whole number of columns for the shortest action, where that is possible, so that equal
// actions look equal.
double Scale(const Simulation& simulation, int columns) {
  const double shortest = timeline::ShortestAction(simulation);
  if (simulation.makespan_us <= 0 || shortest <= 0) return 0;
  const double most = columns / simulation.makespan_us;
  const double whole = std::floor(most * shortest + 1e-9);
  return whole >= 1 ? std::min<double>(whole, kMostColumnsAnAction) / shortest : most;
}

std::string Row(const std::vector<TimedAction>& list, double scale, int columns) {
  std::string row(columns, '.');
  const int first_stage = timeline::FirstStage(list);
  for (const TimedAction& timed : list) {
    // Neighbouring actions share a boundary, so that columns are neither doubled nor left out.
    const int begin = static_cast<int>(std::lround(timed.start_us * scale));
    const int end = std::min(columns, static_cast<int>(std::lround(timed.end_us * scale)));
    if (end <= begin) continue;
    const std::string name = timeline::Name(timed.action, first_stage);
    std::string cell(end - begin, '-');
    const size_t shown = name.size() <= cell.size() ? name.size() : 1;
    cell.replace(0, shown, name, 0, shown);
    row.replace(begin, cell.size(), cell);
  }
  return row;
}

// What the letters mean, in lines of at most `width` columns.
std::string Legend(const Simulation& simulation, int width) {
  std::vector<std::string> entries;
  for (const timeline::Kind& kind : timeline::KindsIn(simulation)) {
    entries.push_back(absl::StrCat(std::string(1, kind.letter), " ", kind.meaning));
  }
  entries.push_back(". idle");
  if (timeline::HasLaterStages(simulation)) entries.push_back("small letters: a rank's later stages");
  std::string legend, line;
  for (const std::string& entry : entries) {
    if (!line.empty() && static_cast<int>(line.size() + 2 + entry.size()) > width) {
      absl::StrAppend(&legend, line, ",\n");
      line.clear();
    }
    absl::StrAppend(&line, line.empty() ? "" : ", ", entry);
  }
  return absl::StrCat(legend, line, "\n");
}

}  // namespace

std::string TimelineText(const Simulation& simulation, const TimelineOptions& options) {
  const timeline::ShownRanks shown = timeline::Show(simulation);
  const std::string last_name = absl::StrCat("rank ", simulation.actions.size() - 1);
  const int margin = static_cast<int>(last_name.size()) + 2;
  const int width = options.width > 0 ? options.width : kUnboundedWidth;
  const int available = std::max(kMinColumns, width - margin);
  const double scale = Scale(simulation, available);
  const int columns = std::max(1, static_cast<int>(std::lround(simulation.makespan_us * scale)));
  std::string text;
  for (size_t i = 0; i < shown.ranks.size(); ++i) {
    if (i == shown.gap_after && shown.left_out > 0) absl::StrAppend(&text, "(", shown.left_out, " ranks more)\n");
    const int rank = shown.ranks[i];
    absl::StrAppend(&text, absl::StrFormat("%-*s", margin, absl::StrCat("rank ", rank)),
                    Row(simulation.actions[rank], scale, columns), "\n");
  }
  const std::string end = timeline::TimeText(simulation.makespan_us, options.unit, options.unit_us);
  const int gap = std::max(1, columns - 1 - static_cast<int>(end.size()));
  absl::StrAppend(&text, std::string(margin, ' '), "0", std::string(gap, ' '), end, "\n");
  return text + Legend(simulation, width);
}

}  // namespace penstock
