// Schedules: in which order each rank runs its compute actions. Pure.
// Source: docs/schedules.md, "Schedules". GPipe: arXiv 1811.06965. 1F1B: arXiv 1806.03377, arXiv 2104.04473.
#ifndef PENSTOCK_COORDINATOR_PLAN_SCHEDULE_H_
#define PENSTOCK_COORDINATOR_PLAN_SCHEDULE_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/action.h"
#include "coordinator/plan/placement.h"

namespace penstock {

// The names that MakeSchedule knows, the one with the simplest lists first.
const std::vector<std::string>& ScheduleNames();

// The compute actions of a training step, by schedule name.
// Args:    one stage a rank; micro_batches >= 1, fewer than ranks allowed.
// Errors:  InvalidArgument: no schedule of this name (the message lists those there are).
absl::StatusOr<ActionTable> MakeSchedule(absl::string_view name, const Placement& placement, int micro_batches);

// All forwards, then all backwards, both in ascending order: the order in which gradients are added.
ActionTable GPipeSchedule(const Placement& placement, int micro_batches);

// Rank r of p: min(m, p - 1 - r) forwards, then a forward and a backward in turn, then the backwards that are left.
// At most p - r micro-batches are between their forward and their backward on rank r.
ActionTable OneForwardOneBackwardSchedule(const Placement& placement, int micro_batches);

// A pass that only goes forward (evaluation, generation): each stage runs all micro-batches in ascending order, a rank
// its stages one after the other. Works for any placement.
ActionTable ForwardOnlySchedule(const Placement& placement, int micro_batches);

}  // namespace penstock

#endif  // PENSTOCK_COORDINATOR_PLAN_SCHEDULE_H_
