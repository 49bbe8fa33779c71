// Real processes: shell scripts stand in for the worker binary. A script says through a FIFO that it is ready, and the
// FIFO's end tells that the last process which held it is gone, so nothing here waits by the clock.
#include "coordinator/launch/local_launcher.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <string>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace penstock {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

// Keeps what on_exit tells, by worker.
class Exits {
 public:
  void Add(const WorkerExit& exit) {
    absl::MutexLock lock(&mu_);
    exits_[exit.id] = exit;
  }
  // Waits until the worker has ended.
  WorkerExit Await(const std::string& id) {
    const auto ended = [this, &id] {
      mu_.AssertReaderHeld();
      return exits_.contains(id);
    };
    absl::MutexLock lock(&mu_);
    mu_.Await(absl::Condition(&ended));
    return exits_[id];
  }
  size_t count() {
    absl::MutexLock lock(&mu_);
    return exits_.size();
  }

 private:
  absl::Mutex mu_;
  std::map<std::string, WorkerExit> exits_ ABSL_GUARDED_BY(mu_);
};

class LocalLauncherTest : public ::testing::Test {
 protected:
  LocalLauncherTest() {
    const char* const base = getenv("TEST_TMPDIR");
    dir_ = absl::StrCat(base != nullptr ? base : "/tmp", "/launcher_",
                        ::testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::create_directories(dir_);
  }

  // A launcher whose worker binary is a script with this body; $FIFO is the path of the FIFO.
  std::unique_ptr<Launcher> LauncherOf(const std::string& body) {
    const std::string path = absl::StrCat(dir_, "/worker");
    std::ofstream(path) << "#!/bin/sh\nFIFO=" << Fifo() << "\n" << body << "\n";
    chmod(path.c_str(), 0755);
    return NewLocalLauncher(Options(path));
  }

  LocalLauncherOptions Options(const std::string& binary) {
    return {.worker_binary = binary, .log_dir = dir_, .on_exit = [this](const WorkerExit& exit) { exits_.Add(exit); }};
  }

  std::string Fifo() const {
    const std::string path = absl::StrCat(dir_, "/fifo");
    mkfifo(path.c_str(), 0600);
    return path;
  }

  // Blocks until a script writes a line to the FIFO. Returns a descriptor that reads end-of-file once every process
  // that holds the FIFO is gone.
  int AwaitReady() {
    const int fd = open(Fifo().c_str(), O_RDONLY | O_CLOEXEC);
    char c = 0;
    while (read(fd, &c, 1) == 1 && c != '\n') {
    }
    return fd;
  }

  static WorkerLaunch Worker(const std::string& id) {
    return {.id = id, .host = "localhost", .device = "cpu", .memory_bytes = 0, .coordinator = "127.0.0.1:7400"};
  }

  std::string ReadLog(const std::string& name) const {
    std::ifstream file(absl::StrCat(dir_, "/", name, ".log"));
    return std::string(std::istreambuf_iterator<char>(file), {});
  }

  std::string dir_;
  Exits exits_;  // outlives every launcher of a test
};

TEST_F(LocalLauncherTest, PassesTheWorkerItsAddressIdDeviceAndLimit) {
  auto launcher = LauncherOf("echo \"$@\"");
  WorkerLaunch worker = Worker("localhost/cpu.1");
  worker.memory_bytes = 4096;
  ASSERT_TRUE(launcher->Start(worker).ok());
  exits_.Await("localhost/cpu.1");
  EXPECT_EQ(ReadLog("localhost-cpu.1"),
            "--coordinator 127.0.0.1:7400 --id localhost/cpu.1 --device cpu "
            "--end-with-coordinator --memory 4096\n");
}

TEST_F(LocalLauncherTest, ReportsAnExitCodeWithTheLastLinesOfTheLog) {
  auto launcher = LauncherOf("echo one; echo two >&2; exit 3");
  ASSERT_TRUE(launcher->Start(Worker("w")).ok());
  const WorkerExit exit = exits_.Await("w");
  EXPECT_EQ(exit.cause, "exited with code 3");
  EXPECT_FALSE(exit.expected);
  EXPECT_THAT(exit.last_log, ElementsAre("one", "two"));
}

TEST_F(LocalLauncherTest, ReportsASignalByItsName) {
  auto launcher = LauncherOf("kill -KILL $$");
  ASSERT_TRUE(launcher->Start(Worker("w")).ok());
  EXPECT_EQ(exits_.Await("w").cause, "killed by signal 9 (SIGKILL)");
}

TEST_F(LocalLauncherTest, ShowsTheEndOfALongLog) {
  auto launcher = LauncherOf("i=0; while [ $i -lt 100 ]; do echo line $i; i=$((i+1)); done");
  ASSERT_TRUE(launcher->Start(Worker("w")).ok());
  const WorkerExit exit = exits_.Await("w");
  ASSERT_EQ(exit.last_log.size(), 8u);
  EXPECT_EQ(exit.last_log.front(), "line 92");
  EXPECT_EQ(exit.last_log.back(), "line 99");
}

TEST_F(LocalLauncherTest, KeepsTheLogOfAnEarlierStartAndShowsOnlyTheNewLines) {
  auto earlier = LauncherOf("echo earlier");
  ASSERT_TRUE(earlier->Start(Worker("w")).ok());
  exits_.Await("w");
  Exits later;
  LocalLauncherOptions options = Options("/bin/echo");
  options.on_exit = [&later](const WorkerExit& exit) { later.Add(exit); };
  auto launcher = NewLocalLauncher(options);
  ASSERT_TRUE(launcher->Start(Worker("w")).ok());
  EXPECT_THAT(later.Await("w").last_log, ElementsAre(HasSubstr("--id w")));
  EXPECT_THAT(ReadLog("w"), HasSubstr("earlier\n--coordinator"));
}

TEST_F(LocalLauncherTest, RefusesAProgramThatIsMissingOrNotExecutable) {
  EXPECT_TRUE(absl::IsNotFound(NewLocalLauncher(Options("/nowhere/worker"))->Start(Worker("w"))));
  const std::string plain = absl::StrCat(dir_, "/plain");
  std::ofstream(plain) << "no program";
  const absl::Status status = NewLocalLauncher(Options(plain))->Start(Worker("w"));
  EXPECT_TRUE(absl::IsNotFound(status));
  EXPECT_THAT(std::string(status.message()), HasSubstr("Permission denied"));
  EXPECT_EQ(exits_.count(), 0u);
}

TEST_F(LocalLauncherTest, RefusesASecondWorkerOfTheSameIdWhileTheFirstRuns) {
  auto launcher = LauncherOf("echo ready > $FIFO; exec sleep 1000");
  ASSERT_TRUE(launcher->Start(Worker("w")).ok());
  close(AwaitReady());
  EXPECT_TRUE(absl::IsAlreadyExists(launcher->Start(Worker("w"))));
}

TEST_F(LocalLauncherTest, LetsAWorkerEndByItselfOnTheFirstSignal) {
  auto launcher = LauncherOf(
      "trap 'echo bye; exit 0' TERM; echo ready > $FIFO; while :; do sleep "
      "0.01; done");
  ASSERT_TRUE(launcher->Start(Worker("w")).ok());
  close(AwaitReady());
  launcher->StopAll(absl::Minutes(1));
  ASSERT_EQ(exits_.count(), 1u);
  const WorkerExit exit = exits_.Await("w");
  EXPECT_EQ(exit.cause, "exited with code 0");
  EXPECT_TRUE(exit.expected);
  EXPECT_THAT(exit.last_log, ElementsAre("bye"));
}

TEST_F(LocalLauncherTest, KillsAWorkerThatDoesNotEndWithinTheGrace) {
  auto launcher = LauncherOf("trap '' TERM; echo ready > $FIFO; exec sleep 1000");
  ASSERT_TRUE(launcher->Start(Worker("w")).ok());
  close(AwaitReady());
  launcher->StopAll(absl::Milliseconds(20));
  ASSERT_EQ(exits_.count(), 1u);
  EXPECT_EQ(exits_.Await("w").cause, "killed by signal 9 (SIGKILL)");
}

TEST_F(LocalLauncherTest, RefusesToStartAfterStopAll) {
  auto launcher = LauncherOf("exit 0");
  launcher->StopAll(absl::ZeroDuration());
  EXPECT_TRUE(absl::IsFailedPrecondition(launcher->Start(Worker("w"))));
}

TEST_F(LocalLauncherTest, StartsAWorkerAgainOnceItsEndWasReported) {
  absl::Mutex mu;
  int ends = 0;
  LocalLauncherOptions options = Options("/bin/true");
  options.on_exit = [&](const WorkerExit&) {
    absl::MutexLock lock(&mu);
    ++ends;
  };
  auto launcher = NewLocalLauncher(options);
  for (int i = 1; i <= 10; ++i) {
    ASSERT_TRUE(launcher->Start(Worker("w")).ok());
    const auto ended = [&] { return ends == i; };
    absl::MutexLock lock(&mu);
    mu.Await(absl::Condition(&ended));
  }
}

TEST_F(LocalLauncherTest, GivesAWorkerNoneOfTheParentsFiles) {
  constexpr int kLeaky = 77;  // without close-on-exec, as a careless library opens its files
  ASSERT_EQ(dup2(STDERR_FILENO, kLeaky), kLeaky);
  auto launcher = LauncherOf("test -e /proc/$$/fd/77 && echo leaked; readlink /proc/$$/fd/0");
  ASSERT_TRUE(launcher->Start(Worker("w")).ok());
  EXPECT_THAT(exits_.Await("w").last_log, ElementsAre("/dev/null"));
  close(kLeaky);
}

TEST_F(LocalLauncherTest, KeepsAWorkerWhoseStarterThreadHasEnded) {
  // The kernel's parent-death signal is tied to the thread that forked, not to the process.
  auto launcher = LauncherOf("trap 'exit 7' TERM; echo ready > $FIFO; while :; do sleep 0.01; done");
  std::thread([&] { ASSERT_TRUE(launcher->Start(Worker("w")).ok()); }).join();
  close(AwaitReady());
  launcher->StopAll(absl::Minutes(1));
  EXPECT_EQ(exits_.Await("w").cause, "exited with code 7");
}

TEST_F(LocalLauncherTest, KillsItsWorkersWhenItIsDestroyed) {
  auto launcher = LauncherOf("trap '' TERM; echo ready > $FIFO; exec sleep 1000");
  ASSERT_TRUE(launcher->Start(Worker("w")).ok());
  close(AwaitReady());
  launcher.reset();
  EXPECT_EQ(exits_.count(), 1u);
}

TEST_F(LocalLauncherTest, WorkersDieWithAProcessThatIsKilled) {
  ::testing::FLAGS_gtest_death_test_style = "threadsafe";
  // The reader opens first (without blocking), so that the worker's open for writing succeeds in the dying process.
  const int fd = open(Fifo().c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  EXPECT_EXIT(
      {
        auto launcher = LauncherOf("exec 3> $FIFO; echo ready >&3; exec sleep 1000");
        if (!launcher->Start(Worker("w")).ok()) _exit(1);
        raise(SIGKILL);
      },
      ::testing::KilledBySignal(SIGKILL), "");
  fcntl(fd, F_SETFL, 0);
  char c;
  while (read(fd, &c, 1) == 1) {
  }
  // End of file: no process holds the FIFO any more. A worker that had survived would block the read above.
  close(fd);
}

}  // namespace
}  // namespace penstock
