// Starts and ends the worker processes that the coordinator is responsible for. Thread-safe.
#ifndef PENSTOCK_COORDINATOR_LAUNCH_LAUNCHER_H_
#define PENSTOCK_COORDINATOR_LAUNCH_LAUNCHER_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace penstock {

struct WorkerLaunch {
  std::string id;  // "localhost/cpu.0"
  std::string host;
  std::string device;         // "cpu", "cuda:0"
  uint64_t memory_bytes = 0;  // 0: no limit
  std::string coordinator;    // address to dial
};

// A worker process ended.
struct WorkerExit {
  std::string id;
  bool expected = false;              // StopAll had been called
  std::string cause;                  // "killed by signal 9 (SIGKILL)", "exited with code 1"
  std::vector<std::string> last_log;  // what of its log's end tells of trouble, and its last lines; oldest first
};

class Launcher {
 public:
  virtual ~Launcher() = default;
  // Starts the worker; returns when the process exists. on_exit (given at construction) is called once it has ended.
  // Errors: NotFound: no such program or host. ResourceExhausted: no process could be made.
  //         AlreadyExists: a worker of this id still runs. FailedPrecondition: StopAll has been called.
  virtual absl::Status Start(const WorkerLaunch& worker) = 0;
  // Ends every worker: SIGTERM, then SIGKILL after `grace`. Returns when none is left and every on_exit has returned.
  // Not from on_exit. After it Start is refused.
  virtual void StopAll(absl::Duration grace) = 0;
};

}  // namespace penstock

#endif  // PENSTOCK_COORDINATOR_LAUNCH_LAUNCHER_H_
