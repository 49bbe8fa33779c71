// The program itself: how it ends, and what it says where it cannot start.
#include <gtest/gtest.h>
#include <signal.h>

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "common/child_process.h"
#include "tests/common/scratch_dir.h"
#include "tests/worker/link/fake_coordinator.h"

namespace penstock {
namespace {

constexpr absl::Duration kPatience = absl::Minutes(2);  // libtorch takes seconds to load on a busy host

class WorkerMainTest : public ::testing::Test {
 protected:
  ChildProcess Start(const std::string& coordinator, std::vector<std::string> more = {}) {
    std::vector<std::string> args = {std::filesystem::absolute("worker/penstock-worker").string(), "--coordinator",
                                     coordinator, "--id", "localhost/cpu.0"};
    args.insert(args.end(), more.begin(), more.end());
    auto child = StartChild({.args = std::move(args), .log_path = folder_ / "log"});
    EXPECT_TRUE(child.ok()) << child.status();
    return *std::move(child);
  }
  ChildEnd AwaitEnd(ChildProcess* child) {
    if (!AwaitChild(*child, kPatience)) {
      ADD_FAILURE() << "the worker does not end";
      SignalChild(*child, SIGKILL);
    }
    return ReapChild(child);
  }
  std::string Log() const { return Slurp(folder_ / "log"); }

  TurnedClock clock_;
  ScratchDir folder_;
  FakeCoordinator coordinator_{&clock_};
};

TEST_F(WorkerMainTest, EndsCleanlyOnATerminationSignal) {
  ChildProcess worker = Start(coordinator_.address());
  coordinator_.AwaitHeartbeats(1);
  SignalChild(worker, SIGTERM);
  const ChildEnd end = AwaitEnd(&worker);
  EXPECT_EQ(end.exit_code, 0) << end.cause << "\n" << Log();
  EXPECT_TRUE(absl::StrContains(Log(), "ending: asked to")) << Log();
}

TEST_F(WorkerMainTest, TellsTheCoordinatorWhereItListensAndThatAPortInUseIsNone) {
  ChildProcess first = Start(coordinator_.address());
  const std::string address = coordinator_.AwaitRegistrations(1)[0].request.address();
  ChildProcess second = Start(coordinator_.address(), {"--listen", address});
  const ChildEnd end = AwaitEnd(&second);
  EXPECT_EQ(end.exit_code, 1) << end.cause;
  EXPECT_TRUE(absl::StrContains(Log(), "cannot listen on " + address)) << Log();
  EXPECT_TRUE(absl::StrContains(Log(), "choose another with --listen")) << Log();
  SignalChild(first, SIGTERM);
  EXPECT_EQ(AwaitEnd(&first).exit_code, 0);
}

TEST_F(WorkerMainTest, EndsWithAnErrorWhereItIsRefused) {
  coordinator_.AnswerRegister({absl::AlreadyExistsError("a live worker has this id")});
  ChildProcess worker = Start(coordinator_.address());
  EXPECT_EQ(AwaitEnd(&worker).exit_code, 1);
  EXPECT_TRUE(absl::StrContains(Log(), "a live worker has this id")) << Log();
}

TEST_F(WorkerMainTest, RefusesAnAddressBeyondThisHost) {
  ChildProcess worker = Start("10.0.0.1:7400");
  EXPECT_EQ(AwaitEnd(&worker).exit_code, 2);
  EXPECT_TRUE(absl::StrContains(Log(), "not a loopback address")) << Log();
}

}  // namespace
}  // namespace penstock
