// One child process: made by fork and exec, held by a pidfd, so that a signal never reaches a process that took over
// its number. Thread-compatible; StartChild ties the child's life to the calling thread (see there).
#ifndef PENSTOCK_COORDINATOR_LAUNCH_CHILD_PROCESS_H_
#define PENSTOCK_COORDINATOR_LAUNCH_CHILD_PROCESS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace penstock {

struct ChildProcess {
  int pid = 0;
  int pidfd = -1;  // owned by whoever holds the struct; ReapChild closes it
  std::string log_path;
  uint64_t log_begin = 0;  // where this process's part of the log starts
};

// Starts args[0] with standard output and error appended to `log_path`, no standard input, default signal handling and
// no other file descriptor. The kernel kills the child when the *thread* that called this ends, so call it from a
// thread that lives as long as the child should.
// Args:    args[0]: the program's absolute path.
// Errors:  NotFound: no such program, or it cannot be executed. ResourceExhausted: no process could be made.
//          Unavailable: the log cannot be opened.
absl::StatusOr<ChildProcess> StartChild(const std::vector<std::string>& args, const std::string& log_path);

// Sends `signal`; nothing happens if the process has ended.
void SignalChild(const ChildProcess& child, int signal);

// Waits for the end of the process and closes the pidfd.
// Returns: "killed by signal 9 (SIGKILL)" or "exited with code 1". Blocking. REQUIRES: called once.
std::string ReapChild(ChildProcess* child);

// The last `count` lines that the process wrote to its log, oldest first. A log that cannot be read has none.
std::vector<std::string> LastLogLines(const ChildProcess& child, int count);

}  // namespace penstock

#endif  // PENSTOCK_COORDINATOR_LAUNCH_CHILD_PROCESS_H_
