// The learning rate of each step.
#include "model/lr_schedule.h"

#include <gtest/gtest.h>

#include <cmath>

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
  for (auto name : {v1::LrSchedule::CONSTANT, v1::LrSchedule::LINEAR, v1::LrSchedule::COSINE}) {
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
  for (auto name : {v1::LrSchedule::LINEAR, v1::LrSchedule::COSINE}) {
    const v1::Train train = MakeTrain(name, 7, 3, 0.1);
    EXPECT_EQ(LearningRate(train, 7), 0.1);
    EXPECT_EQ(LearningRate(train, 8), 0.1);
  }
}

TEST(LrScheduleTest, WarmUpOverAllStepsEndsAtTheFullRate) {
  const v1::Train train = MakeTrain(v1::LrSchedule::COSINE, 5, 5, 0);
  EXPECT_EQ(LearningRate(train, 5), 0.8);
}

}  // namespace
}  // namespace penstock
