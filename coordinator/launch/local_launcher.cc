#include "coordinator/launch/local_launcher.h"

#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/synchronization/mutex.h"
#include "common/child_process.h"
#include "common/clock.h"
#include "common/logging.h"
#include "common/status_macros.h"
#include "coordinator/launch/last_words.h"

namespace penstock {
namespace {

// How far back a worker's log is searched for what tells of its end.
constexpr int kSearchedLines = 200;

std::vector<std::string> WorkerArgs(const std::string& binary, const WorkerLaunch& worker) {
  std::vector<std::string> args = {binary,    "--coordinator", worker.coordinator, "--id",
                                   worker.id, "--device",      worker.device,      "--end-with-coordinator"};
  if (worker.memory_bytes > 0) {
    args.push_back("--memory");
    args.push_back(absl::StrCat(worker.memory_bytes));
  }
  return args;
}

// One thread makes and reaps every worker. It lives as long as the launcher: the kernel ties a child to the thread that
// forked it, and a thread of a gRPC pool may end at any time.
class LocalLauncher final : public Launcher {
 public:
  explicit LocalLauncher(LocalLauncherOptions options)
      : options_(std::move(options)), wake_fd_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    CHECK_GE(wake_fd_, 0) << "eventfd";
    thread_ = std::thread([this] { Run(); });
  }

  ~LocalLauncher() override {
    StopAll(absl::ZeroDuration());
    {
      absl::MutexLock lock(&mu_);
      ending_ = true;
    }
    Wake();
    thread_.join();
    close(wake_fd_);
  }

  absl::Status Start(const WorkerLaunch& worker) override {
    Request request{.worker = &worker};
    {
      absl::MutexLock lock(&mu_);
      if (stop_signal_ != 0) {
        return absl::FailedPreconditionError(absl::StrCat("worker ", worker.id, " is not started: the cluster ends"));
      }
      requests_.push_back(&request);
    }
    Wake();
    absl::MutexLock lock(&mu_);
    mu_.Await(absl::Condition(&request.done));
    return request.status;
  }

  void StopAll(absl::Duration grace) override {
    const absl::Duration deadline = Clock::Real()->Monotonic() + grace;
    const auto none_left = [this] {
      mu_.AssertReaderHeld();
      return children_.empty() && requests_.empty();
    };
    absl::MutexLock lock(&mu_);
    SignalAll(SIGTERM);
    if (Clock::Real()->AwaitUntil(&mu_, absl::Condition(&none_left), deadline)) return;
    SignalAll(SIGKILL);
    mu_.Await(absl::Condition(&none_left));
  }

 private:
  struct Request {
    const WorkerLaunch* worker;
    absl::Status status;
    bool done = false;
  };

  void Wake() { eventfd_write(wake_fd_, 1); }

  void SignalAll(int signal) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    stop_signal_ = signal;
    for (const auto& [id, child] : children_) SignalChild(child, signal);
  }

  // The thread: waits for requests and for the end of children, until the launcher ends and none is left.
  void Run() {
    while (true) {
      std::vector<pollfd> fds = {{.fd = wake_fd_, .events = POLLIN}};
      std::vector<std::string> ids = {""};
      {
        absl::MutexLock lock(&mu_);
        if (ending_ && children_.empty()) return;
        for (const auto& [id, child] : children_) {
          fds.push_back({.fd = child.pidfd, .events = POLLIN});
          ids.push_back(id);
        }
      }
      if (poll(fds.data(), fds.size(), -1) < 0) continue;
      eventfd_t count;
      eventfd_read(wake_fd_, &count);
      for (size_t i = 1; i < fds.size(); ++i) {
        if (fds[i].revents != 0) FinishChild(ids[i]);
      }
      ServeRequests();
    }
  }

  void ServeRequests() {
    while (true) {
      Request* request;
      {
        absl::MutexLock lock(&mu_);
        if (requests_.empty()) return;
        request = requests_.front();
      }
      absl::Status status = StartWorker(*request->worker);
      absl::MutexLock lock(&mu_);
      requests_.erase(requests_.begin());
      request->status = std::move(status);
      request->done = true;  // the caller may go on, and *request end, once the
                             // lock is free
    }
  }

  absl::Status StartWorker(const WorkerLaunch& worker) {
    {
      absl::MutexLock lock(&mu_);
      if (children_.contains(worker.id)) {
        return absl::AlreadyExistsError(absl::StrCat("worker ", worker.id, " runs already"));
      }
    }
    const std::string log = absl::StrCat(options_.log_dir, "/", absl::StrReplaceAll(worker.id, {{"/", "-"}}), ".log");
    PENSTOCK_ASSIGN_OR_RETURN(const ChildProcess child,
                              StartChild({.args = WorkerArgs(options_.worker_binary, worker), .log_path = log}));
    LOG(INFO) << "worker " << worker.id << " started, pid " << child.pid << ", log " << log;
    absl::MutexLock lock(&mu_);
    children_[worker.id] = child;
    if (stop_signal_ != 0) SignalChild(child, stop_signal_);  // StopAll came while it was being made
    return absl::OkStatus();
  }

  void FinishChild(const std::string& id) {
    ChildProcess child;
    WorkerExit end{.id = id};
    {
      absl::MutexLock lock(&mu_);
      child = children_[id];
      // From here SignalAll must not use the pidfd: its number may belong to another file once it is closed.
      children_[id].pidfd = -1;
      end.expected = stop_signal_ != 0;
    }
    end.cause = ReapChild(&child).cause;
    end.last_log = LastWords(LastLogLines(child, kSearchedLines));
    if (options_.on_exit) options_.on_exit(end);
    absl::MutexLock lock(&mu_);
    children_.erase(id);
  }

  const LocalLauncherOptions options_;
  const int wake_fd_;

  absl::Mutex mu_;
  int stop_signal_ ABSL_GUARDED_BY(mu_) = 0;  // the last that StopAll sent; 0: not called
  bool ending_ ABSL_GUARDED_BY(mu_) = false;
  std::vector<Request*> requests_ ABSL_GUARDED_BY(mu_);  // each lives in its caller's Start
  std::map<std::string, ChildProcess> children_ ABSL_GUARDED_BY(mu_);

  std::thread thread_;
};

}  // namespace

std::unique_ptr<Launcher> NewLocalLauncher(LocalLauncherOptions options) {
  return std::make_unique<LocalLauncher>(std::move(options));
}

}  // namespace penstock
