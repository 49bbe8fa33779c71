#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "coordinator/plan/amounts.h"
#include "coordinator/plan/choice.h"
#include "coordinator/plan/rank_memory.h"
#include "coordinator/plan/render.h"
#include "coordinator/plan/render_facts.h"

namespace penstock {
namespace {

// More do not fit a line; then the fullest stands for all.
constexpr size_t kShownRanks = 8;

std::string PeaksText(const v1::Plan& plan) {
  const std::vector<uint64_t> peaks = RankPeakBytes(plan);
  if (peaks.size() > kShownRanks) {
    return absl::StrCat("at most ", BytesAmount(*std::max_element(peaks.begin(), peaks.end())));
  }
  return absl::StrJoin(peaks, ", ", [](std::string* out, uint64_t peak) { out->append(BytesAmount(peak)); });
}

// The first line: a malformed schedule prints its table below.
std::string FirstLine(absl::string_view text) { return std::string(text.substr(0, text.find('\n'))); }

}  // namespace

std::string RenderComparisonText(const PlanRequest& request, const std::vector<ScheduleRow>& rows) {
  const size_t best = BestRow(rows);
  const v1::Plan& plan = rows[best].planned.plan;
  std::vector<std::vector<std::string>> cells = {
      {"", "SCHEDULE", "STAGES", "STEP", "MAKESPAN", "SPAN", "BUBBLE", "FIT", "PEAK BY RANK"}};
  std::vector<std::string> impossible;
  for (const size_t i : RowsByStep(rows)) {
    const ScheduleRow& row = rows[i];
    const std::string stages =
        row.chunks == 1 ? absl::StrCat(row.stages) : absl::StrCat(row.stages, " (", row.chunks, " a rank)");
    if (!row.status.ok()) {
      impossible.push_back(absl::StrCat(NameOf(row), ": ", FirstLine(row.status.message())));
      continue;
    }
    const Simulation& simulation = row.planned.simulation;
    cells.push_back({i == best ? "*" : "", row.schedule, stages, TimeAmount(row.planned.plan.predicted_step_us()),
                     TimeAmount(simulation.makespan_us), TimeAmount(simulation.span_us),
                     absl::StrFormat("%.1f %%", 100 * simulation.bubbles.gpipe), row.missing_bytes == 0 ? "yes" : "NO",
                     PeaksText(row.planned.plan)});
  }
  std::string text = absl::StrCat(JobLine(request.spec, plan), "; ", plan.train_size(),
                                  plan.train_size() == 1 ? " rank\n" : " ranks\n");
  absl::StrAppend(&text, AlignColumns(cells, {false, false, false, true, true, true, true, false, false}));
  absl::StrAppend(&text, "Step is the makespan and the update; bubbles are GPipe's. Times are ", plan.cost_source(),
                  "\n");
  for (const std::string& line : impossible) absl::StrAppend(&text, "cannot run: ", line, "\n");
  absl::StrAppend(&text, "note: ", ChoiceText(rows, best, /*alone=*/false), "\n");
  return text;
}

}  // namespace penstock
