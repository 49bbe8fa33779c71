// What the latest steps say of a job.
#include "coordinator/job_progress.h"

#include <gtest/gtest.h>

namespace penstock {
namespace {

v1::JobSpec Spec() {
  v1::JobSpec spec;
  spec.mutable_model()->add_layers()->set_name("only");
  spec.mutable_train()->set_steps(100);
  spec.mutable_train()->set_batch_size(4);
  return spec;
}

v1::Plan OneStage() {
  v1::Plan plan;
  plan.add_stages()->set_end_layer(1);
  plan.add_train();
  return plan;
}

// A step in which everything takes `seconds`, or a multiple of it.
void Step(uint64_t step, double seconds, JobProgress* progress) {
  v1::StepVote vote;
  vote.set_pass_seconds(seconds);
  vote.set_busy_seconds(seconds / 2);
  v1::StageTimes* times = vote.add_stages();
  times->mutable_forward()->set_count(4);
  times->mutable_forward()->set_seconds(seconds);
  progress->OnVote(vote);
  StepOutcome outcome;
  outcome.step = step;
  outcome.step_seconds = 2 * seconds;
  progress->OnStep(outcome);
}

TEST(JobProgressTest, FiguresAreMediansSoThatAPauseIsInNone) {
  // The step was a median, what it consists of were means: after one pause of the machine the parts were longer than
  // the whole.
  JobProgress progress(Spec(), OneStage());
  Step(1, 50.0, &progress);  // warms up, and does not count
  Step(2, 0.1, &progress);
  Step(3, 0.3, &progress);
  Step(4, 60.0, &progress);
  Step(5, 0.2, &progress);
  Step(6, 0.2, &progress);
  v1::JobStatus status;
  progress.Fill(6, &status);
  EXPECT_EQ(status.measured_steps(), 5u);
  EXPECT_DOUBLE_EQ(status.step_seconds(), 0.4);
  ASSERT_EQ(status.ranks_size(), 1);
  EXPECT_DOUBLE_EQ(status.ranks(0).pass_seconds(), 0.2);
  EXPECT_DOUBLE_EQ(status.ranks(0).busy_seconds(), 0.1);
  ASSERT_EQ(status.stages_size(), 1);
  EXPECT_DOUBLE_EQ(status.stages(0).forward_seconds(), 0.05);
  EXPECT_EQ(status.stages(0).recompute_seconds(), 0);
}

}  // namespace
}  // namespace penstock
