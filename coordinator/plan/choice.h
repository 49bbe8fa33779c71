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

// The rows as a reader wants them: the shortest step first, those that cannot run last.
std::vector<size_t> RowsByStep(const std::vector<ScheduleRow>& rows);

// "zb-h1", "interleaved with 3 stages a rank".
std::string NameOf(const ScheduleRow& row);

// "schedule auto took zb-h1: 1f1b would take 4.1 % longer, gpipe would take 9.0 % longer".
// Args: alone: the sentence stands without the table of the rows, and so says where that is.
std::string ChoiceText(const std::vector<ScheduleRow>& rows, size_t best, bool alone);

}  // namespace penstock

#endif  // PENSTOCK_COORDINATOR_PLAN_CHOICE_H_
