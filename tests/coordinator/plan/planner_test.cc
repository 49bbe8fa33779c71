#include "coordinator/plan/planner.h"

#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/action.h"
#include "coordinator/plan/costs.h"
#include "coordinator/plan/render.h"
#include "coordinator/plan/schedule.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "model/layer_kind.h"
#include "model/model_info.h"
#include "nlohmann/json.hpp"

namespace penstock {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::StartsWith;

// A job of delay layers with these forward times; backward takes twice as long.
v1::JobSpec DelayJob(const std::vector<int64_t>& forward_us, int stages, int micro_batches) {
  v1::JobSpec spec;
  spec.set_name("delays");
  v1::Model* model = spec.mutable_model();
  model->mutable_input()->set_dtype(v1::DTYPE_FLOAT32);
  model->mutable_input()->add_shape(8);
  model->set_loss(v1::LOSS_CROSS_ENTROPY);
  for (size_t i = 0; i < forward_us.size(); ++i) {
    v1::Layer* layer = model->add_layers();
    layer->set_name(absl::StrCat("delay_", i));
    layer->mutable_delay()->set_forward_us(forward_us[i]);
    layer->mutable_delay()->set_input_grad_us(forward_us[i]);
    layer->mutable_delay()->set_weight_grad_us(forward_us[i]);
  }
  FillDefaults(model);
  spec.mutable_data()->mutable_train()->set_format(v1::Dataset::FORMAT_CSV);
  spec.mutable_train()->set_batch_size(32);
  spec.mutable_train()->set_steps(100);
  spec.mutable_train()->set_threads(1);
  spec.mutable_train()->set_precision("fp32");
  spec.mutable_train()->mutable_optimizer()->set_name(v1::Optimizer::SGD);
  spec.mutable_pipeline()->set_stages(stages);
  spec.mutable_pipeline()->set_micro_batches(micro_batches);
  spec.mutable_pipeline()->set_split(v1::Pipeline::SPLIT_AUTO);
  spec.mutable_pipeline()->set_schedule("gpipe");
  return spec;
}

// A small GPT: embedding, position embedding, `blocks` blocks, norm, head.
v1::JobSpec GptJob(int blocks, int stages, int micro_batches) {
  v1::JobSpec spec = DelayJob({}, stages, micro_batches);
  spec.set_name("gpt");
  v1::Model* model = spec.mutable_model();
  model->mutable_input()->set_dtype(v1::DTYPE_INT64);
  model->mutable_input()->set_shape(0, 64);
  model->set_loss(v1::LOSS_CROSS_ENTROPY);
  const auto add = [&](const std::string& name) {
    v1::Layer* layer = model->add_layers();
    layer->set_name(name);
    return layer;
  };
  v1::Embedding* embedding = add("wte")->mutable_embedding();
  embedding->set_vocab(256);
  embedding->set_dim(128);
  add("wpe")->mutable_position_embedding()->set_context(64);
  for (int i = 0; i < blocks; ++i) add(absl::StrCat("h.", i))->mutable_gpt_block()->set_heads(4);
  add("ln_f")->mutable_layer_norm();
  add("head")->mutable_linear()->set_out(256);
  FillDefaults(model);
  spec.mutable_data()->mutable_train()->set_format(v1::Dataset::FORMAT_TEXT);
  spec.mutable_data()->set_seq_len(64);
  spec.mutable_train()->mutable_optimizer()->set_name(v1::Optimizer::ADAMW);
  return spec;
}

v1::Plan Plan(const v1::JobSpec& spec) {
  const absl::StatusOr<v1::Plan> plan = MakePlan(spec);
  EXPECT_TRUE(plan.ok()) << plan.status();
  return plan.ok() ? *plan : v1::Plan();
}

std::string Sizes(const v1::Plan& plan) {
  std::vector<uint32_t> sizes;
  for (const v1::Stage& stage : plan.stages()) sizes.push_back(stage.end_layer() - stage.first_layer());
  return absl::StrJoin(sizes, " ");
}

std::string Error(const v1::JobSpec& spec) {
  const absl::StatusOr<v1::Plan> plan = MakePlan(spec);
  EXPECT_EQ(plan.status().code(), absl::StatusCode::kInvalidArgument) << plan.status();
  return std::string(plan.status().message());
}

TEST(PlannerTest, DelayLayersCostExactlyWhatTheySay) {
  // (M + K - 1) x 30 ms and next to nothing for the link, whose 60 us each way do not repeat.
  const v1::Plan plan = Plan(DelayJob({10000, 10000, 10000, 10000}, 4, 32));
  EXPECT_EQ(plan.stages(0).forward_us(), 10000);
  EXPECT_EQ(plan.stages(0).backward_us(), 20000);
  EXPECT_NEAR(plan.predicted_step_us(), 35 * 30000, 1000);
  EXPECT_NEAR(plan.predicted_bubble(), 3.0 / 35, 0.001);
  EXPECT_EQ(plan.cost_source(), "estimated from FLOPs and bytes");
}

TEST(PlannerTest, EverySplitCutsWhereItSays) {
  v1::JobSpec spec = DelayJob({100, 100, 100, 600, 100, 100}, 3, 4);
  EXPECT_EQ(Sizes(Plan(spec)), "3 1 2");
  spec.mutable_pipeline()->set_split(v1::Pipeline::SPLIT_MIN_VARIANCE);
  EXPECT_EQ(Sizes(Plan(spec)), "3 1 2");
  spec.mutable_pipeline()->set_split(v1::Pipeline::SPLIT_UNIFORM);
  EXPECT_EQ(Sizes(Plan(spec)), "2 2 2");
  spec.mutable_pipeline()->set_split(v1::Pipeline::SPLIT_EXPLICIT);
  for (const int size : {1, 4, 1}) spec.mutable_pipeline()->add_split_sizes(size);
  EXPECT_EQ(Sizes(Plan(spec)), "1 4 1");
}

TEST(PlannerTest, TrainingAndForwardListsAreWholeTables) {
  v1::JobSpec spec = DelayJob({100, 100}, 2, 2);
  spec.mutable_pipeline()->set_schedule("1f1b");
  const v1::Plan plan = Plan(spec);
  ASSERT_EQ(plan.train_size(), 2);
  ASSERT_EQ(plan.forward_size(), 2);
  const auto text = [](const v1::RankActions& list) {
    return absl::StrJoin(*FromProto(list), " ",
                         [](std::string* out, const Action& action) { out->append(ToText(action)); });
  };
  EXPECT_EQ(text(plan.train(0)), "0F0 0SEND_F0 0F1 0SEND_F1 0RECV_B0 0B0 0RECV_B1 0B1");
  EXPECT_EQ(text(plan.train(1)), "1RECV_F0 1F0 1B0 1SEND_B0 1RECV_F1 1F1 1B1 1SEND_B1");
  EXPECT_EQ(text(plan.forward(0)), "0F0 0SEND_F0 0F1 0SEND_F1");
  EXPECT_EQ(text(plan.forward(1)), "1RECV_F0 1F0 1RECV_F1 1F1");
}

TEST(PlannerTest, AutoScheduleTakesLessMemoryWhereTheStepIsTheSame) {
  v1::JobSpec spec = GptJob(6, 3, 8);
  spec.mutable_pipeline()->set_schedule("auto");
  EXPECT_EQ(Plan(spec).schedule(), "1f1b");
  // With one stage and one micro-batch there is no difference, and the simplest stays.
  spec.mutable_pipeline()->set_stages(1);
  spec.mutable_pipeline()->set_micro_batches(1);
  EXPECT_EQ(Plan(spec).schedule(), "gpipe");
}

TEST(PlannerTest, AutoScheduleTakesTheShorterStepWhereItIsNotTheSame) {
  // Layers of 50 us and a link of 60 us: 1F1B waits for the round trip between every forward and backward.
  v1::JobSpec spec = DelayJob({50, 50, 50, 50}, 4, 32);
  spec.mutable_pipeline()->set_schedule("auto");
  const v1::Plan plan = Plan(spec);
  spec.mutable_pipeline()->set_schedule("1f1b");
  EXPECT_EQ(plan.schedule(), "gpipe");
  EXPECT_LT(plan.predicted_step_us() * 1.01, Plan(spec).predicted_step_us());
}

TEST(PlannerTest, MemoryCountsStateByOptimizerAndActivationsByWhatIsInFlight) {
  v1::JobSpec spec = GptJob(2, 2, 4);
  const v1::Plan gpipe = Plan(spec);
  spec.mutable_pipeline()->set_schedule("1f1b");
  const v1::Plan one = Plan(spec);
  // 4 micro-batches in flight under GPipe; 2 and 1 under 1F1B.
  EXPECT_EQ(gpipe.stages(0).peak_activation_bytes(), 2 * one.stages(0).peak_activation_bytes());
  EXPECT_EQ(gpipe.stages(1).peak_activation_bytes(), 4 * one.stages(1).peak_activation_bytes());
  const auto model = InferModel(spec.model());
  ASSERT_TRUE(model.ok()) << model.status();
  int64_t activation = 0, elements = 0, largest = 0;
  for (uint32_t i = 0; i < one.stages(0).end_layer(); ++i) {
    activation += 8 * model->layers[i].cost.activation_bytes;  // 32 samples in 4 micro-batches
    elements += model->layers[i].ParameterElements();
    largest = std::max(largest, model->layers[i].ParameterElements());
  }
  EXPECT_EQ(static_cast<int64_t>(gpipe.stages(0).peak_activation_bytes()), 4 * activation);
  EXPECT_EQ(static_cast<int64_t>(gpipe.stages(0).parameter_bytes()), 4 * elements);
  EXPECT_EQ(static_cast<int64_t>(gpipe.stages(0).state_bytes()), 16 * elements + 4 * largest);
  spec.mutable_train()->mutable_optimizer()->set_name(v1::Optimizer::SGD);
  EXPECT_EQ(static_cast<int64_t>(Plan(spec).stages(0).state_bytes()), 8 * elements + 4 * largest);
  spec.mutable_train()->mutable_optimizer()->set_momentum(0.9);
  EXPECT_EQ(static_cast<int64_t>(Plan(spec).stages(0).state_bytes()), 12 * elements + 4 * largest);
}

TEST(PlannerTest, OutputBytesAreThoseOfTheLargestMicroBatch) {
  v1::JobSpec spec = GptJob(2, 2, 5);  // 32 samples: 7 7 6 6 6
  const v1::Plan plan = Plan(spec);
  EXPECT_EQ(plan.stages(0).output_bytes(), 7u * 64 * 128 * 4);
  EXPECT_EQ(plan.stages(1).output_bytes(), 0u);
}

TEST(PlannerTest, BadJobsAreRefusedWithTheReason) {
  EXPECT_THAT(Error(DelayJob({1, 1, 1}, 4, 4)), HasSubstr("4 stages need at least as many layers; the model has 3"));
  EXPECT_THAT(Error(DelayJob({1, 1, 1}, 0, 4)), HasSubstr("stages must be at least 1"));
  EXPECT_THAT(Error(DelayJob({1, 1, 1}, 2, 33)), HasSubstr("batch_size 32 cannot be cut into 33 micro-batches"));
  EXPECT_THAT(Error(DelayJob({1, 1, 1}, 2, 0)), HasSubstr("micro_batches must be at least 1"));
  v1::JobSpec spec = DelayJob({1, 1, 1}, 2, 4);
  spec.mutable_pipeline()->set_schedule("zigzag");
  EXPECT_THAT(Error(spec), HasSubstr("there is no schedule 'zigzag'; there are gpipe, 1f1b"));
  spec = DelayJob({1, 1, 1}, 2, 4);
  spec.mutable_pipeline()->set_split(v1::Pipeline::SPLIT_EXPLICIT);
  for (const int size : {1, 1}) spec.mutable_pipeline()->add_split_sizes(size);
  EXPECT_THAT(Error(spec), HasSubstr("the split [1, 1] owns 2 layers; the model has 3"));
  spec.mutable_pipeline()->set_stages(3);
  EXPECT_THAT(Error(spec), HasSubstr("the split [1, 1] has 2 stages, not 3"));
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
  EXPECT_THAT(Error(spec), HasSubstr("stage 1 is on rank 0, which has a stage already"));
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

TEST(CheckFitsTest, NamesTheFirstRankThatDoesNotFitAndWhatWould) {
  v1::JobSpec spec = GptJob(4, 2, 8);
  const v1::Plan gpipe = Plan(spec);
  EXPECT_TRUE(CheckFits(spec, gpipe, {}).ok());
  EXPECT_TRUE(CheckFits(spec, gpipe, {0, 0}).ok());
  const auto peak = [](const v1::Stage& stage) { return stage.state_bytes() + stage.peak_activation_bytes(); };
  EXPECT_TRUE(CheckFits(spec, gpipe, {peak(gpipe.stages(0)), peak(gpipe.stages(1))}).ok());
  const absl::Status status = CheckFits(spec, gpipe, {0, peak(gpipe.stages(1)) - 1});
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(status.message()), StartsWith("rank 1 (stage 1) needs "));
  EXPECT_THAT(std::string(status.message()), HasSubstr("schedule: 1f1b would fit"));
  // What it proposes does fit.
  spec.mutable_pipeline()->set_schedule("1f1b");
  EXPECT_TRUE(CheckFits(spec, Plan(spec), {0, peak(gpipe.stages(1)) - 1}).ok());
}

TEST(CheckFitsTest, ProposesSmallerMicroBatchesAndThenALargerWorker) {
  v1::JobSpec spec = GptJob(4, 2, 1);
  const v1::Plan plan = Plan(spec);
  const uint64_t limit = plan.stages(0).state_bytes() + plan.stages(0).peak_activation_bytes() / 2;
  EXPECT_THAT(std::string(CheckFits(spec, plan, {limit, 0}).message()), HasSubstr("micro_batches: "));
  EXPECT_THAT(std::string(CheckFits(spec, plan, {1000, 0}).message()),
              HasSubstr("use more stages, or give it a worker with at least "));
}

TEST(AdviceTest, ProposesABetterSplitOnlyWhereThereIsOne) {
  v1::JobSpec spec = DelayJob({1000, 1000, 1000, 1000, 1000, 1000}, 2, 8);
  EXPECT_THAT(absl::StrJoin(Advice(spec, Plan(spec)), "\n"), Not(HasSubstr("split")));
  spec.mutable_pipeline()->set_split(v1::Pipeline::SPLIT_EXPLICIT);
  for (const int size : {4, 2}) spec.mutable_pipeline()->add_split_sizes(size);
  EXPECT_THAT(absl::StrJoin(Advice(spec, Plan(spec)), "\n"),
              HasSubstr("stage 0 takes 33 % longer than the mean; split [3, 3] would balance better"));
}

TEST(AdviceTest, ProposesMoreMicroBatchesOnlyWhereTheStepWouldBeShorter) {
  // A delay takes its time for every micro-batch, however small: more of them only take longer.
  const v1::JobSpec delays = DelayJob({1000, 1000}, 2, 4);
  EXPECT_THAT(Advice(delays, Plan(delays)), IsEmpty());
  const v1::JobSpec gpt = GptJob(6, 4, 4);
  EXPECT_THAT(absl::StrJoin(Advice(gpt, Plan(gpt)), "\n"), HasSubstr("8 micro-batches would give a bubble of "));
}

TEST(RenderTest, TheTableSaysWhatEachStageHolds) {
  v1::JobSpec spec = DelayJob({10000, 10000, 10000, 10000}, 2, 32);
  v1::Plan plan = Plan(spec);
  plan.mutable_stages(0)->set_peak_activation_bytes(2048);
  plan.mutable_stages(1)->set_peak_activation_bytes(4096);
  EXPECT_EQ(RenderPlanText(spec, plan, {{uint64_t{4} << 30, 100}, {"localhost/cpu.0"}}),
            "delays: 4 layers, 0 parameters, fp32, sgd; 2 stages, 32 micro-batches of 1 sample, schedule gpipe\n"
            "STAGE  LAYERS           PARAMS  STATE   ACTIV.     PEAK     LIMIT  FIT  TIME/MB  WORKER\n"
            "0      delay_0 delay_1       0    0 B  2.0 KiB  2.0 KiB  4.00 GiB  yes    60 ms  localhost/cpu.0\n"
            "1      delay_2 delay_3       0    0 B  4.0 KiB  4.0 KiB     100 B  NO     60 ms  (rank 1)\n"
            "Bubble 3.0 %   Step ~1.98 s, 16 samples/s, 100 steps in 3 min 18 s\n"
            "Times are estimated from FLOPs and bytes\n");
}

TEST(RenderTest, TokensAndAdviceStandUnderTheTable) {
  v1::JobSpec spec = GptJob(8, 2, 2);
  spec.mutable_pipeline()->set_split(v1::Pipeline::SPLIT_EXPLICIT);
  for (const int size : {8, 4}) spec.mutable_pipeline()->add_split_sizes(size);
  const std::string text = RenderPlanText(spec, Plan(spec));
  EXPECT_THAT(text,
              StartsWith("gpt: 12 layers, 1.7M parameters, fp32, adamw; 2 stages, 2 micro-batches of 16 x 64 tokens"));
  EXPECT_THAT(text, HasSubstr("wte .. h.5 (8)"));
  EXPECT_THAT(text, HasSubstr(" tokens/s, 100 steps in "));
  EXPECT_THAT(text, HasSubstr("(4 micro-batches would give "));
  EXPECT_THAT(text, HasSubstr("\nnote: stage 0 takes "));
}

TEST(RenderTest, JsonHasTheSameFacts) {
  const v1::JobSpec spec = GptJob(2, 2, 2);
  const v1::Plan plan = Plan(spec);
  const nlohmann::json json = nlohmann::json::parse(RenderPlanJson(spec, plan, {{5}, {"w0", "w1"}}));
  EXPECT_EQ(json["schedule"], "gpipe");
  EXPECT_EQ(json["micro_batches"], 2);
  EXPECT_EQ(json["predicted"]["step_us"].get<double>(), plan.predicted_step_us());
  EXPECT_EQ(json["stages"].size(), 2u);
  EXPECT_EQ(json["stages"][0]["layers"][0], "wte");
  EXPECT_EQ(json["stages"][0]["fits"], false);
  EXPECT_EQ(json["stages"][1]["limit_bytes"], nullptr);
  EXPECT_EQ(json["stages"][1]["worker"], "w1");
  EXPECT_EQ(json["stages"][1]["state_bytes"].get<uint64_t>(), plan.stages(1).state_bytes());
  EXPECT_EQ(json["actions"][0].dump(), R"(["0F0","0F1","0B0","0B1"])");
}

}  // namespace
}  // namespace penstock
