#include "coordinator/plan/planner.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "common/action.h"
#include "coordinator/plan/costs.h"
#include "coordinator/plan/model_costs.h"
#include "coordinator/plan/schedule.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "model/layer_kind.h"
#include "model/model_info.h"
#include "tests/coordinator/plan/job_specs.h"
#include "tests/coordinator/plan/planned_jobs.h"

namespace penstock {
namespace {

using ::testing::HasSubstr;
using ::testing::MatchesRegex;
using ::testing::Not;
using ::testing::StartsWith;

// What the fullest rank holds.
uint64_t Largest(const v1::Plan& plan) {
  uint64_t largest = 0;
  for (const v1::RankPrediction& rank : plan.ranks()) largest = std::max<uint64_t>(largest, rank.peak_bytes());
  return largest;
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
  // (M + K - 1) x 30 ms, the link's 400 us at each of three boundaries each way, the vote and its answer.
  const v1::Plan plan = Plan(DelayJob({10000, 10000, 10000, 10000}, 4, 32));
  EXPECT_EQ(plan.stages(0).forward_us(), 10000);
  EXPECT_EQ(plan.stages(0).backward_us(), 20000);
  EXPECT_NEAR(plan.predicted_step_us(), 35 * 30000 + 8 * 400, 100);
  EXPECT_NEAR(plan.predicted_bubble(), 1 - 32 * 30000 / (35 * 30000 + 6 * 400.0), 0.0001);
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

TEST(PlannerTest, AutoScheduleTakesTheShortestStepThatThereIs) {
  v1::JobSpec spec = DelayJob({1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000}, 4, 8);
  spec.mutable_pipeline()->set_schedule("auto");
  const PlannedJob best = Planned(spec);
  const auto rows = CompareSchedules({spec});
  ASSERT_TRUE(rows.ok()) << rows.status();
  for (const ScheduleRow& row : *rows) {
    if (!row.status.ok()) continue;
    EXPECT_LE(best.plan.predicted_step_us(), 1.01 * row.planned.plan.predicted_step_us()) << row.schedule;
  }
  ASSERT_EQ(best.notes.size(), 1u);
  EXPECT_THAT(best.notes[0], StartsWith("schedule auto took " + best.plan.schedule()));
  EXPECT_THAT(best.notes[0], HasSubstr(" % longer"));
  // As many ranks as the job has stages, whatever the schedule puts on each.
  EXPECT_EQ(best.plan.train_size(), 4);
}

TEST(PlannerTest, AutoScheduleTakesLessMemoryWhereTheStepIsTheSame) {
  v1::JobSpec spec = DelayJob({1000, 1000}, 2, 8);
  for (int i = 0; i < 2; ++i) {
    spec.mutable_model()->mutable_layers(i)->mutable_delay()->set_weight_grad_us(0);
  }
  spec.mutable_pipeline()->set_schedule("auto");
  spec.mutable_pipeline()->set_chunks(1);
  // Without weight gradients there is nothing that splitting the backward pass could move: 1F1B and its kin take as
  // long as GPipe, with less memory.
  EXPECT_NE(Plan(spec).schedule(), "gpipe");
  // With one stage and one micro-batch there is no difference, and the simplest stays.
  spec.mutable_pipeline()->set_stages(1);
  spec.mutable_pipeline()->set_micro_batches(1);
  EXPECT_EQ(Plan(spec).schedule(), "gpipe");
}

TEST(PlannerTest, AutoScheduleKeepsTheWorkersLimits) {
  v1::JobSpec spec = GptJob(6, 3, 8);
  spec.mutable_pipeline()->set_schedule("auto");
  const auto rows = CompareSchedules({spec});
  ASSERT_TRUE(rows.ok()) << rows.status();
  // What the leanest schedule needs on its fullest rank, and no byte more.
  uint64_t least = UINT64_MAX;
  for (const ScheduleRow& row : *rows) {
    if (row.status.ok()) least = std::min(least, Largest(row.planned.plan));
  }
  const PlannedJob free = Planned(spec), limited = Planned(spec, {least, least, least});
  EXPECT_GT(Largest(free.plan), least);
  EXPECT_LE(Largest(limited.plan), least);
  EXPECT_THAT(limited.notes[0], HasSubstr(" not fit"));
}

TEST(PlannerTest, SeveralStagesARankShareItsMemoryAndItsTime) {
  v1::JobSpec spec = GptJob(6, 4, 4);
  spec.mutable_pipeline()->set_chunks(2);
  spec.mutable_pipeline()->set_schedule("zb-v");
  const v1::Plan plan = Plan(spec);
  ASSERT_EQ(plan.stages_size(), 4);
  ASSERT_EQ(plan.train_size(), 2);
  ASSERT_EQ(plan.ranks_size(), 2);
  EXPECT_EQ(plan.stages(0).rank(), 0u);
  EXPECT_EQ(plan.stages(1).rank(), 1u);
  EXPECT_EQ(plan.stages(2).rank(), 1u);
  EXPECT_EQ(plan.stages(3).rank(), 0u);
  for (int rank = 0; rank < 2; ++rank) {
    double busy_us = 0;
    for (const v1::Stage& stage : plan.stages()) {
      if (static_cast<int>(stage.rank()) == rank) busy_us += 4 * (stage.forward_us() + stage.backward_us());
    }
    EXPECT_NEAR(plan.ranks(rank).busy_us(), busy_us, 1e-6 * busy_us);
    EXPECT_GT(plan.ranks(rank).peak_bytes(), plan.ranks(rank).peak_activation_bytes());
  }
}

TEST(PlannerTest, ANeedOfTheScheduleThatIsNotMetIsNamed) {
  v1::JobSpec spec = DelayJob({1, 1, 1, 1, 1, 1, 1, 1}, 4, 4);
  spec.mutable_pipeline()->set_schedule("zb-v");
  spec.mutable_pipeline()->set_chunks(1);
  EXPECT_THAT(Error(spec), HasSubstr("pipeline.chunks is 1, but zb-v runs 2 stages a rank"));
  spec.mutable_pipeline()->set_chunks(3);
  EXPECT_THAT(Error(spec), HasSubstr("pipeline.stages is 4, which cannot be dealt out to ranks of 3 stages"));
  spec.mutable_pipeline()->set_chunks(2);
  spec.mutable_pipeline()->set_schedule("dualpipe-v");
  spec.mutable_pipeline()->set_micro_batches(3);
  EXPECT_THAT(Error(spec), HasSubstr("pipeline.micro_batches is 3, but dualpipe-v on 2 ranks needs at least 4"));
}

// A job whose first layer only passes tokens on.
v1::JobSpec TokensFirst(int stages) {
  v1::JobSpec spec = GptJob(4, stages, 4);
  v1::Model* model = spec.mutable_model();
  v1::Layer* layer = model->add_layers();
  layer->set_name("wait");
  layer->mutable_delay()->set_forward_us(1);
  for (int i = model->layers_size() - 1; i > 0; --i) model->mutable_layers()->SwapElements(i, i - 1);
  FillDefaults(model);
  return spec;
}

TEST(PlannerTest, NoCutLiesWhereOnlyTokensPass) {
  // Tokens have no gradient: a worker that has nothing but the layers before the embedding would wait for none.
  v1::JobSpec spec = TokensFirst(3);
  for (const auto split : {v1::Pipeline::SPLIT_AUTO, v1::Pipeline::SPLIT_UNIFORM, v1::Pipeline::SPLIT_MIN_VARIANCE}) {
    spec.mutable_pipeline()->set_split(split);
    for (const int stages : {2, 3, 8}) {
      spec.mutable_pipeline()->set_stages(stages);
      EXPECT_GE(Plan(spec).stages(0).end_layer(), 2u) << stages;
    }
  }
  spec.mutable_pipeline()->set_stages(9);
  EXPECT_THAT(Error(spec), HasSubstr("9 stages cannot be cut from the model's 9 layers: the first 2 stay together"));
  spec.mutable_pipeline()->set_stages(2);
  spec.mutable_pipeline()->set_split(v1::Pipeline::SPLIT_EXPLICIT);
  for (const int size : {1, 8}) spec.mutable_pipeline()->add_split_sizes(size);
  EXPECT_THAT(Error(spec), HasSubstr("stage 0 ends with layer 'wait', which only passes tokens on"));
  EXPECT_THAT(Error(spec), HasSubstr("must go on to layer 'wte'"));
}

v1::MeasuredCosts Measured(const v1::JobSpec& spec, uint32_t samples, const std::vector<double>& forward_us) {
  v1::MeasuredCosts measured;
  measured.set_device("a test's device");
  for (int i = 0; i < spec.model().layers_size(); ++i) {
    v1::MeasuredLayer* layer = measured.add_layers();
    layer->set_layer(spec.model().layers(i).name());
    layer->set_samples(samples);
    layer->set_forward_us(forward_us[i]);
    layer->set_input_gradient_us(2 * forward_us[i]);
    layer->set_weight_gradient_us(3 * forward_us[i]);
  }
  return measured;
}

TEST(MeasuredCostsTest, TakeThePlaceOfEstimates) {
  v1::JobSpec spec = GptJob(1, 2, 4);  // 5 layers, micro-batches of 8
  v1::MeasuredCosts measured = Measured(spec, 8, {100, 100, 700, 100, 1000});
  measured.set_update_bytes_per_us(1e12);
  measured.set_link_latency_us(7);
  const auto plan = MakePlan(spec, &measured);
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(Sizes(*plan), "4 1");
  EXPECT_NEAR(plan->stages(0).forward_us(), 1000, 1e-9);
  EXPECT_NEAR(plan->stages(0).backward_us(), 5000, 1e-9);
  EXPECT_NEAR(plan->stages(0).weight_gradient_us(), 3000, 1e-9);
  EXPECT_EQ(plan->cost_source(), "measured on a test's device");
  // A worker's numeric fingerprint filled three lines of a terminal.
  measured.set_device("libtorch 2.11.0; Intel(R) oneAPI Math Kernel Library; AVX512; MKL_CBWR=; 1 thread(s)");
  EXPECT_THAT(MakePlan(spec, &measured)->cost_source(),
              MatchesRegex("measured on cpu \\(libtorch 2.11.0, numerics [0-9a-f]{8}\\)"));
  measured.set_device("libtorch 2.11.0; AVX2; cuda, TF32 off");
  EXPECT_THAT(MakePlan(spec, &measured)->cost_source(), StartsWith("measured on cuda (libtorch 2.11.0, numerics "));
  // 5 x 6 ms, and the boundary twice.
  EXPECT_NEAR(plan->predicted_step_us(), 5 * 6000, 1000);
  // A micro-batch of half the size takes about half.
  spec.mutable_pipeline()->set_micro_batches(8);
  const auto halves = MakePlan(spec, &measured);
  ASSERT_TRUE(halves.ok()) << halves.status();
  EXPECT_GT(halves->stages(0).forward_us(), 500);
  EXPECT_LT(halves->stages(0).forward_us(), 900);
}

TEST(MeasuredCostsTest, OfAnotherModelOrNoNumbersAreRefused) {
  const v1::JobSpec spec = DelayJob({1, 1, 1}, 2, 4);
  const auto error = [&](const v1::MeasuredCosts& measured) {
    const auto plan = MakePlan(spec, &measured);
    EXPECT_EQ(plan.status().code(), absl::StatusCode::kInvalidArgument);
    return std::string(plan.status().message());
  };
  v1::MeasuredCosts measured = Measured(spec, 8, {1, 1, 1});
  measured.mutable_layers(1)->set_layer("other");
  EXPECT_THAT(error(measured), HasSubstr("have layer 'other' in place 1; the model has 'delay_1': measure again"));
  measured = Measured(spec, 8, {1, 1, std::nan("")});
  EXPECT_THAT(error(measured), HasSubstr("layer 'delay_2' was measured at nan us forward"));
  measured = Measured(spec, 8, {1, -1, 1});
  EXPECT_THAT(error(measured), HasSubstr("layer 'delay_1' was measured at -1 us forward"));
  measured = Measured(spec, 8, {1, 1, 1});
  measured.mutable_layers()->RemoveLast();
  EXPECT_THAT(error(measured), HasSubstr("the measured costs are of 2 layers; the model has 3"));
}

TEST(PlannerTest, MemoryCountsStateByOptimizerAndActivationsByWhatIsInFlight) {
  v1::JobSpec spec = GptJob(2, 2, 4);
  const v1::Plan gpipe = Plan(spec);
  spec.mutable_pipeline()->set_schedule("1f1b");
  const v1::Plan one = Plan(spec);
  const auto model = InferModel(spec.model());
  ASSERT_TRUE(model.ok()) << model.status();
  int64_t elements = 0;
  for (uint32_t i = 0; i < one.stages(0).end_layer(); ++i) {
    elements += model->layers[i].ParameterElements();
  }
  // 4 micro-batches in flight under GPipe; 2 and 1 under 1F1B. And what one action works with, once.
  const int in_flight[] = {2, 1};
  for (int s = 0; s < 2; ++s) {
    int64_t activation = 0, deferred = 0, working = 0;
    for (uint32_t i = one.stages(s).first_layer(); i < one.stages(s).end_layer(); ++i) {
      activation += 8 * model->layers[i].cost.activation_bytes;  // 32 samples in 4 micro-batches
      deferred += 8 * model->layers[i].cost.deferred_bytes;
      working = std::max(working, 8 * model->layers[i].cost.working_bytes);
    }
    // At the end of I the factors of weight gradients have taken the activations' place.
    working += std::max<int64_t>(0, deferred - activation);
    EXPECT_EQ(static_cast<int64_t>(gpipe.stages(s).peak_activation_bytes()), 4 * activation + working);
    EXPECT_EQ(static_cast<int64_t>(one.stages(s).peak_activation_bytes()), in_flight[s] * activation + working);
  }
  EXPECT_EQ(static_cast<int64_t>(gpipe.stages(0).parameter_bytes()), 4 * elements);
  EXPECT_EQ(static_cast<int64_t>(gpipe.stages(0).state_bytes()), 16 * elements);
  spec.mutable_train()->mutable_optimizer()->set_name(v1::Optimizer::SGD);
  EXPECT_EQ(static_cast<int64_t>(Plan(spec).stages(0).state_bytes()), 8 * elements);
  spec.mutable_train()->mutable_optimizer()->set_momentum(0.9);
  EXPECT_EQ(static_cast<int64_t>(Plan(spec).stages(0).state_bytes()), 12 * elements);
}

TEST(PlannerTest, OutputBytesAreThoseOfTheLargestMicroBatch) {
  v1::JobSpec spec = GptJob(2, 2, 5);  // 32 samples: 7 7 6 6 6
  const v1::Plan plan = Plan(spec);
  EXPECT_EQ(plan.stages(0).output_bytes(), 7u * 64 * 128 * 4);
  EXPECT_EQ(plan.stages(1).output_bytes(), 0u);
}

// Every tensor that a later stage reads passes a cut, and is counted at each; tokens too, though none comes back.
TEST(PlannerTest, OutputBytesAreThoseOfAllTensorsThatCross) {
  v1::JobSpec spec = GptJob(2, 3, 4);  // 32 samples: 8 each
  v1::Model* model = spec.mutable_model();
  v1::Layer again;
  again.set_name("again");
  again.add_from("input");
  again.mutable_embedding()->set_vocab(256);
  again.mutable_embedding()->set_dim(128);
  v1::Layer sum;
  sum.set_name("sum");
  for (const char* name : {"ln_f", "again", "h.0"}) sum.add_from(name);
  sum.mutable_add();
  const v1::Layer head = model->layers(5);
  *model->mutable_layers(5) = again;
  *model->add_layers() = sum;
  *model->add_layers() = head;
  FillDefaults(model);
  spec.mutable_pipeline()->set_split(v1::Pipeline::SPLIT_EXPLICIT);
  for (const int size : {3, 2, 3}) spec.mutable_pipeline()->add_split_sizes(size);
  spec.mutable_pipeline()->set_recompute(v1::Pipeline::RECOMPUTE_BOUNDARY);
  const v1::Plan plan = Plan(spec);
  const uint64_t row = 8 * 64 * 128 * 4, tokens = 8 * 64 * 8;
  EXPECT_EQ(plan.stages(0).output_bytes(), row + tokens);      // h.0, read by h.1 and by sum; the tokens
  EXPECT_EQ(plan.stages(1).output_bytes(), 2 * row + tokens);  // h.0, ln_f; the tokens
  // Of what comes to it, stage 1 keeps h.0 alone for running again, stage 2 all.
  const ModelInfo info = InferModel(*model).value();
  const ModelCosts costs = ModelCosts::Make(spec, info, 4, nullptr).value();
  const PipelineCosts stages = costs.Pipeline({{0, 3}, {3, 5}, {5, 8}});
  EXPECT_EQ(static_cast<uint64_t>(stages.larger[1].boundary_bytes), row);
  EXPECT_EQ(static_cast<uint64_t>(stages.larger[2].boundary_bytes), 2 * row + tokens);
  EXPECT_EQ(costs.first_cut(), 1);
}

TEST(PlannerTest, ListsOfOnesOwnAreCheckedBeforeTheyAreSimulated) {
  // A job that came by RPC, past every reader of files, was simulated with a micro-batch that does not exist: an index
  // past the end of the simulator's tables.
  v1::JobSpec spec = DelayJob({1, 1, 1}, 2, 2);
  spec.mutable_pipeline()->set_schedule("csv");
  for (const char* list : {"0F0 0F1 0B0 0B1", "1F0 1B0 1F1 1B1"}) {
    v1::RankActions* actions = spec.mutable_pipeline()->add_csv();
    for (const absl::string_view text : absl::StrSplit(list, ' ')) {
      *actions->add_actions() = ToProto(*ActionFromText(text));
    }
  }
  EXPECT_EQ(Plan(spec).train_size(), 2);
  EXPECT_EQ(RanksOfJob(spec).value_or(0), 2);
  spec.mutable_pipeline()->mutable_csv(0)->mutable_actions(1)->set_micro_batch(2'000'000'000);
  EXPECT_THAT(Error(spec), HasSubstr("there is no micro-batch 2000000000"));
}

TEST(PlannerTest, NumbersThatFitNoIntAreRefused) {
  // They became negative, and the number of ranks with them.
  v1::JobSpec spec = DelayJob({1, 1, 1}, 2, 2);
  spec.mutable_pipeline()->set_chunks(4294967295);
  EXPECT_THAT(Error(spec), HasSubstr("pipeline.chunks must be at least 1"));
  spec = DelayJob({1, 1, 1}, 2, 2);
  spec.mutable_pipeline()->mutable_plan()->add_stages()->set_rank(0x7ffffffe);
  EXPECT_FALSE(RanksOfJob(spec).ok());
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

}  // namespace
}  // namespace penstock
