// A cluster of this host's own for one command: the coordinator and its workers die with this process, however it ends.
// Call from main's thread.
#ifndef PENSTOCK_CLI_LOCAL_CLUSTER_H_
#define PENSTOCK_CLI_LOCAL_CLUSTER_H_

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "cli/client.h"
#include "cli/coordinator_process.h"
#include "spec/cluster_spec.h"

namespace penstock {

// A cluster on free ports of this host with one worker a device; a device may stand several times.
ClusterSpec LocalClusterSpec(const std::string& state_dir, const std::vector<std::string>& devices);

// Writes state_dir/cluster.yaml (free ports, one worker a device) and starts its coordinator.
// Args:    devices: "cpu", "cuda:0"; one may stand several times. on_started: as CoordinatorStart has it; may be empty.
// Errors:  as CoordinatorProcess::Start; NotFound: no coordinator binary.
absl::StatusOr<std::unique_ptr<CoordinatorProcess>> StartLocalCluster(const std::string& state_dir,
                                                                      const std::vector<std::string>& devices,
                                                                      std::function<void(int pid)> on_started = {});

// Waits until every worker of the cluster file has registered, or it is clear that one will not.
// Errors: Aborted: the coordinator ended, or workers are missing; says which and why.
absl::Status AwaitWorkers(const ClusterSpec& spec, Client* client, CoordinatorProcess* process);

// Ends it: gently, or at once if it does not answer in time. Returns when its coordinator is gone.
void EndLocalCluster(Client* client, CoordinatorProcess* process);

}  // namespace penstock

#endif  // PENSTOCK_CLI_LOCAL_CLUSTER_H_
