// cluster.yaml, checked and resolved.
#ifndef PENSTOCK_SPEC_CLUSTER_SPEC_H_
#define PENSTOCK_SPEC_CLUSTER_SPEC_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace penstock {

struct WorkerSpec {
  std::string id;  // "HOST/DEVICE.INDEX", index over the host's list: two workers may share a device
  std::string host;
  std::string device;         // "cpu", "cuda:0"
  uint64_t memory_bytes = 0;  // 0: no limit
};

enum class LaunchWith { kLocal, kNone };

struct ClusterSpec {
  std::string name = "local";
  std::string listen = "127.0.0.1:7400";
  std::string http = "127.0.0.1:7480";
  std::string state_dir;  // default: $XDG_STATE_HOME/penstock/NAME, or ~/.local/state/penstock/NAME
  LaunchWith launch = LaunchWith::kLocal;
  absl::Duration heartbeat_every = absl::Milliseconds(200);
  absl::Duration lost_after = absl::Seconds(2);
  std::vector<WorkerSpec> workers;  // launch none: those that are expected; others may join too
};

// Whether the text names a device: "cpu", or "cuda:N". Whether it is there, only its host can tell.
bool IsDevice(const std::string& device);

// Reads and checks a cluster file. Relative paths are taken from the file's own folder.
// Errors: InvalidArgument: every fault as "file:line:column: error: ..." (see common/diagnostic.h).
//         NotFound: no such file.
absl::StatusOr<ClusterSpec> ReadClusterFile(const std::string& path);

// The file that ReadClusterFile would read back to the same spec.
std::string ToYaml(const ClusterSpec& spec);

}  // namespace penstock

#endif  // PENSTOCK_SPEC_CLUSTER_SPEC_H_
