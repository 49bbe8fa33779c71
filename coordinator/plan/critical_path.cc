#include "coordinator/plan/critical_path.h"

#include <algorithm>

#include "common/logging.h"

namespace penstock {

CriticalPath FindCriticalPath(const Simulation& simulation) {
  CriticalPath path;
  int rank = -1;
  size_t index = 0;
  for (size_t r = 0; r < simulation.actions.size(); ++r) {
    const std::vector<TimedAction>& list = simulation.actions[r];
    if (list.empty()) continue;
    if (rank >= 0 && list.back().end_us <= simulation.actions[rank].back().end_us) continue;
    rank = static_cast<int>(r);
    index = list.size() - 1;
  }
  while (rank >= 0) {
    const TimedAction& timed = simulation.actions[rank][index];
    path.compute_us += timed.end_us - timed.start_us;
    CriticalPath::Step& step = path.steps.emplace_back(CriticalPath::Step{rank, index, 0});
    if (timed.awaited_rank < 0) {
      // The list's first action starts at once or waits for a result.
      if (index == 0) break;
      --index;
      continue;
    }
    rank = timed.awaited_rank;
    index = timed.awaited_index;
    CHECK_LT(index, simulation.actions[rank].size());
    step.before_us = timed.start_us - simulation.actions[rank][index].end_us;
    path.transfer_us += timed.transfer_us;
    path.queue_us += std::max(0.0, step.before_us - timed.transfer_us);
  }
  std::reverse(path.steps.begin(), path.steps.end());
  return path;
}

}  // namespace penstock
