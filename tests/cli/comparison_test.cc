#include "cli/comparison.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

#include "absl/strings/match.h"

namespace penstock {
namespace {

// Two ranks, one stage each: 4 micro-batches of 10 ms forward, 10 ms input gradient and 10 ms weight gradient, a pass
// of 150 ms and an update of 5 ms.
v1::Plan Predicted() {
  v1::Plan plan;
  plan.set_schedule("1f1b");
  plan.set_cost_source("measured");
  plan.set_predicted_step_us(155e3);
  plan.set_predicted_update_us(5e3);
  plan.set_predicted_bubble(0.2);
  for (uint32_t s = 0; s < 2; ++s) {
    v1::Stage* stage = plan.add_stages();
    stage->set_rank(s);
    stage->set_forward_us(10e3);
    stage->set_backward_us(20e3);
    stage->set_weight_gradient_us(10e3);
    stage->set_state_bytes(1000);
    v1::RankPrediction* rank = plan.add_ranks();
    rank->set_busy_us(120e3);
    rank->set_peak_bytes(4000);
  }
  return plan;
}

// The same as predicted.
v1::JobStatus Measured() {
  v1::JobStatus status;
  status.set_job("gpt-1");
  status.set_step(10);
  status.set_measured_steps(9);
  status.set_step_seconds(0.155);
  for (uint32_t s = 0; s < 2; ++s) {
    v1::StageStatus* stage = status.add_stages();
    stage->set_stage(s);
    stage->set_rank(s);
    stage->set_layers(s == 0 ? "wte .. h.1" : "h.2 .. head");
    stage->set_forward_seconds(0.010);
    stage->set_input_gradient_seconds(0.010);
    stage->set_weight_gradient_seconds(0.010);
    v1::RankStatus* rank = status.add_ranks();
    rank->set_rank(s);
    rank->set_worker("localhost/cpu." + std::to_string(s));
    rank->set_pass_seconds(0.150);
    rank->set_busy_seconds(0.120);
    rank->set_state_bytes(1000);
    rank->set_peak_bytes(4000);
  }
  return status;
}

Comparison Make(const v1::Plan& plan, const v1::JobStatus& status) {
  const absl::StatusOr<Comparison> comparison = Compare(plan, status);
  EXPECT_TRUE(comparison.ok()) << comparison.status();
  return comparison.ok() ? *comparison : Comparison();
}

TEST(ComparisonTest, SaysThatNothingPartsWhereNothingDoes) {
  const Comparison comparison = Make(Predicted(), Measured());
  EXPECT_NEAR(*comparison.step_seconds.Difference(), 0, 1e-9);
  EXPECT_NEAR(*comparison.pass_seconds.Difference(), 0, 1e-9);
  EXPECT_NEAR(*comparison.bubble.measured, 0.2, 1e-9);
  EXPECT_EQ(comparison.verdict,
            "The measured step is +0.0 % from the predicted one; no part of it departs by more than 1 % of the step.");
}

TEST(ComparisonTest, NamesTheStageAndTheKindOfActionThatComputesLonger) {
  v1::JobStatus status = Measured();
  status.set_step_seconds(0.175);
  status.mutable_ranks(1)->set_busy_seconds(0.140);
  status.mutable_ranks(0)->set_pass_seconds(0.170);
  status.mutable_stages(1)->set_weight_gradient_seconds(0.015);
  const std::string verdict = Make(Predicted(), status).verdict;
  EXPECT_EQ(verdict,
            "The measured step is +12.9 % from the predicted one. They part most in compute: rank 1, the busiest, "
            "+20.00 ms a step; most of it in the weight gradients of stage 1, +50.0 %.");
}

TEST(ComparisonTest, SaysWhatLiesBetweenActionsWhereTheRanksComputeAsPredicted) {
  v1::JobStatus status = Measured();
  status.set_step_seconds(0.185);
  for (v1::RankStatus& rank : *status.mutable_ranks()) rank.set_pass_seconds(0.180);
  const std::string verdict = Make(Predicted(), status).verdict;
  EXPECT_TRUE(absl::StrContains(verdict, "They part most in waiting: rank 0, the busiest, +30.00 ms a step"))
      << verdict;
  EXPECT_TRUE(absl::StrContains(verdict, "which the ranks' compute does not explain")) << verdict;
  EXPECT_TRUE(absl::StrContains(verdict, "takes longer than the plan assumes")) << verdict;
}

TEST(ComparisonTest, BlamesNoTransfersWhereSeveralRanksComputeLonger) {
  // Each one departed by less than half of the wait, so that transfers were named, though they explain it together.
  v1::Plan plan = Predicted();
  v1::JobStatus status = Measured();
  for (uint32_t r = 2; r < 4; ++r) {
    *plan.add_ranks() = plan.ranks(1);
    *status.add_ranks() = status.ranks(1);
    status.mutable_ranks(static_cast<int>(r))->set_rank(r);
  }
  for (int r = 1; r < 4; ++r) {
    plan.mutable_ranks(r)->set_busy_us(60e3);
    status.mutable_ranks(r)->set_busy_seconds(0.072);
  }
  for (v1::RankStatus& rank : *status.mutable_ranks()) rank.set_pass_seconds(0.180);
  status.set_step_seconds(0.185);
  const std::string verdict = Make(plan, status).verdict;
  EXPECT_TRUE(absl::StrContains(verdict,
                                "for several ranks, most for rank 1, whose compute departs from its "
                                "prediction by +12.00 ms"))
      << verdict;
}

TEST(ComparisonTest, TellsWhatIsMoreThanTwiceThePredictionAsAFactor) {
  v1::JobStatus status = Measured();
  status.set_step_seconds(1.55);
  for (v1::RankStatus& rank : *status.mutable_ranks()) {
    rank.set_pass_seconds(1.545);
    rank.set_busy_seconds(1.2);
  }
  status.mutable_stages(0)->set_forward_seconds(0.280);
  EXPECT_EQ(Make(Predicted(), status).verdict,
            "The measured step is 10.0 x the predicted one. They part most in compute: rank 0, the busiest, "
            "+1080.00 ms a step; most of it in the forward passes of stage 0, 28.0 x.");
  EXPECT_EQ((Figure{1.0, 2.0}.DifferenceText()), "+100.0 %");
  EXPECT_EQ((Figure{1.0, 2.01}.DifferenceText()), "2.0 x");
  EXPECT_EQ((Figure{1.0, 0.1}.DifferenceText()), "-90.0 %");
  EXPECT_EQ((Figure{1.0, std::nullopt}.DifferenceText()), "-");
}

TEST(ComparisonTest, BlamesTheRankThatTheBusiestWaitsFor) {
  v1::Plan plan = Predicted();
  plan.mutable_ranks(1)->set_busy_us(60e3);
  v1::JobStatus status = Measured();
  status.set_step_seconds(0.185);
  for (v1::RankStatus& rank : *status.mutable_ranks()) rank.set_pass_seconds(0.180);
  status.mutable_ranks(1)->set_busy_seconds(0.090);
  const std::string verdict = Make(plan, status).verdict;
  EXPECT_TRUE(absl::StrContains(verdict, "for rank 1, whose compute departs from its prediction by +30.00 ms"))
      << verdict;
}

TEST(ComparisonTest, NamesWhatComesAfterThePass) {
  v1::JobStatus status = Measured();
  status.set_step_seconds(0.195);
  const std::string verdict = Make(Predicted(), status).verdict;
  EXPECT_TRUE(absl::StrContains(verdict, "They part most after the pass")) << verdict;
  EXPECT_TRUE(absl::StrContains(verdict, "+40.00 ms a step")) << verdict;
}

TEST(ComparisonTest, RefusesAJobThatHasMeasuredNothing) {
  const absl::StatusOr<Comparison> comparison = Compare(Predicted(), v1::JobStatus());
  EXPECT_EQ(comparison.status().code(), absl::StatusCode::kFailedPrecondition);
}

TEST(ComparisonTest, LeavesOutWhatAnOlderPlanDoesNotPredict) {
  v1::Plan plan = Predicted();
  plan.clear_ranks();
  const Comparison comparison = Make(plan, Measured());
  EXPECT_FALSE(comparison.ranks[0].peak_bytes.predicted.has_value());
  EXPECT_FALSE(comparison.ranks[0].peak_bytes.Difference().has_value());
  EXPECT_TRUE(absl::StrContains(ComparisonText(comparison, 0), "0 peak memory"));
}

TEST(ComparisonTest, ReadsAsTables) {
  v1::JobStatus status = Measured();
  status.set_step_seconds(0.186);
  EXPECT_EQ(ComparisonText(Make(Predicted(), status), 0),
            R"(job gpt-1, 1f1b; medians over 9 steps; the plan's costs: measured

STEP                                       PREDICTED    MEASURED   DIFFERENCE
step                                      155.000 ms  186.000 ms      +20.0 %
  pass (makespan)                         150.000 ms  150.000 ms       +0.0 %
  vote, decision, update                    5.000 ms   36.000 ms        7.2 x
bubble (GPipe's: idle share of the pass)      20.0 %      20.0 %  +0.0 points

RANK            PREDICTED    MEASURED  DIFFERENCE
0 computes     120.000 ms  120.000 ms      +0.0 %
0 waits         30.000 ms   30.000 ms      +0.0 %
0 state            1000 B      1000 B      +0.0 %
0 peak memory    3.91 KiB    3.91 KiB      +0.0 %
1 computes     120.000 ms  120.000 ms      +0.0 %
1 waits         30.000 ms   30.000 ms      +0.0 %
1 state            1000 B      1000 B      +0.0 %
1 peak memory    3.91 KiB    3.91 KiB      +0.0 %

STAGE, MICRO-BATCH                 PREDICTED   MEASURED  DIFFERENCE
0 (wte .. h.1) F forward           10.000 ms  10.000 ms      +0.0 %
0 (wte .. h.1) I input gradient    10.000 ms  10.000 ms      +0.0 %
0 (wte .. h.1) W weight gradient   10.000 ms  10.000 ms      +0.0 %
1 (h.2 .. head) F forward          10.000 ms  10.000 ms      +0.0 %
1 (h.2 .. head) I input gradient   10.000 ms  10.000 ms      +0.0 %
1 (h.2 .. head) W weight gradient  10.000 ms  10.000 ms      +0.0 %

The measured step is +20.0 % from the predicted one. They part most after the pass, in the vote, the decision and the optimizer's update: +31.00 ms a step.
)");
}

TEST(ComparisonTest, JsonHoldsEveryFigureAndNullForWhatIsAbsent) {
  v1::Plan plan = Predicted();
  plan.mutable_ranks(0)->clear_peak_bytes();
  const nlohmann::json json = nlohmann::json::parse(ComparisonJson(Make(plan, Measured())));
  EXPECT_EQ(json["job"], "gpt-1");
  EXPECT_DOUBLE_EQ(json["step_seconds"]["predicted"], 0.155);
  EXPECT_DOUBLE_EQ(json["stages"][1]["forward_seconds"]["measured"], 0.010);
  EXPECT_TRUE(json["ranks"][0]["peak_bytes"]["predicted"].is_null());
  EXPECT_TRUE(json["ranks"][0]["peak_bytes"]["difference"].is_null());
  EXPECT_EQ(json["ranks"][1]["peak_bytes"]["measured"], 4000);
}

}  // namespace
}  // namespace penstock
