// Measured costs, as the command finds and makes them: in the store of a state folder, through a coordinator, or with
// workers of its own for the moment. Call from main's thread.
// Source: docs/schedules.md, "Measured costs".
#ifndef PENSTOCK_CLI_MEASURED_COSTS_H_
#define PENSTOCK_CLI_MEASURED_COSTS_H_

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "cli/console.h"
#include "proto/coordinator.pb.h"
#include "proto/job.pb.h"

namespace penstock {

// What the folder's store knows of all the job's layers, on the device that was measured last among those that it knows
// them for; nullopt where there is none, or no store.
// Errors: as CostStore::OpenExisting.
absl::StatusOr<std::optional<v1::MeasuredCosts>> StoredCosts(const std::string& state_dir, const v1::JobSpec& spec);

struct MeasureOptions {
  std::string address;               // of the coordinator to ask; where none answers, a cluster is started
  std::string state_dir;             // of that cluster; its store keeps what was found, whoever measured
  std::vector<std::string> devices;  // of that cluster's workers
};

// Measures what is not known, says on the console how much that was, and keeps it in the folder's store.
// Returns: the costs on each kind of device, the most frequent first.
// Errors:  as rpc Jobs.Measure; Aborted: the cluster did not come up.
absl::StatusOr<std::vector<v1::MeasuredCosts>> MeasureJobCosts(const v1::JobSpec& spec, const MeasureOptions& options,
                                                               Console* console);

}  // namespace penstock

#endif  // PENSTOCK_CLI_MEASURED_COSTS_H_
