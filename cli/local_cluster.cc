#include "cli/local_cluster.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/clock.h"
#include "common/file.h"
#include "common/status_macros.h"
#include "spec/cluster_spec.h"

namespace penstock {
namespace {

constexpr absl::Duration kSilencePatience = absl::Seconds(30);
// Idle workers end in tenths of a second; a stuck one is not worth a longer wait.
constexpr absl::Duration kEndPatience = absl::Seconds(15);

constexpr absl::Duration kPollEvery = absl::Milliseconds(100);
// A worker loads libtorch and computes its self-test: seconds, more when many start on few cores.
constexpr absl::Duration kWorkersPatience = absl::Minutes(2);

bool IsUp(const v1::WorkerStatus& worker) { return worker.state() == "idle" || worker.state() == "busy"; }

// "localhost/cpu.1: lost: exited with code 1", for each worker that is not up; empty when all are.
std::vector<std::string> Missing(const ClusterSpec& spec, const v1::ClusterStatus& status, bool* hopeless) {
  std::vector<std::string> missing;
  for (const WorkerSpec& expected : spec.workers) {
    const v1::WorkerStatus* found = nullptr;
    for (const v1::WorkerStatus& worker : status.workers()) {
      if (worker.id() == expected.id) found = &worker;
    }
    if (found != nullptr && IsUp(*found)) continue;
    *hopeless |= found != nullptr && (found->state() == "lost" || found->state() == "left");
    missing.push_back(absl::StrCat(expected.id, ": ", found != nullptr ? found->state() : "has not registered",
                                   found != nullptr && !found->reason().empty() ? ": " : "",
                                   found != nullptr ? found->reason() : ""));
  }
  return missing;
}

}  // namespace

ClusterSpec LocalClusterSpec(const std::string& state_dir, const std::vector<std::string>& devices) {
  ClusterSpec spec{.name = "run", .listen = "127.0.0.1:0", .http = "127.0.0.1:0", .state_dir = state_dir};
  // The coordinator sees the end of its own processes at once; silence only tells of one that hangs, and on a host that
  // is busy with other things all of them are silent for seconds.
  spec.lost_after = kSilencePatience;
  for (size_t i = 0; i < devices.size(); ++i) {
    spec.workers.push_back(
        {.id = absl::StrCat("localhost/", devices[i], ".", i), .host = "localhost", .device = devices[i]});
  }
  return spec;
}

absl::StatusOr<std::unique_ptr<CoordinatorProcess>> StartLocalCluster(const std::string& state_dir,
                                                                      const std::vector<std::string>& devices,
                                                                      std::function<void(int pid)> on_started) {
  PENSTOCK_ASSIGN_OR_RETURN(const std::string binary, FindCoordinatorBinary());
  const ClusterSpec spec = LocalClusterSpec(state_dir, devices);
  return CoordinatorProcess::Start({.binary = binary,
                                    .config = JoinPath(state_dir, "cluster.yaml"),
                                    .contents = ToYaml(spec),
                                    .state_dir = state_dir,
                                    .on_started = std::move(on_started)});
}

absl::Status AwaitWorkers(const ClusterSpec& spec, Client* client, CoordinatorProcess* process) {
  const absl::Duration deadline = Clock::Real()->Monotonic() + kWorkersPatience;
  while (true) {
    if (process->AwaitEnd(absl::ZeroDuration())) return absl::AbortedError(process->DescribeEnd());
    const absl::StatusOr<v1::ClusterStatus> status = client->GetStatus();
    if (!status.ok() && !absl::IsUnavailable(status.status())) return status.status();
    if (status.ok()) {
      bool hopeless = false;
      const std::vector<std::string> missing = Missing(spec, *status, &hopeless);
      if (missing.empty()) return absl::OkStatus();
      if (hopeless || Clock::Real()->Monotonic() > deadline) {
        return absl::AbortedError(absl::StrCat(missing.size(), " of ", spec.workers.size(),
                                               " workers did not come up:\n  ", absl::StrJoin(missing, "\n  "),
                                               "\ntheir logs are in ", spec.state_dir, "/logs"));
      }
    }
    Clock::Real()->Sleep(kPollEvery);
  }
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
