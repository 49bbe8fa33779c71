// Which of several finished plans is best, and by how much, in words. Pure.
// Source: docs/schedules.md, "Schedules".
#ifndef PENSTOCK_COORDINATOR_PLAN_CHOICE_H_
#define PENSTOCK_COORDINATOR_PLAN_CHOICE_H_

#include <cstddef>
#include <string>
#include <vector>

#include "coordinator/plan/planner.h"

namespace penstock {

// The row to take, of those that can run: first that it fits; then the shortest step, where steps within 1 % count as
// equal, since the estimates are no better; of those the one that needs the least memory on its fullest rank.
// REQUIRES: a row whose status is OK.
size_t BestRow(const std::vector<ScheduleRow>& rows);

// "schedule auto took zb-h1: 1f1b, the next, would take 4.1 % longer, gpipe 9.0 %".
std::string ChoiceText(const std::vector<ScheduleRow>& rows, size_t best);

}  // namespace penstock

#endif  // PENSTOCK_COORDINATOR_PLAN_CHOICE_H_
