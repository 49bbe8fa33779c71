#include "cli/local_cluster.h"

#include "absl/strings/str_cat.h"
#include "common/file.h"
#include "common/status_macros.h"
#include "spec/cluster_spec.h"

namespace penstock {
namespace {

// Idle workers end in tenths of a second; a stuck one is not worth a longer wait.
constexpr absl::Duration kEndPatience = absl::Seconds(15);

}  // namespace

absl::StatusOr<std::unique_ptr<CoordinatorProcess>> StartLocalCluster(const std::string& state_dir,
                                                                      const std::vector<std::string>& devices) {
  PENSTOCK_ASSIGN_OR_RETURN(const std::string binary, FindCoordinatorBinary());
  ClusterSpec spec{.name = "run", .listen = "127.0.0.1:0", .http = "127.0.0.1:0", .state_dir = state_dir};
  for (size_t i = 0; i < devices.size(); ++i) {
    spec.workers.push_back(
        {.id = absl::StrCat("localhost/", devices[i], ".", i), .host = "localhost", .device = devices[i]});
  }
  PENSTOCK_RETURN_IF_ERROR(MakeDirs(state_dir));
  const std::string config = JoinPath(state_dir, "cluster.yaml");
  PENSTOCK_RETURN_IF_ERROR(WriteFileAtomically(config, ToYaml(spec)));
  return CoordinatorProcess::Start({.binary = binary, .config = config, .state_dir = state_dir});
}

void EndLocalCluster(Client* client, CoordinatorProcess* process) {
  const absl::Status status = client->Shutdown(/*no_checkpoint=*/true, kEndPatience);
  if (!status.ok() || !process->AwaitEnd(kEndPatience)) {
    process->Kill();
  } else {
    process->Reap();
  }
}

}  // namespace penstock
