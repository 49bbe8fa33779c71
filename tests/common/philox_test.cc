// Philox: the published known answers, independence of order, and the moments of what is made from it.
#include "common/philox.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <vector>

namespace penstock {
namespace {

using Words = std::array<uint32_t, 4>;

// Random123's kat_vectors, "philox4x32 10".
TEST(PhiloxTest, AgreesWithTheKnownAnswersOfRandom123) {
  EXPECT_EQ(Philox4x32({0, 0, 0, 0}, {0, 0}), (Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(Philox4x32({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff}),
            (Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(Philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(PhiloxTest, NumberDependsOnKeyAndIndexAlone) {
  const Philox stream(7, "h.0.dropout", 3, 2);
  std::vector<float> long_run(1000), short_run(37);
  stream.Uniform(long_run.data(), long_run.size());
  stream.Uniform(short_run.data(), short_run.size());
  EXPECT_TRUE(std::equal(short_run.begin(), short_run.end(), long_run.begin()));
  for (uint64_t block : {200u, 3u, 0u, 117u}) {
    const Words words = stream.Block(block);
    for (int w = 0; w < 4; ++w) EXPECT_EQ(long_run[4 * block + w], (words[w] >> 8) * 0x1p-24f) << block;
  }
}

TEST(PhiloxTest, NormalAndMaskOfAShorterRunArePrefixes) {
  const Philox stream(7, "wte.weight");
  std::vector<float> long_run(501), short_run(33);
  stream.Normal(long_run.data(), long_run.size());
  stream.Normal(short_run.data(), short_run.size());
  EXPECT_TRUE(std::equal(short_run.begin(), short_run.end(), long_run.begin()));
  stream.DropoutMask(long_run.data(), long_run.size(), 0.3);
  stream.DropoutMask(short_run.data(), short_run.size(), 0.3);
  EXPECT_TRUE(std::equal(short_run.begin(), short_run.end(), long_run.begin()));
}

TEST(PhiloxTest, EveryPartOfThePurposeChangesTheStream) {
  const std::vector<Philox> streams = {Philox(1, "a", 1, 1), Philox(2, "a", 1, 1), Philox(1, "b", 1, 1),
                                       Philox(1, "a", 2, 1), Philox(1, "a", 1, 2), Philox(1, "", 1, 1)};
  std::set<Words> seen;
  for (const Philox& stream : streams) seen.insert(stream.Block(0));
  EXPECT_EQ(seen.size(), streams.size());
}

TEST(PhiloxTest, UniformHasTheMomentsOfTheUniformDistribution) {
  std::vector<float> values(1 << 18);
  Philox(42, "moments").Uniform(values.data(), values.size());
  double sum = 0, squares = 0;
  for (float value : values) {
    ASSERT_GE(value, 0.0f);
    ASSERT_LT(value, 1.0f);
    sum += value;
    squares += double{value} * value;
  }
  EXPECT_NEAR(sum / values.size(), 0.5, 0.003);  // 5 standard errors
  EXPECT_NEAR(squares / values.size(), 1.0 / 3, 0.003);
}

TEST(PhiloxTest, NormalHasTheMomentsOfTheNormalDistribution) {
  std::vector<float> values(1 << 18);
  Philox(42, "moments").Normal(values.data(), values.size());
  double moments[5] = {};
  for (float value : values) {
    ASSERT_TRUE(std::isfinite(value));
    for (int k = 1; k <= 4; ++k) moments[k] += std::pow(value, k) / values.size();
  }
  EXPECT_NEAR(moments[1], 0, 0.01);
  EXPECT_NEAR(moments[2], 1, 0.015);
  EXPECT_NEAR(moments[3], 0, 0.04);
  EXPECT_NEAR(moments[4], 3, 0.1);
  double lag = 0;  // neighbours come from one pair of uniforms and must not be correlated
  for (size_t i = 0; i + 1 < values.size(); ++i) lag += double{values[i]} * values[i + 1] / values.size();
  EXPECT_NEAR(lag, 0, 0.01);
}

TEST(PhiloxTest, DropoutMaskKeepsItsShareAndItsMean) {
  for (double p : {0.0, 0.1, 0.5, 0.9}) {
    std::vector<float> mask(1 << 17);
    Philox(5, "mask", 11, 3).DropoutMask(mask.data(), mask.size(), p);
    const float scale = static_cast<float>(1 / (1 - p));
    size_t kept = 0;
    for (float value : mask) {
      ASSERT_TRUE(value == 0.0f || value == scale) << value;
      kept += value != 0;
    }
    EXPECT_NEAR(static_cast<double>(kept) / mask.size(), 1 - p, p == 0 ? 0 : 0.007) << p;
  }
}

TEST(PhiloxTest, BelowStaysBelowAndReachesEveryValue) {
  const Philox stream(9, "order", 4);
  std::vector<int> seen(7);
  for (uint64_t i = 0; i < 7000; ++i) ++seen.at(stream.Below(7, i));
  for (int count : seen) EXPECT_NEAR(count, 1000, 150);
  EXPECT_EQ(stream.Below(1, 123), 0u);
  EXPECT_EQ(stream.Below(7, 42), stream.Below(7, 42));
  for (uint64_t i = 0; i < 100; ++i) EXPECT_LT(stream.Below(uint64_t{1} << 63, i), uint64_t{1} << 63);
}

}  // namespace
}  // namespace penstock
