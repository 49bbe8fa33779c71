// Runs an action table on paper: when each action starts and ends, and what is kept meanwhile. Pure.
// Source: docs/schedules.md, "Simulation", "Three bubbles" and "Memory".
#ifndef PENSTOCK_COORDINATOR_PLAN_SIMULATE_H_
#define PENSTOCK_COORDINATOR_PLAN_SIMULATE_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "common/action.h"
#include "coordinator/plan/costs.h"
#include "coordinator/plan/placement.h"

namespace penstock {

// Three definitions are in use; they differ in what the idle time is divided by. Work is the busiest rank's.
struct Bubbles {
  double gpipe = 0;        // idle share of the total time of all ranks: (K-1)/(M+K-1) for equal stages
  double megatron = 0;     // (makespan - work) / work: (p-1)/m
  double zero_bubble = 0;  // (span - work) / span: does not count how late a rank starts or how early it is done
};

// A compute action, and when it ran.
struct TimedAction {
  Action action;
  double start_us = 0;
  double end_us = 0;
  int64_t kept_bytes = 0;  // activations that the rank holds once it is done
  // The action whose result it stood waiting for: its rank, its place there, and how long the result was on the way
  // without those before it on the link. Rank -1: it started when its own rank was free.
  int awaited_rank = -1;
  uint32_t awaited_index = 0;
  double transfer_us = 0;
};

struct Simulation {
  double makespan_us = 0;  // first start to last end, over all ranks
  double span_us = 0;      // the same for each rank alone, the longest
  Bubbles bubbles;
  std::vector<double> busy_us;  // by rank: in compute actions
  // By stage, the most at once: from their forward until their gradient is added, which goes in ascending order.
  std::vector<int> peak_micro_batches;
  std::vector<int64_t> peak_activation_bytes;
  std::vector<int64_t> rank_peak_activation_bytes;  // by rank: its stages together
  // By rank, its compute actions in order; empty unless asked for.
  std::vector<std::vector<TimedAction>> actions;
};

enum class SimulationDetail {
  kTotals,
  kActions,  // 64 bytes more for each compute action
};

// Runs the table with these costs. Sends cost the rank no time; what is sent between two ranks goes one after the other
// over their link and arrives the link's latency later.
// Args:    a table that ValidateTable accepts, or compute actions alone that ValidateComputeActions accepts (then each
//          result is sent as soon as it is there); costs for every stage and link of the placement.
// Errors:  InvalidArgument: a time or a size is negative or not a number, or the table cannot finish (the message
//          prints it with the places).
// O(actions) time.
absl::StatusOr<Simulation> Simulate(const ActionTable& table, const Placement& placement, int micro_batches,
                                    const PipelineCosts& costs, SimulationDetail detail = SimulationDetail::kTotals);

}  // namespace penstock

#endif  // PENSTOCK_COORDINATOR_PLAN_SIMULATE_H_
