// penstock-coordinator: the daemon that decides.
//   1. checks flags and cluster.yaml, prints the resolved configuration            (main)
//   2. takes the state folder, opens its store                                     (Serve)
//   3. listens, tells whoever waits on --ready-fd, starts the workers              (Serve)
//   4. waits for a signal or the Shutdown call, stops jobs with a checkpoint       (AwaitEnd)
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <cstdio>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/clock.h"
#include "common/file.h"
#include "common/limits.h"
#include "common/logging.h"
#include "common/process.h"
#include "common/state_folder.h"
#include "common/status_macros.h"
#include "common/version.h"
#include "coordinator/core.h"
#include "coordinator/launch/local_launcher.h"
#include "coordinator/options.h"
#include "coordinator/records/cost_store.h"
#include "coordinator/service.h"
#include "coordinator/status/http_server.h"
#include "spec/cluster_spec.h"

namespace penstock {
namespace {

constexpr int kBadUsage = 2;

// The signals that end the coordinator; blocked in every thread, taken by AwaitEnd.
sigset_t EndSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  return signals;
}

void TellReady(int fd, const Core& core, const std::string& address, const std::string& http) {
  if (fd < 0) return;
  const nlohmann::json ready = {
      {"address", address}, {"http", http}, {"pid", getpid()}, {"state_dir", core.state_dir()}};
  const std::string line = ready.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
  if (write(fd, line.data(), line.size()) != static_cast<ssize_t>(line.size())) {
    LOG(WARNING) << "--ready-fd " << fd << ": nobody reads it";
  }
  close(fd);
}

// Returns once the core is drained: asked for by a signal or by the Shutdown call.
void AwaitEnd(Core* core) {
  const sigset_t signals = EndSignals();
  std::thread drain;
  while (!core->drained()) {
    // Short, since the Shutdown call drains without a signal.
    timespec patience{.tv_sec = 0, .tv_nsec = 100'000'000};
    const int signal = sigtimedwait(&signals, nullptr, &patience);
    if (signal < 0) continue;
    if (drain.joinable()) {
      LOG(WARNING) << "a second signal " << signal << ": ends at once; running jobs resume from their last checkpoint";
      _exit(130);  // the workers it launched end with it
    }
    LOG(INFO) << "signal " << signal << ": stops jobs with a checkpoint, then the workers; a second one ends at once";
    drain = std::thread([core] { core->Drain(/*no_checkpoint=*/false); });
  }
  if (drain.joinable()) drain.join();
}

absl::Status Serve(const ClusterSpec& cluster, const CoordinatorOptions& options) {
  std::optional<FileLock> folder;
  if (options.state_lock_fd >= 0) {
    PENSTOCK_ASSIGN_OR_RETURN(folder, InheritStateFolder(cluster.state_dir, options.state_lock_fd));
  }
  PENSTOCK_ASSIGN_OR_RETURN(const std::unique_ptr<JobStore> store,
                            JobStore::Open(cluster.state_dir, Clock::Real()->Wall(), std::move(folder)));
  std::unique_ptr<Launcher> launcher;
  JobRecords records(cluster.state_dir);
  PENSTOCK_ASSIGN_OR_RETURN(const std::unique_ptr<CostStore> costs, CostStore::Open(cluster.state_dir));
  Core core(cluster, store.get(), &records, Clock::Real(), limits::kMaxQueuedJobs, costs.get());
  PENSTOCK_ASSIGN_OR_RETURN(const std::unique_ptr<CoordinatorServer> server,
                            CoordinatorServer::Start(cluster.listen, &core));
  StatusSources sources{[&core] { return core.Status(); }, [&core](const std::string& job) { return core.Get(job); },
                        [&core] { return core.Ready(); }};
  PENSTOCK_ASSIGN_OR_RETURN(const std::unique_ptr<StatusServer> http, StartStatusServer(cluster.http, sources));
  PENSTOCK_RETURN_IF_ERROR(core.Start(server->address(), http->Address()));
  if (cluster.launch == LaunchWith::kLocal) {
    PENSTOCK_ASSIGN_OR_RETURN(const std::string binary, FindWorkerBinary(options));
    const std::string log_dir = JoinPath(cluster.state_dir, "logs");
    PENSTOCK_RETURN_IF_ERROR(MakeDirs(log_dir));
    launcher = NewLocalLauncher({binary, log_dir, [&core](const WorkerExit& exit) { core.OnWorkerExit(exit); }});
  }
  LOG(INFO) << "coordinator " << cluster.name << " " << kVersion << " listens on " << server->address() << ", http://"
            << http->Address() << "/statusz, state in " << cluster.state_dir << ", pid " << getpid();
  TellReady(options.ready_fd, core, server->address(), http->Address());
  if (launcher != nullptr) core.Launch(launcher.get());
  AwaitEnd(&core);
  launcher.reset();  // its thread calls the core
  return absl::OkStatus();
}

int Main(int argc, char** argv) {
  KeepPages();
  SkipLockOrderSearch();
  StartLogging(argv[0]);
  const absl::StatusOr<CoordinatorOptions> options = ParseCoordinatorOptions({argv + 1, argv + argc});
  if (!options.ok()) {
    std::cerr << "penstock-coordinator: " << options.status().message() << "\n" << kCoordinatorUsage;
    return kBadUsage;
  }
  if (options->help || options->version) {
    std::cout << (options->help ? kCoordinatorUsage : absl::StrCat("penstock-coordinator ", kVersion, "\n"));
    return 0;
  }
  const sigset_t signals = EndSignals();
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  signal(SIGPIPE, SIG_IGN);  // whoever reads --ready-fd or our log may end before us
  if (options->die_with_parent) {
    const pid_t parent = getppid();
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent) return 0;  // it ended before the kernel knew of our wish
  }
  const absl::StatusOr<ClusterSpec> cluster = ReadClusterFile(options->config);
  if (!cluster.ok()) {
    std::cerr << cluster.status().message() << "\n";
    return kBadUsage;
  }
  LOG(INFO) << "resolved configuration:\n" << ToYaml(*cluster);
  const absl::Status status = Serve(*cluster, *options);
  if (status.ok()) return 0;
  std::cerr << "penstock-coordinator: " << status.message() << "\n";
  return kBadUsage;
}

}  // namespace
}  // namespace penstock

int main(int argc, char** argv) { return penstock::Main(argc, argv); }
