#include "coordinator/plan/given_plan.h"

#include <string>
#include <vector>

#include "common/action.h"
#include "coordinator/plan/planner.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/coordinator/plan/job_specs.h"
#include "tests/coordinator/plan/planned_jobs.h"

namespace penstock {
namespace {

using ::testing::HasSubstr;

std::string Error(const v1::JobSpec& spec) {
  const absl::StatusOr<v1::Plan> plan = MakePlan(spec);
  EXPECT_EQ(plan.status().code(), absl::StatusCode::kInvalidArgument) << plan.status();
  return std::string(plan.status().message());
}

// A plan as a file would bring it: sizes, ranks, a name, perhaps lists.
v1::JobSpec WithPlan(v1::JobSpec spec, const std::vector<int>& sizes, const std::string& schedule) {
  v1::Plan* plan = spec.mutable_pipeline()->mutable_plan();
  plan->set_schedule(schedule);
  plan->set_micro_batches(spec.pipeline().micro_batches());
  uint32_t next = 0;
  for (size_t s = 0; s < sizes.size(); ++s) {
    v1::Stage* stage = plan->add_stages();
    stage->set_first_layer(next);
    stage->set_end_layer(next += sizes[s]);
    stage->set_rank(static_cast<uint32_t>(s));
  }
  return spec;
}

void AddList(const std::vector<std::string>& words, v1::JobSpec* spec) {
  v1::RankActions* list = spec->mutable_pipeline()->mutable_plan()->add_train();
  for (const std::string& word : words) *list->add_actions() = ToProto(*ActionFromText(word));
}

TEST(GivenPlanTest, WithoutListsIsCompletedFromTheName) {
  const v1::JobSpec given = WithPlan(DelayJob({1, 1, 1}, 9, 4), {2, 1}, "1f1b");
  v1::JobSpec keys = DelayJob({1, 1, 1}, 2, 4);
  keys.mutable_pipeline()->set_split(v1::Pipeline::SPLIT_EXPLICIT);
  for (const int size : {2, 1}) keys.mutable_pipeline()->add_split_sizes(size);
  keys.mutable_pipeline()->set_schedule("1f1b");
  EXPECT_EQ(Plan(given).SerializeAsString(), Plan(keys).SerializeAsString());
}

TEST(GivenPlanTest, CompletingACompletePlanChangesNothing) {
  v1::JobSpec spec = GptJob(3, 3, 4);
  const v1::Plan plan = Plan(spec);
  *spec.mutable_pipeline()->mutable_plan() = plan;
  EXPECT_EQ(Plan(spec).SerializeAsString(), plan.SerializeAsString());
}

TEST(GivenPlanTest, OwnListsRunAndLoseTheNameThatIsNoLongerTheirs) {
  v1::JobSpec spec = WithPlan(DelayJob({1, 1}, 2, 3), {1, 1}, "gpipe");
  AddList({"0F0", "0F1", "0B0", "0F2", "0B1", "0B2"}, &spec);
  AddList({"1F0", "1F1", "1B0", "1B1", "1F2", "1B2"}, &spec);
  const v1::Plan plan = Plan(spec);
  EXPECT_EQ(plan.schedule(), "custom");
  EXPECT_EQ(plan.train(1).actions_size(), 6 + 3 + 3);
  EXPECT_EQ(plan.forward_size(), 2);
}

TEST(GivenPlanTest, StagesMayLieOnRanksInAnotherOrder) {
  v1::JobSpec spec = WithPlan(DelayJob({1, 1}, 2, 3), {1, 1}, "1f1b");
  spec.mutable_pipeline()->mutable_plan()->mutable_stages(0)->set_rank(1);
  spec.mutable_pipeline()->mutable_plan()->mutable_stages(1)->set_rank(0);
  const v1::Plan plan = Plan(spec);
  EXPECT_EQ(plan.train(1).actions(0).stage(), 0u);
  EXPECT_EQ(plan.schedule(), "1f1b");
}

TEST(GivenPlanTest, FaultsAreNamedWithTheirPlace) {
  EXPECT_THAT(Error(WithPlan(DelayJob({1, 1, 1}, 2, 4), {1, 1}, "gpipe")),
              HasSubstr("the plan that the job brings: the split [1, 1] owns 2 layers; the model has 3"));
  EXPECT_THAT(Error(WithPlan(DelayJob({1, 1}, 2, 4), {1, 1, 1}, "gpipe")), HasSubstr("3 stages need at least as many"));
  EXPECT_THAT(Error(WithPlan(DelayJob({1, 1}, 2, 4), {}, "gpipe")), HasSubstr("stages must be at least 1"));
  EXPECT_THAT(Error(WithPlan(DelayJob({1, 1}, 2, 4), {1, 1}, "custom")), HasSubstr("there is no schedule 'custom'"));
  v1::JobSpec spec = WithPlan(DelayJob({1, 1}, 2, 4), {1, 1}, "gpipe");
  spec.mutable_pipeline()->mutable_plan()->mutable_stages(1)->set_rank(0);
  EXPECT_EQ(Plan(spec).train_size(), 1);  // two stages on one rank
  spec.mutable_pipeline()->mutable_plan()->mutable_stages(0)->set_rank(1);
  spec.mutable_pipeline()->mutable_plan()->mutable_stages(1)->set_rank(1);
  EXPECT_THAT(Error(spec), HasSubstr("rank 0 has no stage, rank 1 has one; ranks are numbered from 0 without gaps"));
  spec.mutable_pipeline()->mutable_plan()->mutable_stages(1)->set_rank(7);
  EXPECT_THAT(Error(spec), HasSubstr("stage 1 is on rank 7; 2 stages have ranks 0 to 1"));
  spec = WithPlan(DelayJob({1, 1}, 2, 4), {1, 1}, "gpipe");
  spec.mutable_pipeline()->mutable_plan()->mutable_stages(1)->set_first_layer(0);
  EXPECT_THAT(Error(spec), HasSubstr("it must begin with layer 1, each layer is owned exactly once"));
  spec = WithPlan(DelayJob({1, 1}, 2, 4), {1, 1}, "gpipe");
  spec.mutable_pipeline()->mutable_plan()->set_micro_batches(64);
  EXPECT_THAT(Error(spec), HasSubstr("batch_size 32 cannot be cut into 64 micro-batches"));
  spec = WithPlan(DelayJob({1, 1}, 2, 1), {1, 1}, "gpipe");
  AddList({"0F0", "0B0"}, &spec);
  AddList({"1B0", "1F0"}, &spec);
  EXPECT_THAT(Error(spec), HasSubstr("rank 1, action 0 (1B0): comes before 1F0"));
  EXPECT_THAT(Error(spec), HasSubstr("\n  rank 1: >>1B0<< 1F0\n"));
}

}  // namespace
}  // namespace penstock
