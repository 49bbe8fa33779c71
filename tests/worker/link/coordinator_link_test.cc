#include "worker/coordinator_link.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "absl/synchronization/notification.h"
#include "common/channel.h"
#include "tests/worker/link/fake_coordinator.h"
#include "worker/runtime/stop_signal.h"

namespace penstock {
namespace {

class CoordinatorLinkTest : public ::testing::Test {
 protected:
  CoordinatorLinkTest() : coordinator_(std::make_unique<FakeCoordinator>(&clock_)), log_(&clock_) {}
  ~CoordinatorLinkTest() override { StopTurning(); }

  void Start(bool end_with_coordinator = false) {
    const std::string address = coordinator_->address();
    link_ = std::make_unique<CoordinatorLink>(CoordinatorLink::Options{.coordinator = address,
                                                                       .end_with_coordinator = end_with_coordinator,
                                                                       .counters =
                                                                           [] {
                                                                             v1::Counters counters;
                                                                             counters.set_frames_sent(7);
                                                                             return counters;
                                                                           },
                                                                       .on_end =
                                                                           [this](const absl::Status& why) {
                                                                             end_ = why;
                                                                             ended_.Notify();
                                                                           }},
                                              v1::Membership::NewStub(OpenChannel(address)), &log_, &clock_);
    v1::RegisterRequest self;
    self.set_id("localhost/cpu.0");
    link_->Start(self);
  }

  // Lets the clock run, much faster than real time, until StopTurning.
  void Turn() {
    turner_ = std::thread([this] {
      while (!stop_turning_.WaitForNotificationWithTimeout(absl::Milliseconds(1)))
        clock_.Advance(absl::Milliseconds(5));
    });
  }
  void StopTurning() {
    if (!turner_.joinable()) return;
    stop_turning_.Notify();
    turner_.join();
  }

  const absl::Status& AwaitEnd() {
    ended_.WaitForNotification();
    return end_;
  }

  TurnedClock clock_;
  std::unique_ptr<FakeCoordinator> coordinator_;
  LogBuffer log_;
  absl::Status end_;
  absl::Notification ended_, stop_turning_;
  std::thread turner_;
  std::unique_ptr<CoordinatorLink> link_;  // first to go: its thread uses what is above
};

TEST_F(CoordinatorLinkTest, RegistersAndBeatsAtOnceWithoutTheClockBeingTurned) {
  Start();
  log_.Write("job-1", 0, "a line");
  const auto registrations = coordinator_->AwaitRegistrations(1);
  EXPECT_EQ(registrations[0].request.id(), "localhost/cpu.0");
  EXPECT_EQ(registrations[0].request.nonce().size(), 32u);
  const auto beats = coordinator_->AwaitHeartbeats(1);
  EXPECT_EQ(beats[0].id(), "localhost/cpu.0");
  EXPECT_EQ(beats[0].incarnation(), 11u);
  EXPECT_EQ(beats[0].sequence(), 1u);
  EXPECT_EQ(beats[0].counters().frames_sent(), 7u);
  EXPECT_GT(beats[0].resident_bytes(), 0u);
  EXPECT_EQ(link_->incarnation(), 11u);
}

TEST_F(CoordinatorLinkTest, LeavesWithALastHeartbeatThatCarriesTheLog) {
  // A worker that was told to end just stopped beating: the coordinator took it for lost, and never saw its last lines.
  Start();
  coordinator_->AwaitHeartbeats(1);
  log_.Write("job-1", 0, "the last line");
  link_->Leave();
  const auto beats = coordinator_->AwaitHeartbeats(2);
  EXPECT_FALSE(beats[0].leaving());
  EXPECT_TRUE(beats[1].leaving());
  EXPECT_EQ(beats[1].incarnation(), 11u);
  ASSERT_EQ(beats[1].log_size(), 1);
  EXPECT_EQ(beats[1].log(0).text(), "the last line");
}

TEST_F(CoordinatorLinkTest, HasNoIncarnationBeforeItHasRegistered) {
  coordinator_->AnswerRegister(std::vector<absl::Status>(1, absl::UnavailableError("starting")));
  Start();
  coordinator_->AwaitRegistrations(1);
  EXPECT_EQ(link_->incarnation(), 0u);
}

TEST_F(CoordinatorLinkTest, RetriesRegistrationEverMoreSeldomUpToASecondUnderOneNonce) {
  coordinator_->AnswerRegister(std::vector<absl::Status>(8, absl::UnavailableError("starting")));
  Start();
  Turn();
  const auto tries = coordinator_->AwaitRegistrations(9);
  coordinator_->AwaitHeartbeats(1);
  const int least_ms[] = {50, 100, 200, 400, 800, 1000, 1000, 1000};
  for (size_t i = 0; i < 8; ++i) {
    EXPECT_EQ(tries[i + 1].request.nonce(), tries[0].request.nonce());
    EXPECT_GE(tries[i + 1].at - tries[i].at, absl::Milliseconds(least_ms[i])) << i;
  }
}

TEST_F(CoordinatorLinkTest, RegistersAgainWhereTheCoordinatorDoesNotKnowItAnyMore) {
  coordinator_->AnswerHeartbeat({absl::OkStatus(), absl::NotFoundError("who is that?")});
  Start();
  coordinator_->AwaitHeartbeats(1);
  log_.Write("job-1", 0, "must not be lost");
  Turn();
  const auto registrations = coordinator_->AwaitRegistrations(2);
  EXPECT_EQ(registrations[1].request.nonce(), registrations[0].request.nonce());
  const auto beats = coordinator_->AwaitHeartbeats(3);
  EXPECT_EQ(beats[2].incarnation(), 12u);
  EXPECT_EQ(beats[2].log_size(), 1);
  EXPECT_EQ(link_->incarnation(), 12u);
}

TEST_F(CoordinatorLinkTest, SendsTheLinesOfAnUnansweredHeartbeatAgainUnderTheSameNumber) {
  coordinator_->AnswerHeartbeat({absl::OkStatus(), absl::UnavailableError("busy"), absl::UnavailableError("busy")});
  Start();
  coordinator_->AwaitHeartbeats(1);
  log_.Write("job-1", 0, "once");
  Turn();
  const auto beats = coordinator_->AwaitHeartbeats(5);
  for (size_t i = 1; i <= 3; ++i) {
    EXPECT_EQ(beats[i].sequence(), 2u) << i;
    ASSERT_EQ(beats[i].log_size(), 1) << i;
    EXPECT_EQ(beats[i].log(0).text(), "once");
  }
  EXPECT_EQ(beats[4].sequence(), 3u);
  EXPECT_EQ(beats[4].log_size(), 0);
}

TEST_F(CoordinatorLinkTest, EndsWhereANewerProcessHasItsId) {
  coordinator_->AnswerHeartbeat({absl::AbortedError("incarnation 12 has it")});
  Start();
  EXPECT_EQ(AwaitEnd().code(), absl::StatusCode::kAborted);
  EXPECT_TRUE(absl::StrContains(end_.message(), "another process has taken over the id localhost/cpu.0")) << end_;
}

TEST_F(CoordinatorLinkTest, EndsWhereItsVersionIsRefused) {
  coordinator_->AnswerRegister({absl::FailedPreconditionError("version 9.9.9; the coordinator's is 1.0.0")});
  Start();
  EXPECT_EQ(AwaitEnd().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_TRUE(absl::StrContains(end_.message(), "refused this worker")) << end_;
  EXPECT_TRUE(absl::StrContains(end_.message(), "version 9.9.9")) << end_;
  EXPECT_TRUE(absl::StrContains(end_.message(), coordinator_->address())) << end_;
}

TEST_F(CoordinatorLinkTest, EndsWhereALiveWorkerHasItsId) {
  coordinator_->AnswerRegister({absl::AlreadyExistsError("pid 1 on host-1 has this id")});
  Start();
  EXPECT_EQ(AwaitEnd().code(), absl::StatusCode::kAlreadyExists);
}

TEST_F(CoordinatorLinkTest, EndsWithItsCoordinatorIfItShould) {
  Start(/*end_with_coordinator=*/true);
  coordinator_->AwaitHeartbeats(1);
  const absl::Duration lost_at = clock_.Monotonic();
  coordinator_ = nullptr;
  Turn();
  EXPECT_EQ(AwaitEnd().code(), absl::StatusCode::kUnavailable);
  EXPECT_TRUE(absl::StrContains(end_.message(), "has not answered for")) << end_;
  EXPECT_GE(clock_.Monotonic() - lost_at, absl::Seconds(2)) << "patience is what the coordinator has said";
}

TEST_F(CoordinatorLinkTest, GoesOnBeatingThroughALongOutageElse) {
  coordinator_->AnswerHeartbeat(std::vector<absl::Status>(20, absl::UnavailableError("away")));
  Start();
  Turn();
  coordinator_->AwaitHeartbeats(22);
  EXPECT_FALSE(ended_.HasBeenNotified());
  EXPECT_EQ(coordinator_->AwaitRegistrations(1).size(), 1u);
}

TEST_F(CoordinatorLinkTest, CancelsACallThatIsUnderWayWhenItEnds) {
  coordinator_->HoldHeartbeats();
  Start();
  coordinator_->AwaitHeartbeats(1);
  link_ = nullptr;  // would wait for the heartbeat's deadline, or for ever
  EXPECT_FALSE(ended_.HasBeenNotified());
}

TEST_F(CoordinatorLinkTest, TakesAVoteToTheCoordinatorAndItsDecisionBack) {
  Start();
  v1::StepVote vote;
  vote.set_job("job-1");
  vote.set_step(3);
  StopSignal stop;
  const auto decision = link_->Commit(vote, &stop);
  ASSERT_TRUE(decision.ok()) << decision.status();
  EXPECT_TRUE(decision->commit());
  EXPECT_EQ(decision->clip_scale(), 0.5);
  EXPECT_EQ(coordinator_->AwaitVote().step(), 3u);
}

TEST_F(CoordinatorLinkTest, AVoteThatWaitsEndsWithTheStopSignalsReason) {
  coordinator_->HoldCommits();
  Start();
  StopSignal stop;
  absl::Status status;
  std::thread voter([&] { status = link_->Commit(v1::StepVote(), &stop).status(); });
  coordinator_->AwaitVote();
  stop.Stop(absl::UnavailableError("rank 1 is gone"));
  voter.join();
  EXPECT_EQ(status, absl::UnavailableError("rank 1 is gone"));
}

TEST_F(CoordinatorLinkTest, ARefusedVoteKeepsItsCodeAndNamesTheCoordinator) {
  coordinator_->AnswerCommit(absl::FailedPreconditionError("the job is at step 9"));
  Start();
  StopSignal stop;
  const absl::Status status = link_->Commit(v1::StepVote(), &stop).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_TRUE(absl::StrContains(status.message(), coordinator_->address())) << status;
}

}  // namespace
}  // namespace penstock
