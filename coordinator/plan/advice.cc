#include "coordinator/plan/advice.h"

#include <algorithm>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "coordinator/plan/amounts.h"
#include "coordinator/plan/rank_memory.h"
#include "coordinator/plan/variants.h"

namespace penstock {
namespace {

// Less than this is within the error of the estimates and not worth a sentence.
constexpr double kNoticeableGain = 0.02;
constexpr double kNoticeableBubble = 0.05;
// A stage this far above the mean is worth a sentence.
constexpr double kNoticeableImbalance = 0.1;
// A rank with less of its memory left may fail on what no plan counts: the allocator's rounding, a library's buffers.
constexpr double kShortOfMemory = 0.1;

double StageUs(const v1::Stage& stage) { return stage.forward_us() + stage.backward_us(); }

absl::StatusOr<PlannedJob> PlanOther(const PlanRequest& request, const v1::JobSpec& spec) {
  return PlanJob({spec, request.measured, request.memory_bytes});
}

}  // namespace

std::optional<BetterSplit> FindBetterSplit(const PlanRequest& request, const v1::Plan& plan) {
  if (plan.stages_size() < 2) return std::nullopt;
  // What was searched for is the best there is.
  const v1::Pipeline& pipeline = request.spec.pipeline();
  if (!pipeline.has_plan() && pipeline.split() == v1::Pipeline::SPLIT_AUTO) return std::nullopt;
  v1::JobSpec variant = WithKeysOf(request.spec, plan);
  const auto now = PlanOther(request, variant);
  variant.mutable_pipeline()->set_split(v1::Pipeline::SPLIT_AUTO);
  const auto other = PlanOther(request, variant);
  if (!now.ok() || !other.ok()) return std::nullopt;
  const v1::Plan& better_plan = other->plan;
  if (better_plan.predicted_step_us() > now->plan.predicted_step_us() * (1 - kNoticeableGain)) return std::nullopt;
  BetterSplit better;
  double total = 0;
  for (int s = 0; s < plan.stages_size(); ++s) {
    total += StageUs(plan.stages(s));
    if (StageUs(plan.stages(s)) > StageUs(plan.stages(better.slowest_stage))) better.slowest_stage = s;
  }
  better.over_mean = StageUs(plan.stages(better.slowest_stage)) * plan.stages_size() / total - 1;
  if (better.over_mean < kNoticeableImbalance) return std::nullopt;
  for (const v1::Stage& stage : better_plan.stages()) {
    better.sizes.push_back(static_cast<int>(stage.end_layer() - stage.first_layer()));
  }
  better.step_us = better_plan.predicted_step_us();
  return better;
}

std::optional<MoreMicroBatches> FindMoreMicroBatches(const PlanRequest& request, const v1::Plan& plan) {
  const uint32_t twice = 2 * plan.micro_batches();
  if (plan.predicted_bubble() < kNoticeableBubble || twice > request.spec.train().batch_size()) return std::nullopt;
  v1::JobSpec variant = WithKeysOf(request.spec, plan);
  variant.mutable_pipeline()->set_micro_batches(twice);
  if (variant.pipeline().group() > 0) variant.mutable_pipeline()->set_group(0);
  const auto other = PlanOther(request, variant);
  if (!other.ok() || other->plan.predicted_step_us() > plan.predicted_step_us() * (1 - kNoticeableGain)) {
    return std::nullopt;
  }
  return MoreMicroBatches{static_cast<int>(twice), other->plan.predicted_bubble(), other->plan.predicted_step_us()};
}

std::optional<WithRecompute> FindRecompute(const PlanRequest& request, const v1::Plan& plan) {
  if (request.spec.pipeline().recompute() != v1::Pipeline::RECOMPUTE_NONE) return std::nullopt;
  const std::vector<uint64_t> peaks = RankPeakBytes(plan);
  WithRecompute found;
  found.free_share = 1;
  for (size_t rank = 0; rank < std::min(peaks.size(), request.memory_bytes.size()); ++rank) {
    if (request.memory_bytes[rank] == 0) continue;
    const double free = 1 - static_cast<double>(peaks[rank]) / static_cast<double>(request.memory_bytes[rank]);
    if (free < found.free_share) {
      found.rank = static_cast<int>(rank);
      found.free_share = free;
    }
  }
  if (found.free_share >= kShortOfMemory) return std::nullopt;
  v1::JobSpec variant = WithKeysOf(request.spec, plan);
  variant.mutable_pipeline()->set_recompute(v1::Pipeline::RECOMPUTE_BOUNDARY);
  const auto other = PlanOther(request, variant);
  if (!other.ok()) return std::nullopt;
  found.bytes = RankPeakBytes(other->plan)[found.rank];
  if (found.bytes >= peaks[found.rank]) return std::nullopt;
  found.longer = other->plan.predicted_step_us() / plan.predicted_step_us() - 1;
  return found;
}

std::string ToText(const BetterSplit& better) {
  return absl::StrFormat("stage %d takes %.0f %% longer than the mean; split [%s] would balance better",
                         better.slowest_stage, 100 * better.over_mean, absl::StrJoin(better.sizes, ", "));
}

std::string ToText(const WithRecompute& again) {
  return absl::StrFormat("rank %d %s; recompute: boundary would need %s there, and %.0f %% more time", again.rank,
                         again.free_share < 0
                             ? "does not fit its worker"
                             : absl::StrFormat("has %.0f %% of its memory left", 100 * again.free_share),
                         BytesAmount(again.bytes), 100 * std::max(0.0, again.longer));
}

std::vector<std::string> Advice(const PlanRequest& request, const v1::Plan& plan) {
  std::vector<std::string> sentences;
  if (const auto better = FindBetterSplit(request, plan)) sentences.push_back(ToText(*better));
  if (const auto more = FindMoreMicroBatches(request, plan)) {
    sentences.push_back(
        absl::StrFormat("%d micro-batches would give a bubble of %.1f %%", more->micro_batches, 100 * more->bubble));
  }
  if (const auto again = FindRecompute(request, plan)) sentences.push_back(ToText(*again));
  return sentences;
}

}  // namespace penstock
