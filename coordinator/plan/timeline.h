// A simulated step as a picture: a line for each rank, its actions to scale, its bubbles between them. Pure.
// Source: docs/schedules.md, "Timelines".
#ifndef PENSTOCK_COORDINATOR_PLAN_TIMELINE_H_
#define PENSTOCK_COORDINATOR_PLAN_TIMELINE_H_

#include <cstdint>
#include <functional>
#include <string>

#include "coordinator/plan/simulate.h"

namespace penstock {

struct TimelineOptions {
  std::string title;        // SVG: above the picture, and its name for screen readers
  std::string unit = "us";  // what stands behind a time
  double unit_us = 1;       // how many of the simulation's microseconds that is
  int width = 0;            // text: columns; 0: as many as the shortest action needs to show its name, within reason
  // SVG: each rank's activations over time, below its actions, with the peak as this text. Empty: not drawn.
  std::function<std::string(int rank, int64_t peak_bytes)> memory_text;
  bool critical_path = false;  // SVG: outlined
};

// One line a rank: each action as its kind and micro-batch ("F3"), as wide as it takes time; "." is idle. A rank's
// later stages are written small ("f3"). Then the axis, and what the letters mean. Ends with a newline.
// Args: a simulation with SimulationDetail::kActions.
std::string TimelineText(const Simulation& simulation, const TimelineOptions& options);

// A whole SVG document: no script, no outside resource, readable on light and dark pages. Above 64 ranks the middle
// ones are left out; where actions are narrower than a pixel, their kinds are sampled.
// Args: as TimelineText.
std::string TimelineSvg(const Simulation& simulation, const TimelineOptions& options);

}  // namespace penstock

#endif  // PENSTOCK_COORDINATOR_PLAN_TIMELINE_H_
