#include "coordinator/plan/advice.h"

#include <algorithm>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "coordinator/plan/planner.h"
#include "coordinator/plan/schedule.h"

namespace penstock {
namespace {

// Less than this is within the error of the estimates and not worth a sentence.
constexpr double kNoticeableGain = 0.02;
constexpr double kNoticeableBubble = 0.05;
// A stage this far above the mean is worth a sentence.
constexpr double kNoticeableImbalance = 0.1;

double StageUs(const v1::Stage& stage) { return stage.forward_us() + stage.backward_us(); }

// The plan's own choices as pipeline keys, so that one of them can be changed. A custom schedule has no name to make it
// anew from; gpipe stands in for it.
v1::JobSpec WithKeysOf(const v1::JobSpec& spec, const v1::Plan& plan) {
  v1::JobSpec variant = spec;
  v1::Pipeline* pipeline = variant.mutable_pipeline();
  pipeline->clear_plan();
  pipeline->set_stages(plan.stages_size());
  pipeline->set_micro_batches(plan.micro_batches());
  const std::vector<std::string>& names = ScheduleNames();
  const bool named = std::find(names.begin(), names.end(), plan.schedule()) != names.end();
  pipeline->set_schedule(named ? plan.schedule() : names.front());
  pipeline->set_split(v1::Pipeline::SPLIT_EXPLICIT);
  pipeline->clear_split_sizes();
  for (const v1::Stage& stage : plan.stages()) pipeline->add_split_sizes(stage.end_layer() - stage.first_layer());
  return variant;
}

std::string GiB(uint64_t bytes) {
  return bytes < uint64_t{1} << 30 ? absl::StrFormat("%.1f MiB", static_cast<double>(bytes) / (1 << 20))
                                   : absl::StrFormat("%.2f GiB", static_cast<double>(bytes) / (1 << 30));
}

// What each rank holds at once, at most.
std::vector<uint64_t> RankBytes(const v1::Plan& plan) {
  std::vector<uint64_t> bytes(plan.train_size(), 0);
  for (const v1::Stage& stage : plan.stages()) {
    bytes[stage.rank()] += stage.state_bytes() + stage.peak_activation_bytes();
  }
  return bytes;
}

uint64_t LimitOf(const std::vector<uint64_t>& limits, size_t rank) { return rank < limits.size() ? limits[rank] : 0; }

bool Fits(const v1::Plan& plan, const std::vector<uint64_t>& limits) {
  const std::vector<uint64_t> bytes = RankBytes(plan);
  for (size_t rank = 0; rank < bytes.size(); ++rank) {
    if (LimitOf(limits, rank) != 0 && bytes[rank] > LimitOf(limits, rank)) return false;
  }
  return true;
}

// Whether the job fits with other pipeline keys.
bool WouldFit(const v1::JobSpec& variant, const std::vector<uint64_t>& limits) {
  const absl::StatusOr<v1::Plan> plan = MakePlan(variant);
  return plan.ok() && Fits(*plan, limits);
}

// The first change of a key that makes the job fit, as a sentence: those that keep the result first. "" if none does.
std::string WhatWouldFit(const v1::JobSpec& spec, const v1::Plan& plan, const std::vector<uint64_t>& limits) {
  const v1::JobSpec base = WithKeysOf(spec, plan);
  for (const v1::Pipeline::Split split : {v1::Pipeline::SPLIT_EXPLICIT, v1::Pipeline::SPLIT_AUTO}) {
    for (const std::string& name : ScheduleNames()) {
      v1::JobSpec variant = base;
      variant.mutable_pipeline()->set_split(split);
      variant.mutable_pipeline()->set_schedule(name);
      if (!WouldFit(variant, limits)) continue;
      return absl::StrCat("schedule: ", name, split == v1::Pipeline::SPLIT_AUTO ? " with split: auto" : "",
                          " would fit");
    }
  }
  v1::JobSpec variant = base;
  // The one that keeps least on stages that lie a rank each.
  const std::string frugal = "1f1b";
  variant.mutable_pipeline()->set_schedule(frugal);
  variant.mutable_pipeline()->set_split(v1::Pipeline::SPLIT_AUTO);
  const uint32_t batch = spec.train().batch_size();
  for (uint32_t m = plan.micro_batches(); m < batch;) {
    m = std::min(batch, 2 * m);
    variant.mutable_pipeline()->set_micro_batches(m);
    if (WouldFit(variant, limits)) {
      return absl::StrCat("micro_batches: ", m, " with schedule: ", frugal, " and split: auto would fit");
    }
  }
  return "";
}

}  // namespace

std::optional<BetterSplit> FindBetterSplit(const v1::JobSpec& spec, const v1::Plan& plan) {
  if (plan.stages_size() < 2) return std::nullopt;
  v1::JobSpec variant = WithKeysOf(spec, plan);
  const absl::StatusOr<v1::Plan> now = MakePlan(variant);
  variant.mutable_pipeline()->set_split(v1::Pipeline::SPLIT_AUTO);
  const absl::StatusOr<v1::Plan> other = MakePlan(variant);
  if (!now.ok() || !other.ok()) return std::nullopt;
  if (other->predicted_step_us() > now->predicted_step_us() * (1 - kNoticeableGain)) return std::nullopt;
  BetterSplit better;
  double total = 0;
  for (int s = 0; s < plan.stages_size(); ++s) {
    total += StageUs(plan.stages(s));
    if (StageUs(plan.stages(s)) > StageUs(plan.stages(better.slowest_stage))) better.slowest_stage = s;
  }
  better.over_mean = StageUs(plan.stages(better.slowest_stage)) * plan.stages_size() / total - 1;
  if (better.over_mean < kNoticeableImbalance) return std::nullopt;
  for (const v1::Stage& stage : other->stages()) {
    better.sizes.push_back(static_cast<int>(stage.end_layer() - stage.first_layer()));
  }
  better.step_us = other->predicted_step_us();
  return better;
}

std::optional<MoreMicroBatches> FindMoreMicroBatches(const v1::JobSpec& spec, const v1::Plan& plan) {
  const uint32_t twice = 2 * plan.micro_batches();
  if (plan.predicted_bubble() < kNoticeableBubble || twice > spec.train().batch_size()) return std::nullopt;
  v1::JobSpec variant = WithKeysOf(spec, plan);
  variant.mutable_pipeline()->set_micro_batches(twice);
  const absl::StatusOr<v1::Plan> other = MakePlan(variant);
  if (!other.ok() || other->predicted_step_us() > plan.predicted_step_us() * (1 - kNoticeableGain)) return std::nullopt;
  return MoreMicroBatches{static_cast<int>(twice), other->predicted_bubble(), other->predicted_step_us()};
}

absl::Status CheckFits(const v1::JobSpec& spec, const v1::Plan& plan, const std::vector<uint64_t>& memory_bytes) {
  const std::vector<uint64_t> bytes = RankBytes(plan);
  for (size_t rank = 0; rank < bytes.size(); ++rank) {
    const uint64_t limit = LimitOf(memory_bytes, rank);
    if (limit == 0 || bytes[rank] <= limit) continue;
    uint64_t state = 0;
    std::vector<std::string> stages;
    for (int s = 0; s < plan.stages_size(); ++s) {
      if (plan.stages(s).rank() != rank) continue;
      state += plan.stages(s).state_bytes();
      stages.push_back(absl::StrCat(s));
    }
    const std::string remedy = WhatWouldFit(spec, plan, memory_bytes);
    return absl::ResourceExhaustedError(absl::StrCat(
        "rank ", rank, " (stage ", absl::StrJoin(stages, ", "), ") needs ", GiB(bytes[rank]), ": ", GiB(state),
        " of parameters, gradients and optimizer state and ", GiB(bytes[rank] - state),
        " of activations; its worker has ", GiB(limit), ", ", GiB(bytes[rank] - limit), " too little; ",
        remedy.empty() ? absl::StrCat("use more stages, or give it a worker with at least ", GiB(bytes[rank]))
                       : remedy));
  }
  return absl::OkStatus();
}

std::vector<std::string> Advice(const v1::JobSpec& spec, const v1::Plan& plan) {
  std::vector<std::string> sentences;
  if (const std::optional<BetterSplit> better = FindBetterSplit(spec, plan)) {
    sentences.push_back(
        absl::StrFormat("stage %d takes %.0f %% longer than the mean; split "
                        "[%s] would balance better",
                        better->slowest_stage, 100 * better->over_mean, absl::StrJoin(better->sizes, ", ")));
  }
  if (const std::optional<MoreMicroBatches> more = FindMoreMicroBatches(spec, plan)) {
    sentences.push_back(
        absl::StrFormat("%d micro-batches would give a bubble of %.1f %%", more->micro_batches, 100 * more->bubble));
  }
  return sentences;
}

}  // namespace penstock
