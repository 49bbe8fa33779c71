#include "common/child_process.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace penstock {
namespace {

// Enough for the last lines of a stack trace; a longer tail would not be shown.
constexpr uint64_t kMaxTailBytes = uint64_t{64} << 10;

// Used only where the kernel cannot mark a whole range of descriptors
// (before 5.11).
constexpr int kMaxDescriptor = 4096;

// By system call: glibc 2.36 declares its wrappers without C linkage.
int PidfdOpen(pid_t pid) { return static_cast<int>(syscall(SYS_pidfd_open, pid, 0U)); }

std::string ErrnoText(int error) { return std::strerror(error); }

// What runs in the child between fork and exec: async-signal-safe calls alone, since other threads' locks may be held.
[[noreturn]] void ExecChild(const ChildOptions& options, char* const* argv, int log_fd, int error_fd, pid_t parent) {
  const auto fail = [error_fd](int error) {
    [[maybe_unused]] const ssize_t written = write(error_fd, &error, sizeof(error));
    _exit(127);
  };
  if (options.die_with_thread) {
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) fail(errno);
    if (getppid() != parent) _exit(127);  // the parent ended before the line above took effect
  }
  if (options.group == ChildOptions::Group::kOwn) setpgid(0, 0);
  if (options.group == ChildOptions::Group::kOwnSession) setsid();
  for (int signal = 1; signal < NSIG; ++signal) ::signal(signal, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  const int null_fd = open("/dev/null", O_RDONLY);
  if (null_fd < 0 || dup2(null_fd, STDIN_FILENO) < 0 || dup2(log_fd, STDOUT_FILENO) < 0 ||
      dup2(log_fd, STDERR_FILENO) < 0) {
    fail(errno);
  }
  if (syscall(SYS_close_range, 3U, ~0U, CLOSE_RANGE_CLOEXEC) != 0) {
    for (int fd = 3; fd < kMaxDescriptor; ++fd) fcntl(fd, F_SETFD, FD_CLOEXEC);
  }
  for (const int fd : options.keep_fds) fcntl(fd, F_SETFD, 0);
  execv(argv[0], argv);
  fail(errno);
  _exit(127);
}

// The error that the child met before its program ran; 0 if the program runs.
int ReadExecError(int fd) {
  int error = 0;
  ssize_t count;
  do {
    count = read(fd, &error, sizeof(error));
  } while (count < 0 && errno == EINTR);
  return count == sizeof(error) ? error : 0;
}

}  // namespace

// 1. everything that allocates: arguments, the log, the pipe that reports a failed exec
// 2. fork with signals blocked, so that no handler of ours runs in the child
// 3. wait until exec has closed the pipe (the program runs) or an error came through it
absl::StatusOr<ChildProcess> StartChild(const ChildOptions& options) {
  const std::vector<std::string>& args = options.args;
  const std::string& log_path = options.log_path;
  std::vector<char*> argv;
  for (const std::string& arg : args) argv.push_back(const_cast<char*>(arg.c_str()));
  argv.push_back(nullptr);
  const int log_fd = open(log_path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (log_fd < 0) return absl::UnavailableError(absl::StrCat("cannot open ", log_path, ": ", ErrnoText(errno)));
  struct stat log_stat {};
  fstat(log_fd, &log_stat);
  int error_pipe[2];
  if (pipe2(error_pipe, O_CLOEXEC) != 0) {
    const int error = errno;
    close(log_fd);
    return absl::ResourceExhaustedError(absl::StrCat("cannot start ", args[0], ": ", ErrnoText(error)));
  }

  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  const pid_t parent = getpid();
  const pid_t pid = fork();
  if (pid == 0) ExecChild(options, argv.data(), log_fd, error_pipe[1], parent);
  const int fork_error = errno;
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  close(log_fd);
  close(error_pipe[1]);
  const int exec_error = pid < 0 ? 0 : ReadExecError(error_pipe[0]);
  close(error_pipe[0]);

  if (pid < 0) return absl::ResourceExhaustedError(absl::StrCat("cannot start ", args[0], ": ", ErrnoText(fork_error)));
  if (exec_error != 0) {
    waitpid(pid, nullptr, 0);
    return absl::NotFoundError(absl::StrCat("cannot run ", args[0], ": ", ErrnoText(exec_error)));
  }
  ChildProcess child{.pid = pid, .pidfd = PidfdOpen(pid), .log_path = log_path};
  if (child.pidfd < 0) {
    const int error = errno;
    kill(pid, SIGKILL);
    waitpid(pid, nullptr, 0);
    return absl::ResourceExhaustedError(absl::StrCat("cannot watch ", args[0], ": pidfd_open: ", ErrnoText(error)));
  }
  child.log_begin = static_cast<uint64_t>(log_stat.st_size);
  return child;
}

void SignalChild(const ChildProcess& child, int signal) {
  syscall(SYS_pidfd_send_signal, child.pidfd, signal, nullptr, 0U);
}

absl::StatusOr<ChildProcess> FindProcess(int pid) {
  const int pidfd = PidfdOpen(pid);
  if (pidfd < 0) return absl::NotFoundError(absl::StrCat("process ", pid, ": ", ErrnoText(errno)));
  return ChildProcess{.pid = pid, .pidfd = pidfd};
}

bool AwaitChild(const ChildProcess& child, absl::Duration patience) {
  pollfd fd{.fd = child.pidfd, .events = POLLIN};
  return poll(&fd, 1, static_cast<int>(absl::ToInt64Milliseconds(patience))) == 1;
}

ChildEnd ReapChild(ChildProcess* child) {
  siginfo_t info{};
  int result;
  do {
    result = waitid(P_PIDFD, static_cast<id_t>(child->pidfd), &info, WEXITED);
  } while (result != 0 && errno == EINTR);
  close(child->pidfd);
  child->pidfd = -1;
  if (result != 0) return {.cause = "ended (its exit status was taken by another wait)"};
  if (info.si_code == CLD_EXITED) {
    return {.exit_code = info.si_status, .cause = absl::StrCat("exited with code ", info.si_status)};
  }
  const char* const name = sigabbrev_np(info.si_status);
  return {.cause = absl::StrCat("killed by signal ", info.si_status, " (",
                                name != nullptr ? absl::StrCat("SIG", name) : "unknown", ")")};
}

std::vector<std::string> LastLogLines(const ChildProcess& child, int count) {
  const int fd = open(child.log_path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return {};
  struct stat log_stat {};
  fstat(fd, &log_stat);
  const uint64_t size = static_cast<uint64_t>(log_stat.st_size);
  const uint64_t begin = std::max(child.log_begin, size > kMaxTailBytes ? size - kMaxTailBytes : 0);
  std::string text(size > begin ? size - begin : 0, '\0');
  const ssize_t read_bytes = pread(fd, text.data(), text.size(), static_cast<off_t>(begin));
  close(fd);
  text.resize(read_bytes > 0 ? static_cast<size_t>(read_bytes) : 0);
  std::vector<std::string> lines = absl::StrSplit(text, '\n', absl::SkipEmpty());
  if (lines.size() > static_cast<size_t>(count)) lines.erase(lines.begin(), lines.end() - count);
  return lines;
}

}  // namespace penstock
