// A job's plan beside what its run measured: step, bubble, each rank's work and memory, each stage's times. Pure.
// Source: docs/schedules.md, "Predicted beside measured".
#ifndef PENSTOCK_CLI_COMPARISON_H_
#define PENSTOCK_CLI_COMPARISON_H_

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "proto/coordinator.pb.h"
#include "proto/plan.pb.h"

namespace penstock {

// Absent: not predicted, or not measured.
struct Figure {
  std::optional<double> predicted;
  std::optional<double> measured;

  // measured / predicted - 1; nullopt where one is absent or the prediction is 0.
  std::optional<double> Difference() const;

  // "+1.4 %", "-0.3 %"; beyond twice the prediction the factor, "7.2 x"; "-" where there is no difference to tell.
  std::string DifferenceText() const;
};

struct RankComparison {
  uint32_t rank = 0;
  std::string worker;
  Figure busy_seconds;  // in compute actions, a step
  Figure idle_seconds;  // the pass without that
  Figure state_bytes;
  Figure peak_bytes;
};

struct StageComparison {
  uint32_t stage = 0;
  uint32_t rank = 0;
  std::string layers;
  // Of one action, a micro-batch.
  Figure forward_seconds, input_gradient_seconds, weight_gradient_seconds, recompute_seconds;
};

struct Comparison {
  std::string job;
  std::string schedule;
  std::string cost_source;
  uint32_t steps = 0;  // that the measured figures are medians of
  Figure step_seconds;
  Figure pass_seconds;    // first action's start to last action's end, over all ranks: the makespan
  Figure update_seconds;  // what comes after: the vote, the decision, the optimizer
  Figure bubble;          // GPipe's: idle share of the pass, over all ranks
  std::vector<RankComparison> ranks;
  std::vector<StageComparison> stages;
  std::string verdict;  // where they part most and why, one or two sentences
};

// Args:    status: of the job that ran `plan`, with the figures of its stages and ranks.
// Errors:  FailedPrecondition: nothing was measured: it has not done two steps, or an older version ran it.
absl::StatusOr<Comparison> Compare(const v1::Plan& plan, const v1::JobStatus& status);

// Tables and the verdict; ends with a newline, has no colour. Args: width as TextTable::Render.
std::string ComparisonText(const Comparison& comparison, int width);

// The same as one JSON object, at full precision: every figure is {"predicted", "measured", "difference"}, null where
// it is absent; indented, no final newline.
std::string ComparisonJson(const Comparison& comparison);

}  // namespace penstock

#endif  // PENSTOCK_CLI_COMPARISON_H_
