// One child process: made by fork and exec, held by a pidfd, so that a signal never reaches a process that took over
// its number. Thread-compatible.
#ifndef PENSTOCK_COMMON_CHILD_PROCESS_H_
#define PENSTOCK_COMMON_CHILD_PROCESS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace penstock {

struct ChildOptions {
  std::vector<std::string> args;  // args[0]: the program's absolute path
  std::string log_path;           // standard output and error are appended to it
  // The kernel kills the child when the *thread* that called StartChild ends: call it from a thread that lives as long
  // as the child should. Otherwise the child goes on by itself.
  bool die_with_thread = true;
  enum class Group { kParents, kOwn, kOwnSession };
  Group group = Group::kParents;  // process group: decides whether a terminal's Ctrl-C reaches the child
  std::vector<int> keep_fds;      // the further descriptors that the child inherits, under the same numbers
};

struct ChildProcess {
  int pid = 0;
  int pidfd = -1;  // owned by whoever holds the struct; ReapChild closes it
  std::string log_path;
  uint64_t log_begin = 0;  // where this process's part of the log starts
};

// Starts a program with no standard input, default signal handling and no other file descriptor than the options name.
// Returns when the program runs.
// Errors:  NotFound: no such program, or it cannot be executed. ResourceExhausted: no process could be made.
//          Unavailable: the log cannot be opened.
absl::StatusOr<ChildProcess> StartChild(const ChildOptions& options);

// Sends `signal`; nothing happens if the process has ended.
void SignalChild(const ChildProcess& child, int signal);

// How a process ended.
struct ChildEnd {
  std::optional<int> exit_code;  // absent: a signal ended it
  std::string cause;             // "killed by signal 9 (SIGKILL)", "exited with code 1"
};

// Waits at most `patience` for the end of the process. Returns whether it has ended.
bool AwaitChild(const ChildProcess& child, absl::Duration patience);

// A process that is not a child of this one, for AwaitChild and SignalChild. The caller closes the pidfd.
// Errors: NotFound: no such process.
absl::StatusOr<ChildProcess> FindProcess(int pid);

// Waits for the end of the process and closes the pidfd. Blocking. REQUIRES: called once.
ChildEnd ReapChild(ChildProcess* child);

// The last `count` lines that the process wrote to its log, oldest first. A log that cannot be read has none.
std::vector<std::string> LastLogLines(const ChildProcess& child, int count);

}  // namespace penstock

#endif  // PENSTOCK_COMMON_CHILD_PROCESS_H_
