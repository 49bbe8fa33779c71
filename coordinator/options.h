// The command line of penstock-coordinator.
#ifndef PENSTOCK_COORDINATOR_OPTIONS_H_
#define PENSTOCK_COORDINATOR_OPTIONS_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace penstock {

struct CoordinatorOptions {
  std::string config;      // cluster.yaml
  int ready_fd = -1;       // takes one line of JSON once the coordinator listens; -1: none
  int state_lock_fd = -1;  // the state folder's lock, held already by whoever starts the coordinator; -1: it takes it
  bool die_with_parent = false;
  std::string worker_binary;  // empty: looked for beside this program
  bool help = false;
  bool version = false;
};

extern const char kCoordinatorUsage[];

// Args:    args: without the program's name.
// Errors:  InvalidArgument: names the flag.
absl::StatusOr<CoordinatorOptions> ParseCoordinatorOptions(const std::vector<std::string>& args);

// The worker's program: as given, else beside this program, else in ../worker (a build tree).
// Errors:  NotFound: names the places that were looked at.
absl::StatusOr<std::string> FindWorkerBinary(const CoordinatorOptions& options);

}  // namespace penstock

#endif  // PENSTOCK_COORDINATOR_OPTIONS_H_
