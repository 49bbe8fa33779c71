// What would make a plan better, as numbers; planner.h's Advice and render.h put them into words. Pure.
// Source: docs/schedules.md, "Advice".
#ifndef PENSTOCK_COORDINATOR_PLAN_ADVICE_H_
#define PENSTOCK_COORDINATOR_PLAN_ADVICE_H_

#include <optional>
#include <vector>

#include "proto/job.pb.h"
#include "proto/plan.pb.h"

namespace penstock {

// Another split of the same layers over as many stages.
struct BetterSplit {
  int slowest_stage = 0;
  double over_mean = 0;  // how much longer than the mean it takes: 0.28
  std::vector<int> sizes;
  double step_us = 0;  // predicted
};

// The split of the shortest predicted step, where it is noticeably shorter than the plan's.
std::optional<BetterSplit> FindBetterSplit(const v1::JobSpec& spec, const v1::Plan& plan);

// More micro-batches of the same mini-batch.
struct MoreMicroBatches {
  int micro_batches = 0;
  double bubble = 0;   // predicted
  double step_us = 0;  // predicted
};

// Twice as many, where the bubble is noticeable, the batch can be cut so, and the step would be shorter.
std::optional<MoreMicroBatches> FindMoreMicroBatches(const v1::JobSpec& spec, const v1::Plan& plan);

}  // namespace penstock

#endif  // PENSTOCK_COORDINATOR_PLAN_ADVICE_H_
