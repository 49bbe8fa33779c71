// The dynamic loss scale.
#include "model/loss_scale.h"

#include <gtest/gtest.h>

namespace penstock {
namespace {

v1::LossScale Options(double initial, uint64_t interval) {
  v1::LossScale options;
  options.set_initial(initial);
  options.set_growth_interval(interval);
  return options;
}

TEST(LossScaleTest, DoublesAfterSoManyStepsWithoutAnOverflow) {
  const v1::LossScale options = Options(8, 3);
  v1::LossScaleState state = FirstLossScale(options);
  for (double expected : {8, 8, 16, 16, 16, 32}) {
    state = NextLossScale(options, state, false);
    EXPECT_EQ(state.scale(), expected);
  }
  EXPECT_EQ(state.skipped(), 0u);
}

TEST(LossScaleTest, AnOverflowHalvesItAndBeginsTheCountAnew) {
  const v1::LossScale options = Options(8, 3);
  v1::LossScaleState state = FirstLossScale(options);
  state = NextLossScale(options, state, false);
  state = NextLossScale(options, state, false);
  state = NextLossScale(options, state, true);
  EXPECT_EQ(state.scale(), 4);
  EXPECT_EQ(state.skipped(), 1u);
  for (double expected : {4, 4, 8}) {
    state = NextLossScale(options, state, false);
    EXPECT_EQ(state.scale(), expected);
  }
}

TEST(LossScaleTest, StaysWithinItsBounds) {
  const v1::LossScale options = Options(2, 1);
  v1::LossScaleState state = FirstLossScale(options);
  for (int i = 0; i < 3; ++i) state = NextLossScale(options, state, true);
  EXPECT_EQ(state.scale(), kLeastLossScale);
  EXPECT_EQ(state.skipped(), 3u);
  for (int i = 0; i < 60; ++i) state = NextLossScale(options, state, false);
  EXPECT_EQ(state.scale(), kMostLossScale);
}

}  // namespace
}  // namespace penstock
