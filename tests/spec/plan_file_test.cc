#include "spec/plan_file.h"

#include <fstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "common/action.h"
#include "common/schedule_kind.h"
#include "coordinator/plan/planner.h"
#include "coordinator/plan/schedule.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "model/layer_kind.h"

namespace penstock {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

std::string Write(const std::string& text) {
  const std::string path = absl::StrCat(::testing::TempDir(), "/plan.yaml");
  std::ofstream(path) << text;
  return path;
}

v1::Plan Read(const std::string& text) {
  const absl::StatusOr<v1::Plan> plan = ReadPlanFile(Write(text));
  EXPECT_TRUE(plan.ok()) << plan.status() << "\n" << text;
  return plan.ok() ? *plan : v1::Plan();
}

std::string Error(const std::string& text) {
  const absl::StatusOr<v1::Plan> plan = ReadPlanFile(Write(text));
  EXPECT_EQ(plan.status().code(), absl::StatusCode::kInvalidArgument) << plan.status();
  return std::string(plan.status().message());
}

// Six delay layers on three stages.
v1::JobSpec Job(const std::string& schedule) {
  v1::JobSpec spec;
  spec.set_name("job");
  v1::Model* model = spec.mutable_model();
  model->mutable_input()->set_dtype(v1::DTYPE_FLOAT32);
  model->mutable_input()->add_shape(4);
  model->set_loss(v1::LOSS_CROSS_ENTROPY);
  for (int i = 0; i < 6; ++i) {
    v1::Layer* layer = model->add_layers();
    layer->set_name(absl::StrCat("d", i));
    layer->mutable_delay()->set_forward_us(100);
  }
  FillDefaults(model);
  spec.mutable_train()->set_batch_size(4);
  spec.mutable_pipeline()->set_stages(3);
  spec.mutable_pipeline()->set_micro_batches(4);
  spec.mutable_pipeline()->set_split(v1::Pipeline::SPLIT_UNIFORM);
  spec.mutable_pipeline()->set_schedule(schedule);
  return spec;
}

const std::vector<std::string> kNames = {"d0", "d1", "d2", "d3", "d4", "d5"};

constexpr char kFile[] =
    R"(# Edit it and give it back to a job as `pipeline: {plan: FILE}`.
version: 1
kind: plan
micro_batches: 4
schedule: 1f1b
stages:
  - {layers: 2, rank: 0}  # d0 d1
  - {layers: 2, rank: 1}  # d2 d3
  - {layers: 2, rank: 2}  # d4 d5
# What each rank runs in a step: <stage><kind><micro-batch>, with kind F forward, B backward,
# I and W its two parts, R recompute; '&' joins a pair. Without these lists they are made from
# `schedule`; take them out to change its name, micro_batches or the stages' number.
train:
  - [0F0, 0F1, 0F2, 0B0, 0F3, 0B1, 0B2, 0B3]
  - [1F0, 1F1, 1B0, 1F2, 1B1, 1F3, 1B2, 1B3]
  - [2F0, 2B0, 2F1, 2B1, 2F2, 2B2, 2F3, 2B3]
)";

TEST(PlanFileTest, IsWrittenForPeople) { EXPECT_EQ(PlanToYaml(*MakePlan(Job("1f1b")), kNames), kFile); }

TEST(PlanFileTest, GivesTheSamePlanBack) {
  for (const ScheduleKind& kind : ScheduleKinds()) {
    const std::string schedule(kind.name);
    v1::JobSpec spec = Job(schedule);
    spec.mutable_train()->set_batch_size(6);
    spec.mutable_pipeline()->set_micro_batches(6);
    spec.mutable_pipeline()->set_chunks(kind.min_chunks);
    spec.mutable_pipeline()->set_stages(3 * kind.min_chunks);
    const absl::StatusOr<v1::Plan> made = MakePlan(spec);
    ASSERT_TRUE(made.ok()) << schedule << ": " << made.status();
    const v1::Plan& plan = *made;
    *spec.mutable_pipeline()->mutable_plan() = Read(PlanToYaml(plan, kNames));
    const absl::StatusOr<v1::Plan> again = MakePlan(spec);
    ASSERT_TRUE(again.ok()) << again.status();
    EXPECT_EQ(again->SerializeAsString(), plan.SerializeAsString()) << schedule;
  }
}

TEST(PlanFileTest, EditedStageSizesAreTaken) {
  v1::JobSpec spec = Job("1f1b");
  *spec.mutable_pipeline()->mutable_plan() = Read(absl::StrReplaceAll(
      kFile, {{"{layers: 2, rank: 0}", "{layers: 1, rank: 0}"}, {"{layers: 2, rank: 2}", "{layers: 3, rank: 2}"}}));
  const absl::StatusOr<v1::Plan> plan = MakePlan(spec);
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(plan->stages(1).first_layer(), 1u);
  EXPECT_EQ(plan->stages(2).end_layer(), 6u);
  EXPECT_EQ(plan->schedule(), "1f1b");
}

TEST(PlanFileTest, EditedListsAreTakenAndChecked) {
  v1::JobSpec spec = Job("1f1b");
  *spec.mutable_pipeline()->mutable_plan() =
      Read(absl::StrReplaceAll(kFile, {{"2F0, 2B0, 2F1, 2B1", "2F0, 2F1, 2B0, 2B1"}}));
  EXPECT_EQ(MakePlan(spec)->schedule(), "custom");
  // A list that cannot run is an error of the file, at the action.
  const std::string error = Error(absl::StrReplaceAll(kFile, {{"2F0, 2B0, 2F1, 2B1", "2B0, 2F0, 2F1, 2B1"}}));
  EXPECT_THAT(error, HasSubstr("plan.yaml:16:6: error: malformed schedule: rank 2, action 0 (2B0)"));
  EXPECT_THAT(error, HasSubstr("rank 2: >>2B0<< 2F0 2F1"));
  EXPECT_THAT(Error(absl::StrReplaceAll(kFile, {{", 0B3]", "]"}})), HasSubstr("plan.yaml:14:36: error: "));
  EXPECT_THAT(Error(absl::StrReplaceAll(kFile, {{"0B3]", "0B2]"}})), HasSubstr("stands twice"));
}

TEST(PlanFileTest, SeveralStagesOfARankComeBack) {
  for (const char* schedule : {"zb-v", "interleaved", "v-half", "gpipe"}) {
    v1::JobSpec spec = Job(schedule);
    spec.mutable_pipeline()->set_stages(6);
    spec.mutable_pipeline()->set_chunks(2);
    spec.mutable_pipeline()->set_micro_batches(4);
    const absl::StatusOr<v1::Plan> plan = MakePlan(spec);
    ASSERT_TRUE(plan.ok()) << plan.status();
    EXPECT_EQ(plan->train_size(), 3);
    *spec.mutable_pipeline()->mutable_plan() = Read(PlanToYaml(*plan, kNames));
    const absl::StatusOr<v1::Plan> again = MakePlan(spec);
    ASSERT_TRUE(again.ok()) << again.status();
    EXPECT_EQ(again->SerializeAsString(), plan->SerializeAsString()) << schedule;
  }
}

TEST(PlanFileTest, RecomputationComesBackWithTheName) {
  for (const auto recompute : {v1::Pipeline::RECOMPUTE_BOUNDARY, v1::Pipeline::RECOMPUTE_EXCEPT_LAST}) {
    v1::JobSpec spec = Job("1f1b");
    spec.mutable_pipeline()->set_recompute(recompute);
    const absl::StatusOr<v1::Plan> plan = MakePlan(spec);
    ASSERT_TRUE(plan.ok()) << plan.status();
    EXPECT_EQ(plan->schedule(), "1f1b");
    EXPECT_GT(plan->stages(0).recompute_us(), 0);
    v1::JobSpec other = Job("1f1b");
    *other.mutable_pipeline()->mutable_plan() = Read(PlanToYaml(*plan, kNames));
    const absl::StatusOr<v1::Plan> again = MakePlan(other);
    ASSERT_TRUE(again.ok()) << again.status();
    EXPECT_EQ(again->SerializeAsString(), plan->SerializeAsString());
  }
}

TEST(PlanFileTest, ListsKeepBackwardsInTwoPartsRecomputesAndPairs) {
  const std::string list = "[0F0, 0F1&0B0, 0F2, 0R1, 0I1, 0I2, 0W1, 0W2]";
  const v1::Plan plan =
      Read(absl::StrCat("version: 1\nkind: plan\nmicro_batches: 3\nstages: [{layers: 6}]\ntrain:\n  - ", list, "\n"));
  ASSERT_EQ(plan.train_size(), 1);
  EXPECT_EQ(plan.train(0).actions_size(), 9);
  EXPECT_TRUE(plan.train(0).actions(1).fused());
  EXPECT_THAT(PlanToYaml(plan, {}), HasSubstr(absl::StrCat("  - ", list, "\n")));
}

TEST(PlanFileTest, AnEmptyWordIsNoAction) {
  EXPECT_THAT(Error(absl::StrReplaceAll(kFile, {{"[0F0, ", "['', "}})), HasSubstr("'' is not an action"));
}

TEST(PlanFileTest, WithoutListsTheNameIsEnough) {
  const v1::Plan plan =
      Read("version: 1\nkind: plan\nmicro_batches: 2\nschedule: gpipe\nstages:\n  - layers: 4\n  - {layers: 2}\n");
  EXPECT_EQ(plan.train_size(), 0);
  EXPECT_EQ(plan.schedule(), "gpipe");
  EXPECT_EQ(plan.stages(1).rank(), 1u);
  EXPECT_EQ(plan.stages(1).first_layer(), 4u);
}

TEST(PlanFileTest, KnowsEveryScheduleThereIs) {
  for (const std::string& schedule : ScheduleNames()) {
    EXPECT_EQ(Read(absl::StrReplaceAll(kFile, {{"schedule: 1f1b", absl::StrCat("schedule: ", schedule)}})).schedule(),
              schedule);
  }
}

TEST(PlanFileTest, AllFaultsComeWithTheirPlaces) {
  const std::string error = Error(
      "version: 1\n"
      "kind: plan\n"
      "micro_batch: 4\n"
      "schedule: 1f1b\n"
      "stages:\n"
      "  - {layers: 0, rank: 0}\n"
      "  - {layers: 2, rank: 5}\n"
      "train:\n"
      "  - [0F0, 0Q0]\n"
      "  - [1F0, 1SEND_B0]\n");
  EXPECT_THAT(error, HasSubstr("plan.yaml:3:1: error: unknown key 'micro_batch'"));
  EXPECT_THAT(error, HasSubstr("did you mean 'micro_batches'?"));
  EXPECT_THAT(error, HasSubstr("plan.yaml:6:14: error: "));
  EXPECT_THAT(error, HasSubstr("plan.yaml:7:23: error: "));
  EXPECT_THAT(error, HasSubstr("plan.yaml:9:11: error: '0Q0' is not an action"));
  EXPECT_THAT(
      error,
      HasSubstr("plan.yaml:10:11: error: '1SEND_B0' follows from the compute actions of this plan: leave it out"));
}

TEST(PlanFileTest, SaysOfAFileOfAnotherKindThatAlone) {
  // "Expected one of plan, found 'job'" stood among errors about each key of the job.
  const std::string error = Error("version: 1\nkind: job\nname: a\n");
  EXPECT_THAT(error, HasSubstr(":2:7: error: this is a job file: a plan file is needed here"));
  EXPECT_THAT(error, Not(HasSubstr("name")));
}

TEST(PlanFileTest, NeedsANameOrLists) {
  EXPECT_THAT(Error("version: 1\nkind: plan\nmicro_batches: 2\nstages: [{layers: 1}]\n"),
              HasSubstr("a plan needs a 'schedule' by name, or the lists of 'train'"));
  EXPECT_THAT(Error("version: 1\nkind: plan\nmicro_batches: 2\nschedule: gpipe\nstages: []\n"),
              HasSubstr("'stages' must have at least one"));
}

TEST(PlanFileTest, CountsOneListForEachRank) {
  EXPECT_THAT(
      Error("version: 1\nkind: plan\nmicro_batches: 1\nstages: [{layers: 1}, {layers: 1}]\ntrain:\n  - [0F0]\n"),
      HasSubstr(":6:3: error: 'train' has 1 lists for 2 ranks; leave it out to have them made from 'schedule'"));
  EXPECT_THAT(Error("version: 1\nkind: plan\nmicro_batches: 1\nstages: [{layers: 1}]\ntrain: [0F0]\n"),
              HasSubstr("'train[0]' must be a list of actions such as [0F0, 0B0], not "));
}

TEST(PlanFileTest, AMissingFileIsNotFound) {
  EXPECT_EQ(ReadPlanFile("/nonexistent/plan.yaml").status().code(), absl::StatusCode::kNotFound);
}

TEST(PlanFileTest, FaultsInsideAJobFileNameTheirPathThere) {
  Diagnostics diagnostics;
  const auto root =
      ParseYaml("plan: {version: 1, kind: plan, micro_batches: 0, schedule: gpipe, stages: [{layers: 1}]}", "job.yaml",
                &diagnostics);
  ASSERT_TRUE(root.has_value());
  YamlErrors errors(&diagnostics);
  ReadPlanNode(*root->Find("plan"), "pipeline.plan", &errors);
  EXPECT_FALSE(errors.Sound("pipeline.plan.micro_batches"));
  EXPECT_TRUE(errors.Sound("pipeline.plan.stages"));
}

TEST(PlanFileTest, ManyLayersAreCutInTheComment) {
  v1::Plan plan;
  plan.set_micro_batches(1);
  plan.set_schedule("gpipe");
  plan.add_stages()->set_end_layer(12);
  std::vector<std::string> names;
  for (int i = 0; i < 12; ++i) names.push_back(absl::StrCat("l", i));
  EXPECT_THAT(PlanToYaml(plan, names), HasSubstr("{layers: 12, rank: 0}  # l0 l1 l2 l3 l4 l5 l6 l7 ... l11\n"));
  EXPECT_THAT(PlanToYaml(plan, {}), Not(HasSubstr("# l0")));
}

}  // namespace
}  // namespace penstock
