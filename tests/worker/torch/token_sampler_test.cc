#include "worker/torch/token_sampler.h"

#include <gtest/gtest.h>

#include <map>
#include <vector>

namespace penstock {
namespace {

const std::vector<float> kLogits = {0, 2, 1, 2, -5};

TEST(TokenSamplerTest, TemperatureZeroTakesTheFirstOfTheMostLikely) {
  EXPECT_EQ(SampleToken(kLogits, {0, 0, 1}, {7}), 1);
  EXPECT_EQ(SampleToken(kLogits, {0, 3, 9}, {7, 8}), 1);
}

TEST(TokenSamplerTest, TheSameSeedAndContextGiveTheSameToken) {
  for (int64_t i = 0; i < 20; ++i) {
    EXPECT_EQ(SampleToken(kLogits, {1, 0, 4}, {i}), SampleToken(kLogits, {1, 0, 4}, {i}));
  }
}

TEST(TokenSamplerTest, TopKLeavesOutTheRest) {
  std::map<int64_t, int> counts;
  for (int64_t i = 0; i < 1000; ++i) ++counts[SampleToken(kLogits, {5, 2, 4}, {i})];
  EXPECT_EQ(counts.size(), 2u);
  EXPECT_NEAR(counts[1], 500, 80);
  EXPECT_NEAR(counts[3], 500, 80);
}

TEST(TokenSamplerTest, FrequenciesFollowTheSoftmax) {
  std::map<int64_t, int> counts;
  for (int64_t i = 0; i < 20000; ++i) ++counts[SampleToken(kLogits, {1, 0, 4}, {i, 3})];
  // exp(0), exp(2), exp(1), exp(2), exp(-5) over their sum.
  const double total = 1 + 7.389 + 2.718 + 7.389 + 0.0067;
  EXPECT_NEAR(counts[0], 20000 / total, 200);
  EXPECT_NEAR(counts[1], 20000 * 7.389 / total, 350);
  EXPECT_NEAR(counts[2], 20000 * 2.718 / total, 300);
  EXPECT_NEAR(counts[3], 20000 * 7.389 / total, 350);
}

}  // namespace
}  // namespace penstock
