// The learning rate of each step.
#include "model/lr_schedule.h"

#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/common/scratch_dir.h"

namespace penstock {
namespace {

v1::Train MakeTrain(v1::LrSchedule::Name name, uint64_t steps, uint64_t warmup, double min_lr) {
  v1::Train train;
  train.set_steps(steps);
  train.mutable_optimizer()->set_lr(0.8);
  train.mutable_lr_schedule()->set_name(name);
  train.mutable_lr_schedule()->set_warmup_steps(warmup);
  train.mutable_lr_schedule()->set_min_lr(min_lr);
  return train;
}

TEST(LrScheduleTest, WarmsUpInEqualStepsToTheFullRate) {
  for (auto name : {v1::LrSchedule::CONSTANT, v1::LrSchedule::LINEAR, v1::LrSchedule::COSINE, v1::LrSchedule::STEP,
                    v1::LrSchedule::POLYNOMIAL, v1::LrSchedule::WSD}) {
    const v1::Train train = MakeTrain(name, 100, 4, 0);
    EXPECT_DOUBLE_EQ(LearningRate(train, 1), 0.2);
    EXPECT_DOUBLE_EQ(LearningRate(train, 2), 0.4);
    EXPECT_EQ(LearningRate(train, 4), 0.8);
  }
}

TEST(LrScheduleTest, ConstantStaysConstant) {
  const v1::Train train = MakeTrain(v1::LrSchedule::CONSTANT, 10, 0, 0);
  for (uint64_t step : {1, 5, 10, 11}) EXPECT_EQ(LearningRate(train, step), 0.8);
}

TEST(LrScheduleTest, LinearFallsInEqualSteps) {
  const v1::Train train = MakeTrain(v1::LrSchedule::LINEAR, 12, 2, 0.3);
  EXPECT_DOUBLE_EQ(LearningRate(train, 3), 0.75);
  EXPECT_DOUBLE_EQ(LearningRate(train, 7), 0.55);
  EXPECT_EQ(LearningRate(train, 12), 0.3);
}

TEST(LrScheduleTest, CosineIsHalfWayInTheMiddle) {
  const v1::Train train = MakeTrain(v1::LrSchedule::COSINE, 12, 2, 0.2);
  EXPECT_DOUBLE_EQ(LearningRate(train, 7), 0.5);
  EXPECT_DOUBLE_EQ(LearningRate(train, 4), 0.2 + 0.6 * (1 + std::cos(std::acos(-1.0) * 0.2)) / 2);
  for (uint64_t step = 3; step < 12; ++step) EXPECT_GT(LearningRate(train, step), LearningRate(train, step + 1));
}

TEST(LrScheduleTest, LastStepReachesTheMinimumExactlyAndItStaysThere) {
  for (auto name : {v1::LrSchedule::LINEAR, v1::LrSchedule::COSINE, v1::LrSchedule::POLYNOMIAL}) {
    v1::Train train = MakeTrain(name, 7, 3, 0.1);
    train.mutable_lr_schedule()->set_power(2);
    EXPECT_EQ(LearningRate(train, 7), 0.1);
    EXPECT_EQ(LearningRate(train, 8), 0.1);
  }
}

// tests/goldens/make_optimizer_goldens.py made them.
TEST(LrScheduleTest, EveryStepsRateIsThatOfPyTorchsSchedulersAndThePapersFormulas) {
  const nlohmann::json goldens = nlohmann::json::parse(Slurp("tests/goldens/lr_schedules.json"));
  ASSERT_GE(goldens.size(), 7u);
  for (const nlohmann::json& golden : goldens) {
    v1::Train train;
    ASSERT_TRUE(google::protobuf::TextFormat::ParseFromString(golden["train"].get<std::string>(), &train));
    train.mutable_optimizer()->set_lr(0.8);
    const std::vector<double> rates = golden["rates"];
    ASSERT_EQ(rates.size(), train.steps());
    for (size_t i = 0; i < rates.size(); ++i) {
      EXPECT_NEAR(LearningRate(train, i + 1), rates[i], 1e-12) << golden["train"] << ", step " << i + 1;
    }
  }
}

v1::Train MakeStep(uint64_t step_size, double gamma, uint64_t warmup, double min_lr) {
  v1::Train train = MakeTrain(v1::LrSchedule::STEP, 100, warmup, min_lr);
  train.mutable_lr_schedule()->set_step_size(step_size);
  train.mutable_lr_schedule()->set_gamma(gamma);
  return train;
}

TEST(LrScheduleTest, StepsAreCountedFromTheEndOfTheWarmUp) {
  const v1::Train train = MakeStep(3, 0.5, 2, 0);
  for (uint64_t step : {2, 3, 4, 5}) EXPECT_EQ(LearningRate(train, step), 0.8) << step;
  for (uint64_t step : {6, 7, 8}) EXPECT_EQ(LearningRate(train, step), 0.4) << step;
  EXPECT_EQ(LearningRate(train, 9), 0.2);
}

TEST(LrScheduleTest, StepsDoNotGoBelowTheMinimum) {
  const v1::Train train = MakeStep(1, 0.5, 0, 0.3);
  EXPECT_EQ(LearningRate(train, 2), 0.4);
  EXPECT_EQ(LearningRate(train, 3), 0.3);
  EXPECT_EQ(LearningRate(train, 100), 0.3);
}

TEST(LrScheduleTest, WarmupStableDecayStaysAtTheFullRateUntilTheLastSteps) {
  v1::Train train = MakeTrain(v1::LrSchedule::WSD, 20, 3, 0.1);
  train.mutable_lr_schedule()->set_decay_steps(5);
  for (uint64_t step = 3; step <= 15; ++step) EXPECT_EQ(LearningRate(train, step), 0.8) << step;
  EXPECT_LT(LearningRate(train, 16), 0.8);
  EXPECT_EQ(LearningRate(train, 20), 0.1);
}

TEST(LrScheduleTest, WarmUpOverAllStepsEndsAtTheFullRate) {
  const v1::Train train = MakeTrain(v1::LrSchedule::COSINE, 5, 5, 0);
  EXPECT_EQ(LearningRate(train, 5), 0.8);
}

}  // namespace
}  // namespace penstock
