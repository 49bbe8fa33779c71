#include "coordinator/step_barrier.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <utility>
#include <vector>

namespace penstock {
namespace {

v1::StepVote Vote(uint32_t rank, uint64_t step, std::vector<std::pair<std::string, double>> norms,
                  std::vector<double> losses = {}) {
  v1::StepVote vote;
  vote.set_rank(rank);
  vote.set_step(step);
  vote.set_finite(true);
  for (const auto& [name, squared] : norms) {
    v1::ParameterNorm* norm = vote.add_norms();
    norm->set_name(name);
    norm->set_squared(squared);
  }
  vote.mutable_losses()->Assign(losses.begin(), losses.end());
  vote.set_busy_seconds(1);
  vote.set_pass_seconds(2);
  return vote;
}

TEST(StepBarrierTest, DecidesWhenEveryRankHasVoted) {
  StepBarrier barrier(2, {"a", "b"}, 0);
  EXPECT_FALSE(barrier.Add(Vote(0, 1, {{"a", 9}}), 1)->has_value());
  EXPECT_FALSE(barrier.Add(Vote(0, 1, {{"a", 9}}), 1)->has_value()) << "a repeated vote counts once";
  const auto outcome = *barrier.Add(Vote(1, 1, {{"b", 16}}, {0.5, 0.25}), 1);
  ASSERT_TRUE(outcome.has_value());
  EXPECT_EQ(outcome->fault, "");
  EXPECT_EQ(outcome->grad_norm, 5);
  EXPECT_EQ(outcome->clip_scale, 1);
  EXPECT_EQ(outcome->loss, 0.75);
  EXPECT_EQ(outcome->bubble, 0.5);
}

// The sum is not associative: 1e16 + 1 + 1 differs from 1 + 1 + 1e16.
TEST(StepBarrierTest, AddsNormsInModelOrderWhateverTheRanks) {
  const std::vector<std::string> order = {"a", "b", "c"};
  StepBarrier one(1, order, 0);
  StepBarrier two(2, order, 0);
  const double alone = (*one.Add(Vote(0, 1, {{"c", 1}, {"b", 1}, {"a", 1e16}}), 1))->grad_norm;
  EXPECT_FALSE(two.Add(Vote(1, 1, {{"a", 1e16}}), 1)->has_value());
  const double together = (*two.Add(Vote(0, 1, {{"b", 1}, {"c", 1}}), 1))->grad_norm;
  EXPECT_EQ(alone, together);
  EXPECT_EQ(alone, std::sqrt(1e16 + 1.0 + 1.0));
}

TEST(StepBarrierTest, ClipsAsTorchDoesAndOnlyBeyondTheBound) {
  StepBarrier barrier(1, {"a"}, 2.0);
  EXPECT_EQ((*barrier.Add(Vote(0, 1, {{"a", 4}}), 1))->clip_scale, 1);
  barrier.Decided(1, {});
  EXPECT_EQ((*barrier.Add(Vote(0, 2, {{"a", 16}}), 2))->clip_scale, 2.0 / (4.0 + 1e-6));
}

TEST(StepBarrierTest, NamesTheFirstParameterThatIsNotFinite) {
  StepBarrier barrier(1, {"a", "b", "c"}, 0);
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const auto outcome = *barrier.Add(Vote(0, 1, {{"c", nan}, {"b", nan}, {"a", 1}}), 1);
  EXPECT_EQ(outcome->fault, "the gradient of b is not finite");
}

TEST(StepBarrierTest, ALossThatIsNotFiniteOrAVoteThatSaysSoIsAFault) {
  StepBarrier loss(1, {"a"}, 0);
  EXPECT_EQ((*loss.Add(Vote(0, 1, {{"a", 1}}, {std::numeric_limits<double>::infinity()}), 1))->fault,
            "the loss is not finite");
  StepBarrier word(1, {"a"}, 0);
  v1::StepVote vote = Vote(0, 1, {{"a", 1}});
  vote.set_finite(false);
  EXPECT_EQ((*word.Add(vote, 1))->fault, "rank 0 found a value that is not finite");
}

TEST(StepBarrierTest, RefusesAnotherStepAndAnswersARepetitionWithTheSameDecision) {
  StepBarrier barrier(1, {"a"}, 0);
  EXPECT_TRUE(absl::IsFailedPrecondition(barrier.Add(Vote(0, 3, {}), 2).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(barrier.Add(Vote(1, 2, {}), 2).status()));
  v1::StepDecision decision;
  decision.set_commit(true);
  decision.set_grad_norm(7);
  barrier.Decided(2, decision);
  ASSERT_TRUE(barrier.Repeated(Vote(0, 2, {})).has_value());
  EXPECT_EQ(barrier.Repeated(Vote(0, 2, {}))->grad_norm(), 7);
  EXPECT_FALSE(barrier.Repeated(Vote(0, 3, {})).has_value());
}

TEST(StepBarrierTest, TakesTheLossScaleOutOfNormAndGradients) {
  StepBarrier barrier(1, {"a"}, 0);
  const StepOutcome scaled = **barrier.Add(Vote(0, 1, {{"a", 64 * 64 * 9}}, {0.5}), 1, 64);
  EXPECT_EQ(scaled.grad_norm, 3);
  EXPECT_EQ(scaled.clip_scale, 1.0 / 64);
  EXPECT_EQ(scaled.loss, 0.5) << "votes state the loss itself";
  StepBarrier clips(1, {"a"}, 1.5);
  EXPECT_EQ((**clips.Add(Vote(0, 1, {{"a", 64 * 64 * 9}}), 1, 64)).clip_scale, 1.5 / (3 + 1e-6) / 64);
}

TEST(StepBarrierTest, AnOverflowIsNoFaultWhileTheLossScaleCanShrink) {
  const double infinity = std::numeric_limits<double>::infinity();
  for (const double scale : {2.0, 1.0}) {
    StepBarrier barrier(1, {"a"}, 0);
    const StepOutcome outcome = **barrier.Add(Vote(0, 1, {{"a", infinity}}), 1, scale);
    EXPECT_EQ(outcome.overflow, scale > 1 ? "the gradient of a is not finite" : "");
    EXPECT_EQ(outcome.fault, scale > 1 ? "" : "the gradient of a is not finite");
  }
}

}  // namespace
}  // namespace penstock
