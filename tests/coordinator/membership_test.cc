#include "coordinator/membership.h"

#include <gtest/gtest.h>

#include <string>

#include "common/version.h"
#include "coordinator/relaunch.h"

namespace penstock {
namespace {

constexpr absl::Duration kEvery = absl::Milliseconds(200);
constexpr absl::Duration kLostAfter = absl::Seconds(2);

v1::RegisterRequest Request(const std::string& id, const std::string& nonce) {
  v1::RegisterRequest request;
  request.set_id(id);
  request.set_nonce(nonce);
  request.set_version(kVersion);
  request.set_host("gpu01");
  request.set_pid(77);
  request.set_device("cpu");
  request.set_address("127.0.0.1:5000");
  return request;
}

v1::HeartbeatRequest Beat(const std::string& id, uint64_t incarnation, uint64_t sequence) {
  v1::HeartbeatRequest beat;
  beat.set_id(id);
  beat.set_incarnation(incarnation);
  beat.set_sequence(sequence);
  return beat;
}

class MembershipTest : public ::testing::Test {
 protected:
  // Lets time pass as a monitor that runs on time sees it; collects the losses.
  void Pass(absl::Duration duration) {
    for (const absl::Duration end = now_ + duration; now_ < end;) {
      now_ += kEvery;
      for (WorkerLoss& loss : members_.Advance(now_)) losses_.push_back(std::move(loss));
    }
  }

  absl::Duration now_ = absl::Seconds(9);
  Membership members_{{{"w0", "gpu01", "cpu", 0}}, kEvery, kLostAfter};
  std::vector<WorkerLoss> losses_;
};

TEST_F(MembershipTest, AnExpectedWorkerIsMissedUntilItRegisters) {
  EXPECT_EQ(members_.Ready().message(), "workers are missing: w0 (has not registered yet)");
  ASSERT_TRUE(members_.Register(Request("w0", "a"), 4, now_).ok());
  ASSERT_TRUE(members_.Heartbeat(Beat("w0", 4, 1), now_).ok());
  EXPECT_TRUE(members_.Ready().ok());
  EXPECT_EQ(members_.Status(now_)[0].state(), "idle");
}

// A worker was given work while the answer to its registration was still on its way, and refused it: it did not know
// its incarnation yet.
TEST_F(MembershipTest, AWorkerIsGivenNothingBeforeItsFirstHeartbeat) {
  ASSERT_TRUE(members_.Register(Request("w0", "a"), 4, now_).ok());
  EXPECT_FALSE(members_.Offers()[0].idle);
  EXPECT_EQ(members_.Status(now_)[0].state(), "starting");
  EXPECT_TRUE(members_.Heartbeat(Beat("w0", 4, 1), now_)->first);
  EXPECT_TRUE(members_.Offers()[0].idle);
  EXPECT_FALSE(members_.Heartbeat(Beat("w0", 4, 2), now_)->first);
}

TEST_F(MembershipTest, ARepeatedRegistrationGetsTheSameIncarnation) {
  ASSERT_EQ(members_.Register(Request("w0", "a"), 4, now_)->incarnation(), 4u);
  EXPECT_EQ(members_.Register(Request("w0", "a"), 5, now_)->incarnation(), 4u);
}

TEST_F(MembershipTest, ALiveIdIsRefusedToAnotherProcessByNameAndPid) {
  ASSERT_TRUE(members_.Register(Request("w0", "a"), 4, now_).ok());
  const absl::Status refused = members_.Register(Request("w0", "b"), 5, now_).status();
  EXPECT_TRUE(absl::IsAlreadyExists(refused));
  EXPECT_EQ(refused.message(),
            "worker id w0 is taken by a live process, pid 77 on gpu01; give this worker another --id");
}

TEST_F(MembershipTest, AnotherVersionIsRefusedNamingBoth) {
  v1::RegisterRequest request = Request("w0", "a");
  request.set_version("9.9.9");
  const absl::Status refused = members_.Register(request, 4, now_).status();
  EXPECT_TRUE(absl::IsFailedPrecondition(refused));
  EXPECT_NE(refused.message().find("9.9.9"), std::string::npos);
  EXPECT_NE(refused.message().find(kVersion), std::string::npos);
}

TEST_F(MembershipTest, AnIdOrAddressThatCannotBeIsRefused) {
  EXPECT_TRUE(absl::IsInvalidArgument(members_.Register(Request("", "a"), 4, now_).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(members_.Register(Request("a b", "a"), 4, now_).status()));
  v1::RegisterRequest request = Request("w0", "a");
  request.set_address("10.0.0.1:5000");
  EXPECT_TRUE(absl::IsInvalidArgument(members_.Register(request, 4, now_).status()));
}

TEST_F(MembershipTest, AWorkerIsLostExactlyWhenItsHeartbeatsStoppedForLong) {
  members_.Advance(now_);
  ASSERT_TRUE(members_.Register(Request("w0", "a"), 4, now_).ok());
  members_.Reserve("w0", "job-1");
  Pass(kLostAfter - kEvery);
  EXPECT_TRUE(losses_.empty());
  EXPECT_EQ(members_.Status(now_)[0].pid(), 77u);
  Pass(kEvery);
  ASSERT_EQ(losses_.size(), 1u);
  // The number of its process was shown on, though it may be another's by now.
  EXPECT_EQ(members_.Status(now_)[0].pid(), 0u);
  EXPECT_EQ(losses_[0].id, "w0");
  EXPECT_EQ(losses_[0].incarnation, 4u);
  EXPECT_EQ(losses_[0].job, "job-1");
  EXPECT_EQ(losses_[0].fault.kind, Fault::Kind::kSilent);
  EXPECT_EQ(members_.Status(now_)[0].state(), "lost");
}

TEST_F(MembershipTest, AWorkerThatLeavesIsNotLost) {
  // A worker that had joined by itself and was ended by SIGTERM stood there as lost, for ever.
  ASSERT_TRUE(members_.Register(Request("w0", "a"), 4, now_).ok());
  ASSERT_TRUE(members_.Register(Request("guest", "b"), 1, now_).ok());
  members_.Reserve("guest", "job-1");
  v1::HeartbeatRequest last = Beat("guest", 1, 1);
  last.set_leaving(true);
  const auto news = members_.Heartbeat(last, now_);
  ASSERT_TRUE(news.ok() && news->left.has_value());
  EXPECT_EQ(news->left->id, "guest");
  EXPECT_EQ(news->left->job, "job-1");
  EXPECT_EQ(news->left->fault.what, "left the cluster: its process was told to end");
  EXPECT_EQ(members_.Status(now_).size(), 1u) << "nobody waits for it";
  // One of cluster.yaml stays in the list: it is expected again.
  last = Beat("w0", 4, 1);
  last.set_leaving(true);
  ASSERT_TRUE(members_.Heartbeat(last, now_).ok());
  EXPECT_EQ(members_.Status(now_)[0].state(), "left");
  EXPECT_TRUE(members_.Offers()[0].coming);
  EXPECT_TRUE(absl::IsNotFound(members_.Heartbeat(Beat("w0", 4, 2), now_).status()));
  EXPECT_TRUE(members_.Register(Request("w0", "c"), 5, now_).ok());
}

TEST_F(MembershipTest, HeartbeatsKeepAWorkerAlive) {
  members_.Advance(now_);
  ASSERT_TRUE(members_.Register(Request("w0", "a"), 4, now_).ok());
  for (uint64_t beat = 1; beat < 30; ++beat) {
    Pass(kEvery);
    EXPECT_TRUE(members_.Heartbeat(Beat("w0", 4, beat), now_)->fresh);
  }
  EXPECT_TRUE(losses_.empty());
}

// An overloaded host stops everybody, the monitor too: its own pause must not look like everybody's death.
TEST_F(MembershipTest, AMonitorThatWokeLateGivesEveryoneThatMuchMoreTime) {
  members_.Advance(now_);
  ASSERT_TRUE(members_.Register(Request("w0", "a"), 4, now_).ok());
  now_ += absl::Seconds(30);
  EXPECT_TRUE(members_.Advance(now_).empty());
  Pass(kLostAfter - 2 * kEvery);
  EXPECT_TRUE(losses_.empty());
  Pass(kEvery);
  EXPECT_EQ(losses_.size(), 1u);
}

TEST_F(MembershipTest, ARepeatedHeartbeatIsToldApart) {
  ASSERT_TRUE(members_.Register(Request("w0", "a"), 4, now_).ok());
  EXPECT_TRUE(members_.Heartbeat(Beat("w0", 4, 1), now_)->fresh);
  EXPECT_FALSE(members_.Heartbeat(Beat("w0", 4, 1), now_)->fresh);
  EXPECT_TRUE(members_.Heartbeat(Beat("w0", 4, 2), now_)->fresh);
}

TEST_F(MembershipTest, AnUnknownWorkerRegistersAgainAndAnOldIncarnationEnds) {
  EXPECT_TRUE(absl::IsNotFound(members_.Heartbeat(Beat("w0", 1, 1), now_).status()));
  ASSERT_TRUE(members_.Register(Request("w0", "a"), 4, now_).ok());
  EXPECT_TRUE(absl::IsAborted(members_.Heartbeat(Beat("w0", 3, 1), now_).status()));
}

TEST_F(MembershipTest, ALostWorkerMayComeBackAsANewIncarnation) {
  members_.Advance(now_);
  ASSERT_TRUE(members_.Register(Request("w0", "a"), 4, now_).ok());
  Pass(absl::Seconds(3));
  EXPECT_TRUE(absl::IsNotFound(members_.Heartbeat(Beat("w0", 4, 1), now_).status()));
  EXPECT_EQ(members_.Register(Request("w0", "a"), 5, now_)->incarnation(), 5u);
  EXPECT_TRUE(absl::IsAborted(members_.Heartbeat(Beat("w0", 4, 2), now_).status()));
}

TEST_F(MembershipTest, AProcessEndIsKnownAtOnceWithItsCause) {
  ASSERT_TRUE(members_.Register(Request("w0", "a"), 4, now_).ok());
  members_.Reserve("w0", "job-1");
  const auto loss = members_.ProcessEnded("w0", "killed by signal 9 (SIGKILL)", {"last line"});
  ASSERT_TRUE(loss.has_value());
  EXPECT_EQ(loss->job, "job-1");
  EXPECT_EQ(loss->fault.kind, Fault::Kind::kExit);
  EXPECT_EQ(loss->fault.evidence, std::vector<std::string>{"last line"});
  // A second word on the same process says nothing new.
  EXPECT_FALSE(members_.ProcessEnded("w0", "killed", {}).has_value());
}

TEST_F(MembershipTest, AProcessThatNeverRegisteredSaysWhyInItsStatus) {
  EXPECT_FALSE(members_.ProcessEnded("w0", "exited with code 2", {"no such device"}).has_value());
  EXPECT_EQ(members_.Status(now_)[0].reason(), "exited with code 2: no such device");
  EXPECT_EQ(members_.Ready().message(), "workers are missing: w0 (exited with code 2: no such device)");
}

TEST_F(MembershipTest, AWorkerThatJoinedByItselfIsForgottenWhenItGoes) {
  ASSERT_TRUE(members_.Register(Request("guest", "a"), 1, now_).ok());
  EXPECT_EQ(members_.Offers().size(), 2u);
  members_.ProcessEnded("guest", "gone", {});
  EXPECT_EQ(members_.Offers().size(), 1u);
}

TEST(RelaunchTest, PausesDoubleAndEndAfterFiveEarlyEnds) {
  Relaunch relaunch;
  absl::Duration now = absl::Seconds(100);
  relaunch.Started("w0", now);
  for (const int pause_ms : {500, 1000, 2000, 4000}) {
    ASSERT_TRUE(relaunch.Ended("w0", now));
    EXPECT_TRUE(relaunch.TakeDue(now + absl::Milliseconds(pause_ms - 1)).empty());
    now += absl::Milliseconds(pause_ms);
    EXPECT_EQ(relaunch.TakeDue(now), std::vector<std::string>{"w0"});
    EXPECT_TRUE(relaunch.TakeDue(now).empty());
    relaunch.Started("w0", now);
  }
  EXPECT_FALSE(relaunch.Ended("w0", now));
}

TEST(RelaunchTest, AProcessThatLivedLongStartsTheCountAnew) {
  Relaunch relaunch;
  absl::Duration now;
  for (int i = 0; i < 20; ++i) {
    relaunch.Started("w0", now);
    now += absl::Seconds(60);
    EXPECT_TRUE(relaunch.Ended("w0", now)) << i;
  }
}

}  // namespace
}  // namespace penstock
