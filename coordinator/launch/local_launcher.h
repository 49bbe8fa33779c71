// Workers as child processes of the coordinator, on this host. They die with it, however it ends. Thread-safe.
#ifndef PENSTOCK_COORDINATOR_LAUNCH_LOCAL_LAUNCHER_H_
#define PENSTOCK_COORDINATOR_LAUNCH_LOCAL_LAUNCHER_H_

#include <functional>
#include <memory>
#include <string>

#include "coordinator/launch/launcher.h"

namespace penstock {

struct LocalLauncherOptions {
  std::string worker_binary;  // absolute path of penstock-worker
  std::string log_dir;        // exists; ID's output goes to log_dir/ID.log ('/' in the id becomes '-'), appended
  std::function<void(const WorkerExit&)> on_exit;  // called from the launcher's own thread
};

// Destroying the launcher kills (SIGKILL) what still runs; call StopAll before for a gentle end.
std::unique_ptr<Launcher> NewLocalLauncher(LocalLauncherOptions options);

}  // namespace penstock

#endif  // PENSTOCK_COORDINATOR_LAUNCH_LOCAL_LAUNCHER_H_
