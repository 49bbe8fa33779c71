// What `penstock simulate` does: a schedule by name or lists, times by the command line, and what comes of them. Pure.
// Source: docs/commands.md, "Schedules on paper".
#ifndef PENSTOCK_CLI_SIMULATION_H_
#define PENSTOCK_CLI_SIMULATION_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/action.h"
#include "coordinator/plan/placement.h"
#include "coordinator/plan/simulate.h"

namespace penstock {

// The options, as they were given. Times have any unit, but all the same one; bytes too.
struct SimulationRequest {
  std::string schedule;              // a name; "" where lists are given
  std::optional<ActionTable> lists;  // compute actions, as a file has them
  int ranks = 0;                     // 0: as many as there are lists
  int micro_batches = 0;             // 0: as many as the lists name
  int chunks = 0;                    // stages a rank; 0: 2 for schedules with several, else 1
  int group = 0;                     // 0: the schedule's own choice
  bool reverse = false;
  std::string recompute = "none";  // "none", "boundary", "except-last"
  // Of a whole rank, for one micro-batch: a number for all ranks, or one for each, separated by commas.
  std::string forward, input_grad, weight_grad;
  std::string activation_bytes = "1";
  std::string weight_input_bytes;    // "": as activation_bytes
  std::string boundary_bytes = "0";  // of each stage
  double comm = 0;                   // from one rank to another
};

// A schedule that was simulated.
struct SimulatedSchedule {
  std::string name;
  int micro_batches = 0;
  Placement placement;
  ActionTable table;  // compute actions
  Simulation simulation;
  std::vector<double> bytes_per_activation;  // by rank: what the simulation's bytes are to a rank's activations
};

// Errors: InvalidArgument: names the option and what it must be; or the lists are malformed (with the table and the
//         place).
absl::StatusOr<SimulatedSchedule> SimulateSchedule(const SimulationRequest& request, SimulationDetail detail);

// Every schedule that there is, in the order of their steps' lengths. Options that only some have are left out for the
// others. `name` and `status` of those that cannot be made follow.
struct ComparedSchedule {
  std::string name;
  absl::StatusOr<SimulatedSchedule> simulated;
};
// Errors: InvalidArgument: an option that is wrong for any schedule.
absl::StatusOr<std::vector<ComparedSchedule>> CompareSchedules(const SimulationRequest& request);

// {"schedule", "makespan", "span", "bubble", "peak_activations", "actions"}, with no final newline. Of several: a list
// of these, those that cannot be made as {"schedule", "error"}.
std::string SimulationJson(const SimulatedSchedule& simulated);
std::string SimulationJson(const std::vector<ComparedSchedule>& compared);

// What a person reads: the step and its bubbles, the critical path, a line for each rank, a timeline.
// Args: width: of the terminal; 0: none.
std::string SimulationText(const SimulatedSchedule& simulated, int width);
std::string SimulationText(const std::vector<ComparedSchedule>& compared, int width);

std::string SimulationSvg(const SimulatedSchedule& simulated);

}  // namespace penstock

#endif  // PENSTOCK_CLI_SIMULATION_H_
