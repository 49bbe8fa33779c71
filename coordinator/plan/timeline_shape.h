// What a timeline's text and SVG have in common: which ranks are shown, and how an action is named. Pure.
#ifndef PENSTOCK_COORDINATOR_PLAN_TIMELINE_SHAPE_H_
#define PENSTOCK_COORDINATOR_PLAN_TIMELINE_SHAPE_H_

#include <cstddef>
#include <string>
#include <vector>

#include "coordinator/plan/simulate.h"

namespace penstock::timeline {

// The kinds of compute actions, in the order in which a legend names them.
struct Kind {
  ActionKind kind;
  char letter;
  const char* meaning;
};
const std::vector<Kind>& Kinds();

// REQUIRES: a compute action.
const Kind& KindOf(ActionKind kind);

// Those of them that the simulation has, in that order.
std::vector<Kind> KindsIn(const Simulation& simulation);

// Kind and micro-batch: "F3"; of a rank's later stages "f3". REQUIRES: `timed` is of `list`.
// Args: first_stage: the lowest of the rank's stages.
std::string Name(const Action& action, int first_stage);

// The lowest stage of a rank's actions.
int FirstStage(const std::vector<TimedAction>& list);

// Whether any rank has several stages.
bool HasLaterStages(const Simulation& simulation);

// The shortest time that any action takes; 0 if none takes any.
double ShortestAction(const Simulation& simulation);

// Which ranks a picture shows: all, or the first and the last few with the gap after `gap_after` of them.
struct ShownRanks {
  std::vector<int> ranks;
  size_t gap_after = 0;
  int left_out = 0;
};
ShownRanks Show(const Simulation& simulation);

// A time with at most 4 significant digits and the unit.
std::string TimeText(double us, const std::string& unit, double unit_us);

}  // namespace penstock::timeline

#endif  // PENSTOCK_COORDINATOR_PLAN_TIMELINE_SHAPE_H_
