#include "coordinator/plan/choice.h"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <numeric>
#include <tuple>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/logging.h"
#include "coordinator/plan/rank_memory.h"

namespace penstock {
namespace {

constexpr double kEqualSteps = 0.01;
// What a digit behind the point shows.
constexpr double kNoticeable = 0.0005;
// More in one sentence are not read; `--schedule all` has them.
constexpr size_t kNamedOthers = 3;

double StepUs(const ScheduleRow& row) { return row.planned.plan.predicted_step_us(); }

uint64_t LargestRankBytes(const ScheduleRow& row) {
  const std::vector<uint64_t> bytes = RankPeakBytes(row.planned.plan);
  return bytes.empty() ? 0 : *std::max_element(bytes.begin(), bytes.end());
}

}  // namespace

std::string NameOf(const ScheduleRow& row) {
  return row.chunks == 1 ? row.schedule : absl::StrCat(row.schedule, " with ", row.chunks, " stages a rank");
}

std::vector<size_t> RowsByStep(const std::vector<ScheduleRow>& rows) {
  std::vector<size_t> order(rows.size());
  std::iota(order.begin(), order.end(), 0);
  const auto step = [&rows](size_t i) {
    return rows[i].status.ok() ? StepUs(rows[i]) : std::numeric_limits<double>::infinity();
  };
  std::stable_sort(order.begin(), order.end(), [&step](size_t a, size_t b) { return step(a) < step(b); });
  return order;
}

size_t BestRow(const std::vector<ScheduleRow>& rows) {
  uint64_t least_missing = std::numeric_limits<uint64_t>::max();
  double shortest = std::numeric_limits<double>::infinity();
  for (const ScheduleRow& row : rows) {
    if (row.status.ok()) least_missing = std::min(least_missing, row.missing_bytes);
  }
  const auto eligible = [&](const ScheduleRow& row) { return row.status.ok() && row.missing_bytes == least_missing; };
  for (const ScheduleRow& row : rows) {
    if (eligible(row)) shortest = std::min(shortest, StepUs(row));
  }
  size_t best = rows.size();
  for (size_t i = 0; i < rows.size(); ++i) {
    if (!eligible(rows[i]) || StepUs(rows[i]) > shortest * (1 + kEqualSteps)) continue;
    if (best == rows.size() || LargestRankBytes(rows[i]) < LargestRankBytes(rows[best])) best = i;
  }
  CHECK_LT(best, rows.size());
  return best;
}

std::string ChoiceText(const std::vector<ScheduleRow>& rows, size_t best, bool alone) {
  std::vector<std::tuple<double, size_t>> others;
  size_t too_large = 0, impossible = 0;
  for (size_t i = 0; i < rows.size(); ++i) {
    if (i == best) continue;
    if (!rows[i].status.ok()) {
      ++impossible;
    } else if (rows[i].missing_bytes > rows[best].missing_bytes) {
      ++too_large;
    } else {
      others.emplace_back(StepUs(rows[i]), i);
    }
  }
  std::sort(others.begin(), others.end());
  std::string text = absl::StrCat("schedule auto ", alone ? "took " : "takes ", NameOf(rows[best]));
  for (size_t n = 0; n < others.size() && n < kNamedOthers; ++n) {
    const auto& [step_us, i] = others[n];
    const double longer = StepUs(rows[best]) > 0 ? step_us / StepUs(rows[best]) - 1 : 0;
    absl::StrAppend(&text, n == 0 ? ": " : ", ", NameOf(rows[i]));
    if (longer >= kNoticeable) {
      absl::StrAppendFormat(&text, " would take %.1f %% longer", 100 * longer);
    } else if (longer <= -kNoticeable) {
      absl::StrAppendFormat(&text, " would take %.1f %% less but more memory", -100 * longer);
    } else {
      absl::StrAppend(&text, " would take as long",
                      LargestRankBytes(rows[i]) > LargestRankBytes(rows[best]) ? " and more memory" : "");
    }
  }
  if (others.size() > kNamedOthers) absl::StrAppend(&text, ", ", others.size() - kNamedOthers, " more longer still");
  if (too_large > 0) absl::StrAppend(&text, "; ", too_large, too_large == 1 ? " does" : " do", " not fit");
  if (alone && impossible > 0) {
    absl::StrAppend(&text, "; ", impossible, " cannot run this job (--schedule all says why)");
  }
  return text;
}

}  // namespace penstock
