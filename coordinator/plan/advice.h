// What would make a plan better, as numbers; planner.h's Advice and render.h put them into words. Pure.
// Source: docs/schedules.md, "Advice".
#ifndef PENSTOCK_COORDINATOR_PLAN_ADVICE_H_
#define PENSTOCK_COORDINATOR_PLAN_ADVICE_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "coordinator/plan/planner.h"

namespace penstock {

// Another split of the same layers over as many stages.
struct BetterSplit {
  int slowest_stage = 0;
  double over_mean = 0;  // how much longer than the mean it takes: 0.28
  std::vector<int> sizes;
  double step_us = 0;  // predicted
};

// The split of the shortest predicted step, where it is noticeably shorter than the plan's.
std::optional<BetterSplit> FindBetterSplit(const PlanRequest& request, const v1::Plan& plan);

// More micro-batches of the same mini-batch.
struct MoreMicroBatches {
  int micro_batches = 0;
  double bubble = 0;   // predicted
  double step_us = 0;  // predicted
};

// Twice as many, where the bubble is noticeable, the batch can be cut so, and the step would be shorter.
std::optional<MoreMicroBatches> FindMoreMicroBatches(const PlanRequest& request, const v1::Plan& plan);

// Keeping only the inputs of stages, and running forward once more.
struct WithRecompute {
  int rank = 0;           // the fullest, measured by its limit
  uint64_t bytes = 0;     // what it would need instead
  double free_share = 0;  // of its limit, now; negative: it does not fit
  double longer = 0;      // by which share of the step
};

// `recompute: boundary`, where a rank has next to nothing of its memory left and this would help.
std::optional<WithRecompute> FindRecompute(const PlanRequest& request, const v1::Plan& plan);

// As sentences.
std::string ToText(const BetterSplit& better);
std::string ToText(const WithRecompute& again);

}  // namespace penstock

#endif  // PENSTOCK_COORDINATOR_PLAN_ADVICE_H_
