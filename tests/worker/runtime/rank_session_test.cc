#include "worker/runtime/rank_session.h"

#include <gtest/gtest.h>

#include <string>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "common/fake_clock.h"
#include "common/limits.h"
#include "tests/worker/runtime/rank_cluster.h"
#include "worker/runtime/rank_plan.h"

namespace penstock {
namespace {

using Replies = std::vector<absl::StatusOr<v1::RunReply>>;

// The fake ranks verify every byte and the order of every call; a run that ends well has moved the right tensors.
void ExpectAllOk(const Replies& replies) {
  for (const auto& reply : replies) EXPECT_TRUE(reply.ok()) << reply.status();
}

TEST(RankSessionTest, TrainsUnderEverySchedulePipelineDepthAndUnevenTail) {
  for (const std::string schedule : {"gpipe", "1f1b"}) {
    for (const int ranks : {1, 2, 4}) {
      for (const int micro_batches : {1, 3, 8}) {
        SCOPED_TRACE(absl::StrCat(schedule, " K=", ranks, " M=", micro_batches));
        RankCluster cluster({.ranks = ranks, .micro_batches = micro_batches, .batch = 10, .schedule = schedule},
                            Clock::Real());
        cluster.Load();
        const Replies replies = cluster.Run(RankCluster::Train(1, 1, 5));
        ExpectAllOk(replies);
        EXPECT_EQ(replies[0]->completed_step(), 5u);
        EXPECT_EQ(replies[0]->passes(), 5u);
        const v1::Counters counters = cluster.session(0).Counters();
        EXPECT_EQ(counters.frames_sent(), ranks == 1 ? 0u : 5u * static_cast<unsigned>(micro_batches));
        EXPECT_EQ(counters.frames_dropped(), 0u);
        EXPECT_EQ(counters.mailbox_bytes(), 0u);
      }
    }
  }
}

// relu_0 crosses three cuts and relu_1 two; each is a tensor of its own, forward and, as a gradient, back.
TEST(RankSessionTest, TensorsForALaterStagePassTheStagesBetween) {
  for (const std::string schedule : {"gpipe", "1f1b"}) {
    RankCluster cluster({.ranks = 4, .micro_batches = 5, .batch = 12, .schedule = schedule, .skips = {0, 1}},
                        Clock::Real());
    cluster.Load();
    ExpectAllOk(cluster.Run(RankCluster::Train(1, 1, 6)));
    EXPECT_EQ(cluster.session(0).Counters().frames_sent(), 6u * 5u);            // relu_0
    EXPECT_EQ(cluster.session(1).Counters().frames_sent(), 6u * 5u * (2 + 1));  // relu_0, relu_1; a gradient
    EXPECT_EQ(cluster.session(2).Counters().frames_sent(), 6u * 5u * (3 + 2));
    EXPECT_EQ(cluster.session(3).Counters().frames_sent(), 6u * 5u * 3);
    v1::RunRequest eval;
    eval.set_mode(v1::PASS_EVAL);
    eval.set_first_pass(7);
    eval.set_to_step(2);
    ExpectAllOk(cluster.Run(eval));
  }
}

// Zero-bubble's V and interleaved 1F1B, with recompute before some backward passes.
const PipelineShape kV = {
    .ranks = 2,
    .micro_batches = 4,
    .batch = 10,
    .rank_of_stage = {0, 1, 1, 0},
    .compute = {
        "0F0 0F1 0F2 3F0 3I0 3W0 3F1 3I1 3W1 0F3 0R0 0I0 0W0 3F2 3I2 3W2 0I1 0W1 3F3 3I3 3W3 0I2 0W2 0R3 0I3 0W3",
        "1F0 2F0 1F1 2F1 2R0 2I0 2W0 1F2 1I0 1W0 2F2 2I1 2W1 1F3 1I1 1W1 2F3 2I2 2W2 1I2 2I3 1I3 1W2 2W3 1W3"}};
const PipelineShape kInterleaved = {.ranks = 2,
                                    .micro_batches = 4,
                                    .batch = 10,
                                    .rank_of_stage = {0, 1, 0, 1},
                                    .compute = {"0F0 0F1 2F0 2F1 0F2 2B0 0F3 2B1 2F2 0B0 2F3 0B1 2B2 2B3 0B2 0B3",
                                                "1F0 1F1 3F0 3B0 3F1 3B1 1F2 1R0 1B0 1F3 1B1 3F2 3B2 3F3 3B3 1B2 1B3"}};

TEST(RankSessionTest, TensorsForALaterStagePassStagesOfTheSameRankToo) {
  for (PipelineShape shape : {kV, kInterleaved}) {
    shape.skips = {0, 1};
    RankCluster cluster(shape, Clock::Real());
    cluster.Load();
    ExpectAllOk(cluster.Run(RankCluster::Train(1, 1, 6)));
  }
}

TEST(RankSessionTest, SeveralStagesOfARankPassTensorsOnWithoutSending) {
  // Tensors that cross: a V turns inside rank 1, and its ends are on rank 0.
  for (const auto& [shape, crossing] : {std::pair{kV, 2u}, {kInterleaved, 3u}}) {
    RankCluster cluster(shape, Clock::Real());
    cluster.Load();
    ExpectAllOk(cluster.Run(RankCluster::Train(1, 1, 5)));
    v1::RunRequest eval;
    eval.set_mode(v1::PASS_EVAL);
    eval.set_first_pass(6);
    eval.set_to_step(2);
    const Replies evaluated = cluster.Run(eval);
    ExpectAllOk(evaluated);
    const int last = shape.rank_of_stage.back();
    EXPECT_EQ(evaluated[last]->eval().targets(), 30u);
    v1::RunRequest generate;
    generate.set_mode(v1::PASS_GENERATE);
    generate.set_first_pass(9);
    generate.add_tokens(3);
    const Replies generated = cluster.Run(generate);
    ExpectAllOk(generated);
    EXPECT_EQ(generated[last]->next_token(), 1);
    uint64_t frames = 0;
    for (int rank = 0; rank < 2; ++rank) frames += cluster.session(rank).Counters().frames_sent();
    // Each way in training, one way in evaluation and generation.
    EXPECT_EQ(frames, crossing * (2 * 4 * 5 + 4 * 3 + 1));
    ExpectAllOk(cluster.Run(RankCluster::Train(10, 6, 8)));
  }
}

TEST(RankSessionTest, AListThatSendsBetweenStagesOfOneRankIsRefused) {
  RankCluster cluster(kV, Clock::Real());
  v1::LoadRequest request = cluster.LoadRequestFor(1);
  *request.mutable_plan()->mutable_train(1)->add_actions() = ToProto(Action{1, ActionKind::kSendForward, 0});
  const absl::Status refused = ReadRankPlan(request).status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(refused.message(), "action 1SEND_F0 cannot be in the list of rank 1");
}

TEST(RankSessionTest, MovesTensorsOfManyPieces) {
  // 2 samples x 1.5 Mi features x 4 bytes: 12 pieces each.
  RankCluster cluster({.ranks = 2, .micro_batches = 2, .batch = 4, .features = 3 << 19}, Clock::Real());
  cluster.Load();
  ExpectAllOk(cluster.Run(RankCluster::Train(1, 1, 2)));
  EXPECT_EQ(cluster.session(1).Counters().frames_received(), 2u * 2u * 12u);
  EXPECT_EQ(cluster.session(1).Counters().bytes_received(), 2u * 2u * 12u * (1u << 20));
}

TEST(RankSessionTest, GoesFromTrainingToEvaluationToGenerationAndBack) {
  RankCluster cluster({.ranks = 3}, Clock::Real());
  cluster.Load();
  ExpectAllOk(cluster.Run(RankCluster::Train(1, 1, 3)));
  v1::RunRequest eval;
  eval.set_mode(v1::PASS_EVAL);
  eval.set_first_pass(4);
  eval.set_from_step(0);
  eval.set_to_step(9);
  const Replies evaluated = cluster.Run(eval);
  ExpectAllOk(evaluated);
  EXPECT_FALSE(evaluated[0]->has_eval());
  EXPECT_EQ(evaluated[2]->eval().loss_sum(), 45);
  EXPECT_EQ(evaluated[2]->eval().targets(), 80u);
  EXPECT_EQ(evaluated[2]->passes(), 10u);
  v1::RunRequest generate;
  generate.set_mode(v1::PASS_GENERATE);
  generate.set_first_pass(14);
  generate.add_tokens(3);
  generate.add_tokens(4);
  const Replies generated = cluster.Run(generate);
  ExpectAllOk(generated);
  EXPECT_EQ(generated[2]->next_token(), 2);
  v1::RunRequest more = RankCluster::Train(15, 4, 6);
  more.set_hash(true);
  const Replies replies = cluster.Run(more);
  ExpectAllOk(replies);
  EXPECT_EQ(replies[1]->hashes(0).name(), "step-6");
}

TEST(RankSessionTest, EndsEarlyWhenToldAndGoesOnWithTheNextPassNumber) {
  RankCluster cluster({.ranks = 3, .schedule = "1f1b"}, Clock::Real());
  cluster.Load();
  cluster.committer().EndAfter(2);
  const Replies replies = cluster.Run(RankCluster::Train(1, 1, 100));
  ExpectAllOk(replies);
  EXPECT_EQ(replies[0]->completed_step(), 2u);
  EXPECT_EQ(replies[0]->passes(), 2u);
  // Credit for pass 3 as a training pass has been given already; now it is an evaluation.
  v1::RunRequest eval;
  eval.set_mode(v1::PASS_EVAL);
  eval.set_first_pass(3);
  eval.set_to_step(3);
  ExpectAllOk(cluster.Run(eval));
  ExpectAllOk(cluster.Run(RankCluster::Train(7, 3, 5)));
}

TEST(RankSessionTest, DropsTheGradientsOfAStepThatIsNotCommitted) {
  RankCluster cluster({.ranks = 2}, Clock::Real());
  cluster.Load();
  cluster.committer().RefuseStep(3);
  const Replies replies = cluster.Run(RankCluster::Train(1, 1, 10));
  ExpectAllOk(replies);
  EXPECT_EQ(replies[1]->completed_step(), 2u);
  EXPECT_EQ(replies[1]->passes(), 3u);
  ExpectAllOk(cluster.Run(RankCluster::Train(4, 4, 4)));
}

TEST(RankSessionTest, VotesTellWhatTheStepTook) {
  RankCluster cluster({.ranks = 2}, Clock::Real());
  cluster.Load();
  ExpectAllOk(cluster.Run(RankCluster::Train(1, 1, 3)));
  const std::vector<v1::StepVote> votes = cluster.committer().votes();
  ASSERT_EQ(votes.size(), 6u);
  for (const v1::StepVote& vote : votes) {
    EXPECT_EQ(vote.job(), "job-1");
    EXPECT_EQ(vote.incarnation(), 100 + vote.rank());
    EXPECT_TRUE(vote.finite());
    EXPECT_EQ(vote.losses_size(), vote.rank() == 1 ? 4 : 0);
    EXPECT_LE(vote.busy_seconds(), vote.pass_seconds());
    EXPECT_GT(vote.step_seconds(), 0);
    EXPECT_EQ(vote.counters().peak_allocated_bytes(), 12345u);
    EXPECT_EQ(vote.peak_bytes(), 12345u);
    EXPECT_EQ(vote.state_bytes(), 1000u);
    ASSERT_EQ(vote.stages_size(), 1);
    const v1::StageTimes& stage = vote.stages(0);
    EXPECT_EQ(stage.stage(), vote.rank());
    EXPECT_EQ(stage.forward().count(), 4u);
    // A whole backward pass counts as its two parts.
    EXPECT_EQ(stage.input_gradient().count(), 4u);
    EXPECT_EQ(stage.weight_gradient().count(), 4u);
    EXPECT_FALSE(stage.has_recompute());
    EXPECT_NEAR(stage.forward().seconds() + stage.input_gradient().seconds() + stage.weight_gradient().seconds(),
                vote.busy_seconds(), 1e-9);
    EXPECT_LE(vote.busy_seconds() + vote.receive_seconds() + vote.send_seconds(), vote.pass_seconds() + 1e-9);
    EXPECT_GT(vote.receive_seconds(), 0);
    EXPECT_GT(vote.send_seconds(), 0);
  }
}

TEST(RankSessionTest, VotesTellTheTimesOfEachStageOfARank) {
  RankCluster cluster(kV, Clock::Real());
  cluster.Load();
  ExpectAllOk(cluster.Run(RankCluster::Train(1, 1, 1)));
  for (const v1::StepVote& vote : cluster.committer().votes()) {
    ASSERT_EQ(vote.stages_size(), 2);
    EXPECT_EQ(vote.stages(0).stage(), vote.rank());
    EXPECT_EQ(vote.stages(1).stage(), 3 - vote.rank());
    EXPECT_EQ(vote.stages(0).recompute().count(), vote.rank() == 0 ? 2u : 0u);
    EXPECT_EQ(vote.stages(1).recompute().count(), vote.rank() == 0 ? 0u : 1u);
  }
}

TEST(RankSessionTest, AFailedActionNamesJobRankStepAndActionAndStopsTheNeighbours) {
  const auto before = [](const Pass& pass, const Action& action) {
    return pass.step == 2 && ToText(action) == "1F3" ? absl::ResourceExhaustedError("out of memory") : absl::OkStatus();
  };
  RankCluster cluster({.ranks = 3}, Clock::Real(), before);
  cluster.Load();
  const Replies replies = cluster.Run(RankCluster::Train(1, 1, 10));
  EXPECT_EQ(replies[1].status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_TRUE(absl::StrContains(replies[1].status().message(), "job job-1, rank 1: step 2, action 1F3: out of memory"))
      << replies[1].status();
  for (const int neighbour : {0, 2}) {
    EXPECT_EQ(replies[neighbour].status().code(), absl::StatusCode::kUnavailable);
    EXPECT_TRUE(absl::StrContains(replies[neighbour].status().message(), "rank 1 (worker localhost/cpu.1)"))
        << replies[neighbour].status();
  }
  // Nothing runs on half a pipeline.
  for (const auto& reply : cluster.Run(RankCluster::Train(3, 3, 4))) {
    EXPECT_EQ(reply.status().code(), absl::StatusCode::kFailedPrecondition);
  }
}

TEST(RankSessionTest, AKilledPeerEndsTheRunOfEveryNeighbourAndIsNamed) {
  absl::Notification reached;
  const auto before = [&reached](const Pass& pass, const Action& action) {
    if (pass.step == 3 && action.stage == 0 && !reached.HasBeenNotified()) reached.Notify();
    return absl::OkStatus();
  };
  RankCluster cluster({.ranks = 3, .schedule = "1f1b"}, Clock::Real(), before);
  cluster.Load();
  std::thread killer([&] {
    reached.WaitForNotification();
    cluster.Kill(1);
  });
  const Replies replies = cluster.Run(RankCluster::Train(1, 1, 1000000));
  killer.join();
  for (const int neighbour : {0, 2}) {
    EXPECT_EQ(replies[neighbour].status().code(), absl::StatusCode::kUnavailable) << replies[neighbour].status();
    EXPECT_TRUE(absl::StrContains(replies[neighbour].status().message(), "rank 1 (worker localhost/cpu.1)"))
        << replies[neighbour].status();
  }
  EXPECT_FALSE(replies[1].ok());
}

TEST(RankSessionTest, ACancelledRunUnwindsAtOnceWhereverItWaits) {
  // Rank 0 alone runs: it waits for a gradient that nobody will send.
  RankCluster cluster({.ranks = 2}, Clock::Real());
  cluster.Load();
  v1::RunRequest request = RankCluster::Train(1, 1, 5);
  absl::Notification done;
  absl::Status status;
  cluster.session(0).Run(request, [&](absl::StatusOr<v1::RunReply> reply) {
    status = reply.status();
    done.Notify();
  });
  cluster.session(0).Stop(absl::CancelledError("the coordinator has cancelled the run"));
  done.WaitForNotification();
  EXPECT_EQ(status.code(), absl::StatusCode::kCancelled) << status;
}

TEST(RankSessionTest, ATensorThatDoesNotComeIsNoticedThenEndsTheRun) {
  FakeClock clock;
  RankCluster cluster({.ranks = 2}, &clock);
  cluster.Load();
  absl::Notification done;
  absl::Status status;
  cluster.session(0).Run(RankCluster::Train(1, 1, 5), [&](absl::StatusOr<v1::RunReply> reply) {
    status = reply.status();
    done.Notify();
  });
  std::thread turner([&] {
    while (!done.HasBeenNotified()) {
      clock.Advance(absl::Seconds(1));
      done.WaitForNotificationWithTimeout(absl::Milliseconds(1));
    }
  });
  cluster.log().Await("waiting for rank 1 (worker localhost/cpu.1): backward x of micro-batch 0 for stage 0, pass 1");
  done.WaitForNotification();
  turner.join();
  EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded) << status;
  EXPECT_TRUE(absl::StrContains(status.message(), "backward x of micro-batch 0 for stage 0, pass 1")) << status;
  EXPECT_TRUE(absl::StrContains(status.message(), "from stage 1")) << status;
}

TEST(RankSessionTest, RefusesASecondRunWhileOneIsUnderWay) {
  absl::Notification started, go_on;
  const auto before = [&](const Pass&, const Action& action) {
    if (action.stage == 0 && action.kind == ActionKind::kForward && !started.HasBeenNotified()) {
      started.Notify();
      go_on.WaitForNotification();
    }
    return absl::OkStatus();
  };
  RankCluster cluster({.ranks = 1, .micro_batches = 2}, Clock::Real(), before);
  cluster.Load();
  absl::Notification done;
  cluster.session(0).Run(RankCluster::Train(1, 1, 2), [&](absl::StatusOr<v1::RunReply> reply) {
    EXPECT_TRUE(reply.ok()) << reply.status();
    done.Notify();
  });
  started.WaitForNotification();
  absl::Status second;
  cluster.session(0).Run(RankCluster::Train(3, 3, 3), [&](const auto& reply) { second = reply.status(); });
  EXPECT_EQ(second.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(cluster.session(0).Save({}).status().code(), absl::StatusCode::kFailedPrecondition);
  go_on.Notify();
  done.WaitForNotification();
  v1::SaveRequest save;
  save.set_step(2);
  EXPECT_EQ(cluster.session(0).Save(save)->file(), "rank-0.step-2");
}

TEST(RankSessionTest, RefusesARangeThatIsNone) {
  RankCluster cluster({.ranks = 1}, Clock::Real());
  cluster.Load();
  EXPECT_EQ(cluster.Run(RankCluster::Train(1, 5, 4))[0].status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(RankSessionTest, FreesTheRankOnEnd) {
  RankCluster cluster({.ranks = 2}, Clock::Real());
  cluster.Load();
  ExpectAllOk(cluster.Run(RankCluster::Train(1, 1, 2)));
  EXPECT_EQ(cluster.device(0).live_ranks(), 1);
  cluster.session(0).End();
  EXPECT_EQ(cluster.device(0).live_ranks(), 0);
}

TEST(RankSessionTest, RefusesARequestThatDoesNotFitTogether) {
  RankCluster cluster({.ranks = 2}, Clock::Real());
  const auto refused = [&](const v1::LoadRequest& request) {
    const auto plan = ReadRankPlan(request);
    EXPECT_EQ(plan.status().code(), absl::StatusCode::kInvalidArgument) << plan.status();
  };
  v1::LoadRequest request = cluster.LoadRequestFor(0);
  request.set_rank(2);
  refused(request);
  request = cluster.LoadRequestFor(0);
  request.mutable_ranks(1)->set_address("192.0.2.1:80");
  refused(request);
  request = cluster.LoadRequestFor(0);
  request.mutable_plan()->mutable_train(0)->mutable_actions(0)->set_stage(1);
  refused(request);
  request = cluster.LoadRequestFor(0);
  request.mutable_plan()->mutable_stages(1)->set_rank(7);
  refused(request);
  request = cluster.LoadRequestFor(0);
  request.mutable_plan()->set_micro_batches(100);
  refused(request);
  request = cluster.LoadRequestFor(1);
  request.mutable_plan()->mutable_stages(0)->set_end_layer(9);
  refused(request);
}

}  // namespace
}  // namespace penstock
