#include "coordinator/plan/render.h"

#include <algorithm>
#include <optional>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "coordinator/plan/advice.h"
#include "coordinator/plan/amounts.h"
#include "coordinator/plan/rank_memory.h"
#include "coordinator/plan/render_facts.h"

namespace penstock {
namespace {

// All names where they are short, else the first and the last.
std::string LayersText(const std::vector<std::string>& names) {
  constexpr size_t kWidth = 28;
  std::string all = absl::StrJoin(names, " ");
  if (all.size() <= kWidth || names.size() < 3) return all;
  return absl::StrCat(names.front(), " .. ", names.back(), " (", names.size(), ")");
}

std::string Headline(const v1::JobSpec& spec, const v1::Plan& plan) {
  const int stages = plan.stages_size(), ranks = plan.train_size();
  return absl::StrCat(JobLine(spec, plan), "; ", stages, stages == 1 ? " stage" : " stages",
                      stages == ranks ? "" : absl::StrCat(" on ", ranks, ranks == 1 ? " rank" : " ranks"),
                      ", schedule ", plan.schedule(), "\n");
}

// The cells of a stage that are its own.
std::vector<std::string> StageCells(const v1::JobSpec& spec, const v1::Plan& plan, int s) {
  const v1::Stage& stage = plan.stages(s);
  return {absl::StrCat(s), LayersText(LayerNames(spec, stage)), CountAmount(stage.parameter_bytes() / 4.0),
          BytesAmount(stage.state_bytes()), BytesAmount(stage.peak_activation_bytes())};
}

// A rank's stages stand together; what belongs to the rank stands in the line of its first.
std::string StageTable(const PlanRequest& request, const v1::Plan& plan, const std::vector<std::string>& workers) {
  const bool ranks_differ = plan.stages_size() != plan.train_size();
  std::vector<std::vector<std::string>> rows = {
      {"STAGE", "LAYERS", "PARAMS", "STATE", "ACTIV.", "PEAK", "LIMIT", "FIT", "TIME/MB", "WORKER"}};
  std::vector<bool> right = {false, false, true, true, true, true, true, false, true, false};
  if (ranks_differ) {
    rows[0].insert(rows[0].begin(), "RANK");
    right.insert(right.begin(), false);
  }
  const std::vector<uint64_t> peaks = RankPeakBytes(plan);
  const std::vector<std::vector<int>> stages = StagesByRank(plan);
  const auto add_row = [&](size_t rank, int s, bool first) {
    std::vector<std::string>& row = rows.emplace_back();
    if (ranks_differ) row.push_back(first ? absl::StrCat(rank) : "");
    for (std::string& cell : StageCells(request.spec, plan, s)) row.push_back(std::move(cell));
    const uint64_t limit = LimitOf(request, rank);
    const std::string worker = WorkerOf(workers, rank);
    row.push_back(first ? BytesAmount(peaks[rank]) : "");
    row.push_back(!first ? "" : limit == 0 ? "-" : BytesAmount(limit));
    row.push_back(!first ? "" : limit == 0 || peaks[rank] <= limit ? "yes" : "NO");
    const v1::Stage& stage = plan.stages(s);
    row.push_back(TimeAmount(stage.forward_us() + stage.backward_us() + stage.recompute_us()));
    row.push_back(!first ? "" : worker.empty() ? absl::StrCat("(rank ", rank, ")") : worker);
  };
  if (ranks_differ) {
    for (size_t rank = 0; rank < stages.size(); ++rank) {
      for (const int s : stages[rank]) add_row(rank, s, s == stages[rank].front());
    }
  } else {
    for (int s = 0; s < plan.stages_size(); ++s) add_row(plan.stages(s).rank(), s, true);
  }
  return AlignColumns(rows, right);
}

}  // namespace

std::string RenderPlanText(const PlanRequest& request, const PlannedJob& planned,
                           const std::vector<std::string>& workers) {
  const v1::JobSpec& spec = request.spec;
  const v1::Plan& plan = planned.plan;
  std::string text = absl::StrCat(Headline(spec, plan), StageTable(request, plan, workers));
  absl::StrAppendFormat(&text, "Bubble %.1f %% of all ranks' time (GPipe's", 100 * plan.predicted_bubble());
  if (const std::optional<MoreMicroBatches> more = FindMoreMicroBatches(request, plan)) {
    absl::StrAppendFormat(&text, "; %d micro-batches would give %.1f %%", more->micro_batches, 100 * more->bubble);
  }
  absl::StrAppend(&text, ")");
  const double step_us = plan.predicted_step_us();
  const Throughput throughput = ThroughputOf(spec);
  if (step_us > 0) {
    absl::StrAppend(&text, "   Step ~", TimeAmount(step_us), ", ", CountAmount(throughput.per_step * 1e6 / step_us),
                    " ", throughput.unit, "/s, ", spec.train().steps(), " steps in ",
                    LongTimeAmount(step_us * static_cast<double>(spec.train().steps())));
  }
  absl::StrAppend(&text, "\n");
  absl::StrAppend(&text, "Times are ", plan.cost_source(), "\n");
  for (const std::string& note : planned.notes) absl::StrAppend(&text, "note: ", note, "\n");
  if (const std::optional<BetterSplit> better = FindBetterSplit(request, plan)) {
    absl::StrAppend(&text, "note: ", ToText(*better), "\n");
  }
  if (const std::optional<WithRecompute> again = FindRecompute(request, plan)) {
    absl::StrAppend(&text, "note: ", ToText(*again), "\n");
  }
  return text;
}

}  // namespace penstock
