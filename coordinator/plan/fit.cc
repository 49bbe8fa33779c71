// CheckFits: whether the workers hold a plan, and what would make it fit if they do not.
#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/schedule_kind.h"
#include "coordinator/plan/amounts.h"
#include "coordinator/plan/planner.h"
#include "coordinator/plan/rank_memory.h"
#include "coordinator/plan/variants.h"

namespace penstock {
namespace {

uint64_t LimitOf(const std::vector<uint64_t>& limits, size_t rank) { return rank < limits.size() ? limits[rank] : 0; }

bool Fits(const v1::Plan& plan, const std::vector<uint64_t>& limits) {
  const std::vector<uint64_t> bytes = RankPeakBytes(plan);
  for (size_t rank = 0; rank < bytes.size(); ++rank) {
    if (LimitOf(limits, rank) != 0 && bytes[rank] > LimitOf(limits, rank)) return false;
  }
  return true;
}

// Looks for the first change of a key that makes a job fit.
class Remedy {
 public:
  Remedy(const PlanRequest& request, const v1::Plan& plan)
      : request_(request), plan_(plan), base_(WithKeysOf(request.spec, plan)) {
    const v1::Pipeline& pipeline = base_.pipeline();
    for (const Variant& variant : AllVariants(Unchunked(pipeline), plan.train_size())) variants_.push_back(variant);
  }

  // As a sentence; "" if nothing does. What costs no time comes before what does, and what keeps the sums, and so the
  // job's result, before what changes them.
  std::string Find() {
    const auto none = v1::Pipeline::RECOMPUTE_NONE, boundary = v1::Pipeline::RECOMPUTE_BOUNDARY;
    const auto kept = request_.spec.pipeline().recompute();
    if (std::string found = TrySchedules(kept, /*split_auto=*/false); !found.empty()) return found;
    if (std::string found = TrySchedules(kept, /*split_auto=*/true); !found.empty()) return found;
    if (kept == none) {
      v1::JobSpec again = base_;
      again.mutable_pipeline()->set_recompute(boundary);
      if (WouldFit(again)) return "recompute: boundary would fit";
      if (std::string found = TrySchedules(boundary, /*split_auto=*/true); !found.empty()) return found;
    }
    if (std::string found = TryMoreMicroBatches(); !found.empty()) return found;
    return TryMoreStages();
  }

 private:
  static v1::Pipeline Unchunked(v1::Pipeline pipeline) {
    pipeline.clear_chunks();
    return pipeline;
  }

  // Dozens of plans may be looked at, and a fit needs no perfect split.
  absl::StatusOr<PlannedJob> PlanOther(const v1::JobSpec& spec, const std::vector<uint64_t>& memory) const {
    return PlanJob({spec, request_.measured, memory, SimulationDetail::kTotals, kSearchActions / 32});
  }

  bool WouldFit(const v1::JobSpec& spec) const {
    const auto planned = PlanOther(spec, request_.memory_bytes);
    return planned.ok() && Fits(planned->plan, request_.memory_bytes);
  }

  std::string TrySchedules(v1::Pipeline::Recompute recompute, bool split_auto) const {
    for (const Variant& variant : variants_) {
      v1::JobSpec spec = WithVariant(base_, variant);
      v1::Pipeline* pipeline = spec.mutable_pipeline();
      // A schedule of other stages than the plan's has no split yet.
      if (!split_auto && pipeline->split() != v1::Pipeline::SPLIT_EXPLICIT) continue;
      if (split_auto) pipeline->set_split(v1::Pipeline::SPLIT_AUTO);
      pipeline->set_recompute(recompute);
      if (!WouldFit(spec)) continue;
      std::vector<std::string> keys;
      if (variant.schedule != plan_.schedule()) keys.push_back(absl::StrCat("schedule: ", variant.schedule));
      if (variant.stages() != plan_.stages_size()) {
        keys.push_back(absl::StrCat("stages: ", variant.stages()));
        keys.push_back(absl::StrCat("chunks: ", variant.chunks));
      }
      if (split_auto) keys.push_back("split: auto");
      if (recompute == v1::Pipeline::RECOMPUTE_BOUNDARY && recompute != request_.spec.pipeline().recompute()) {
        keys.push_back("recompute: boundary");
      }
      return Sentence(keys);
    }
    return "";
  }

  // With the schedule that keeps least, and stages as even as they get.
  v1::JobSpec Leanest() const {
    v1::JobSpec spec = WithVariant(base_, {"1f1b", plan_.train_size(), 1});
    spec.mutable_pipeline()->set_split(v1::Pipeline::SPLIT_AUTO);
    return spec;
  }

  std::string TryMoreMicroBatches() const {
    const uint32_t batch = std::min(request_.spec.train().batch_size(), kMaxMicroBatches);
    v1::JobSpec spec = Leanest();
    for (uint32_t m = plan_.micro_batches(); m < batch;) {
      m = std::min(batch, 2 * m);
      spec.mutable_pipeline()->set_micro_batches(m);
      if (WouldFit(spec)) return Sentence({absl::StrCat("micro_batches: ", m), "schedule: 1f1b", "split: auto"});
    }
    return "";
  }

  // Where every worker has the same limit, one more is as good as these.
  std::string TryMoreStages() const {
    const int ranks = plan_.train_size();
    const std::set<uint64_t> limits(request_.memory_bytes.begin(), request_.memory_bytes.end());
    if (limits.size() != 1 || static_cast<int>(request_.memory_bytes.size()) < ranks) return "";
    constexpr int kMostTried = 64;
    const int layers = request_.spec.model().layers_size();
    for (int more = ranks + 1; more <= std::min({layers, 4 * ranks, kMostTried}); ++more) {
      v1::JobSpec spec = WithVariant(Leanest(), {"1f1b", more, 1});
      const std::vector<uint64_t> memory(more, *limits.begin());
      const auto planned = PlanOther(spec, memory);
      if (planned.ok() && Fits(planned->plan, memory)) {
        return Sentence({absl::StrCat("stages: ", more), "schedule: 1f1b", "split: auto"});
      }
    }
    return "";
  }

  static std::string Sentence(const std::vector<std::string>& keys) {
    if (keys.size() == 1) return absl::StrCat(keys[0], " would fit");
    const std::vector<std::string> first(keys.begin(), keys.end() - 1);
    return absl::StrCat(absl::StrJoin(first, ", "), " and ", keys.back(), " would fit");
  }

  const PlanRequest& request_;
  const v1::Plan& plan_;
  const v1::JobSpec base_;
  std::vector<Variant> variants_;
};

}  // namespace

absl::Status CheckFits(const PlanRequest& request, const v1::Plan& plan) {
  const std::vector<uint64_t> bytes = RankPeakBytes(plan);
  for (size_t rank = 0; rank < bytes.size(); ++rank) {
    const uint64_t limit = LimitOf(request.memory_bytes, rank);
    if (limit == 0 || bytes[rank] <= limit) continue;
    std::vector<std::string> stages;
    uint64_t activations = 0;
    for (int s = 0; s < plan.stages_size(); ++s) {
      if (plan.stages(s).rank() != rank) continue;
      stages.push_back(absl::StrCat(s));
      activations += plan.stages(s).peak_activation_bytes();
    }
    // Several stages of a rank are not at their fullest at the same time.
    if (plan.ranks_size() == plan.train_size()) {
      activations = plan.ranks(static_cast<int>(rank)).peak_activation_bytes();
    }
    const std::string remedy = Remedy(request, plan).Find();
    return absl::ResourceExhaustedError(absl::StrCat(
        "rank ", rank, stages.size() == 1 ? " (stage " : " (stages ", absl::StrJoin(stages, ", "), ") needs ",
        BytesAmount(bytes[rank]), ": ", BytesAmount(bytes[rank] - activations),
        " of parameters, gradients and optimizer state and ", BytesAmount(activations),
        " of activations; its worker has ", BytesAmount(limit), ", ", BytesAmount(bytes[rank] - limit), " too little; ",
        remedy.empty() ? absl::StrCat("use more stages, or give it a worker with at least ", BytesAmount(bytes[rank]))
                       : remedy));
  }
  return absl::OkStatus();
}

}  // namespace penstock
