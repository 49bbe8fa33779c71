#include "cli/coordinator_process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/clock.h"
#include "common/file.h"
#include "common/state_folder.h"
#include "common/status_macros.h"

namespace penstock {
namespace {

// It reads a file, opens a database and two ports: tenths of a second, more on a busy machine.
constexpr absl::Duration kReadyPatience = absl::Seconds(30);
// The ready line is two addresses, a number and a path.
constexpr size_t kMaxReadyLine = 16384;
constexpr int kLastLogLines = 20;
// How its main begins the message with which it refuses to start.
constexpr absl::string_view kLastWord = "penstock-coordinator: ";

}  // namespace

absl::StatusOr<std::string> FindCoordinatorBinary() {
  std::array<char, 4096> self{};
  const ssize_t length = readlink("/proc/self/exe", self.data(), self.size() - 1);
  if (length <= 0) return absl::NotFoundError("cannot tell where this program is: /proc/self/exe");
  const std::string folder = ParentPath(std::string(self.data(), static_cast<size_t>(length)));
  const std::string beside = JoinPath(folder, "penstock-coordinator");
  const std::string built = JoinPath(ParentPath(folder), "coordinator/penstock-coordinator");
  for (const std::string& path : {beside, built}) {
    if (access(path.c_str(), X_OK) == 0) return path;
  }
  return absl::NotFoundError(absl::StrCat("penstock-coordinator is neither at ", beside, " nor at ", built));
}

absl::StatusOr<std::string> DefaultStateDir(const std::string& name) {
  const auto value = [](const char* variable) {
    const char* const text = std::getenv(variable);
    return std::string(text != nullptr ? text : "");
  };
  if (const std::string state_home = value("XDG_STATE_HOME"); !state_home.empty()) {
    return JoinPath(state_home, absl::StrCat("penstock/", name));
  }
  if (const std::string home = value("HOME"); !home.empty()) {
    return JoinPath(home, absl::StrCat(".local/state/penstock/", name));
  }
  return absl::FailedPreconditionError("neither XDG_STATE_HOME nor HOME is set; give --state-dir");
}

// 1. the state folder, which the process inherits: whatever is written there from now on meets no other coordinator's
// 2. its file, and the folder of its log
// 3. the process, with a pipe for its ready line: in a group of its own, so that a terminal's Ctrl-C reaches this
//    program alone, which then asks the coordinator to stop
// 4. AwaitReady
absl::StatusOr<std::unique_ptr<CoordinatorProcess>> CoordinatorProcess::Start(const CoordinatorStart& start) {
  PENSTOCK_ASSIGN_OR_RETURN(const FileLock folder, TakeStateFolder(start.state_dir));
  if (!start.contents.empty()) {
    PENSTOCK_RETURN_IF_ERROR(WriteFileAtomically(start.config, start.contents));
  }
  const std::string log_dir = JoinPath(start.state_dir, "logs");
  PENSTOCK_RETURN_IF_ERROR(MakeDirs(log_dir));
  std::array<int, 2> ready{};
  if (pipe2(ready.data(), O_CLOEXEC) != 0) return absl::ResourceExhaustedError("cannot open a pipe");
  ChildOptions options{.args = {start.binary, "--config", start.config, "--ready-fd", absl::StrCat(ready[1]),
                                "--state-lock-fd", absl::StrCat(folder.descriptor())},
                       .log_path = JoinPath(log_dir, "coordinator.log"),
                       .die_with_thread = !start.detached,
                       .group = start.detached ? ChildOptions::Group::kOwnSession : ChildOptions::Group::kOwn,
                       .keep_fds = {ready[1], folder.descriptor()}};
  if (!start.detached) options.args.push_back("--die-with-parent");
  absl::StatusOr<ChildProcess> child = StartChild(options);
  close(ready[1]);
  if (!child.ok()) {
    close(ready[0]);
    return child.status();
  }
  if (start.on_started) start.on_started(child->pid);
  std::unique_ptr<CoordinatorProcess> process(new CoordinatorProcess(*std::move(child), start.detached));
  const absl::Status status = process->AwaitReady(ready[0]);
  close(ready[0]);
  if (!status.ok()) return status;
  return process;
}

CoordinatorProcess::~CoordinatorProcess() {
  if (child_.pidfd < 0) return;
  if (!detached_) {
    Kill();
  } else {
    close(child_.pidfd);
  }
}

absl::Status CoordinatorProcess::AwaitReady(int ready_fd) {
  Clock* const clock = Clock::Real();
  const absl::Duration deadline = clock->Monotonic() + kReadyPatience;
  std::string line;
  while (line.size() < kMaxReadyLine && (line.empty() || line.back() != '\n')) {
    pollfd fd{.fd = ready_fd, .events = POLLIN};
    const absl::Duration left = deadline - clock->Monotonic();
    if (left <= absl::ZeroDuration() || poll(&fd, 1, static_cast<int>(absl::ToInt64Milliseconds(left)) + 1) == 0) {
      Kill();
      return absl::DeadlineExceededError(absl::StrCat(
          "the coordinator did not listen within ", absl::FormatDuration(kReadyPatience), "; its log is ", log_path()));
    }
    std::array<char, 1024> buffer{};
    const ssize_t count = read(ready_fd, buffer.data(), buffer.size());
    if (count == 0) return EndedEarly();
    if (count > 0) line.append(buffer.data(), static_cast<size_t>(count));
  }
  const nlohmann::json ready = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (!ready.is_object() || !ready.contains("address") || !ready["address"].is_string() || !ready.contains("http") ||
      !ready["http"].is_string()) {
    Kill();
    return absl::InternalError(absl::StrCat("the coordinator's ready line is not understood: ", line));
  }
  address_ = ready["address"].get<std::string>();
  http_address_ = ready["http"].get<std::string>();
  return absl::OkStatus();
}

// It closed the pipe without a ready line: it has ended, or is about to.
absl::Status CoordinatorProcess::EndedEarly() {
  if (!AwaitChild(child_, kReadyPatience)) Kill();
  std::vector<std::string> log = LastLogLines(child_, kLastLogLines);
  // Its own last word, if it had one, without the configuration that it printed before.
  for (size_t i = log.size(); i-- > 0;) {
    if (absl::StartsWith(log[i], kLastWord)) {
      log.erase(log.begin(), log.begin() + static_cast<std::ptrdiff_t>(i));
      log[0].erase(0, kLastWord.size());
      break;
    }
  }
  const ChildEnd end = child_.pidfd >= 0 ? ReapChild(&child_) : ChildEnd{.cause = "did not end by itself"};
  const std::string message = absl::StrCat("the coordinator could not start (", end.cause, "):\n  ",
                                           absl::StrJoin(log, "\n  "), "\nits log is ", log_path());
  // It uses the same exit codes as this command: 2 is a bad file.
  return end.exit_code == 2 ? absl::InvalidArgumentError(message) : absl::AbortedError(message);
}

std::string CoordinatorProcess::DescribeEnd() {
  const std::vector<std::string> log = LastLogLines(child_, kLastLogLines);
  const ChildEnd end = ReapChild(&child_);
  return absl::StrCat("the coordinator ended (", end.cause, "); its last words:\n  ", absl::StrJoin(log, "\n  "),
                      "\nits log is ", log_path());
}

void CoordinatorProcess::Kill() {
  if (child_.pidfd < 0) return;
  // Its group holds its workers too; they would follow it anyway, a moment later.
  kill(-child_.pid, SIGKILL);
  SignalChild(child_, SIGKILL);
  ReapChild(&child_);
}

}  // namespace penstock
