// A coordinator started by the command: for one run, or to stay. Thread-compatible.
#ifndef PENSTOCK_CLI_COORDINATOR_PROCESS_H_
#define PENSTOCK_CLI_COORDINATOR_PROCESS_H_

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/child_process.h"

namespace penstock {

struct CoordinatorStart {
  std::string binary;     // penstock-coordinator
  std::string config;     // cluster.yaml
  std::string contents;   // what is written to `config` first; empty: the file is there
  std::string state_dir;  // as the file says; its log goes to state_dir/logs/coordinator.log
  // false: it dies with the calling thread, and with it its workers, however that ends. true: it stays.
  bool detached = false;
  // Told the process's number as soon as there is one, before it listens: also its process group's.
  std::function<void(int pid)> on_started;
};

class CoordinatorProcess {
 public:
  // Starts it and waits until it listens. Nothing is written to a state folder that another coordinator has.
  // Errors:  FailedPrecondition: another coordinator has the state folder. NotFound: no such program.
  //          InvalidArgument: it refused the file; its words are in the message. Aborted: it ended before it listened;
  //          with its last log lines. DeadlineExceeded: it took too long. Unavailable: the folder cannot be written.
  static absl::StatusOr<std::unique_ptr<CoordinatorProcess>> Start(const CoordinatorStart& start);

  // A coordinator that is not detached, and its workers, end here, at once.
  ~CoordinatorProcess();

  CoordinatorProcess(const CoordinatorProcess&) = delete;
  CoordinatorProcess& operator=(const CoordinatorProcess&) = delete;

  const std::string& address() const { return address_; }
  const std::string& http_address() const { return http_address_; }
  int pid() const { return child_.pid; }
  const std::string& log_path() const { return child_.log_path; }

  // Waits at most `patience` for its end.
  bool AwaitEnd(absl::Duration patience) const { return AwaitChild(child_, patience); }

  // How it ended, with its last log lines. Waits for the end. REQUIRES: called once.
  std::string DescribeEnd();

  // Takes note of its end. Waits for it. REQUIRES: called once, and not after DescribeEnd.
  void Reap() { ReapChild(&child_); }

  // Ends it and its workers at once.
  void Kill();

 private:
  CoordinatorProcess(ChildProcess child, bool detached) : child_(std::move(child)), detached_(detached) {}
  absl::Status AwaitReady(int ready_fd);
  absl::Status EndedEarly();

  ChildProcess child_;
  const bool detached_;
  std::string address_;
  std::string http_address_;
};

// Where penstock-coordinator is: beside this program, or where Bazel builds it.
// Errors: NotFound: names the places.
absl::StatusOr<std::string> FindCoordinatorBinary();

// ${XDG_STATE_HOME:-~/.local/state}/penstock/NAME. Errors: FailedPrecondition: neither variable nor HOME is set.
absl::StatusOr<std::string> DefaultStateDir(const std::string& name);

}  // namespace penstock

#endif  // PENSTOCK_CLI_COORDINATOR_PROCESS_H_
