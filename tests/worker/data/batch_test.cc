#include "worker/data/batch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>
#include <vector>

namespace penstock {
namespace {

using ::testing::ElementsAre;

std::vector<uint64_t> Order(uint64_t seed, uint64_t epoch, uint64_t size) {
  const Permutation permutation(seed, epoch, size);
  std::vector<uint64_t> order(size);
  for (uint64_t i = 0; i < size; ++i) order[i] = permutation.At(i);
  return order;
}

std::vector<int64_t> Indices(const std::vector<SampleRef>& batch) {
  std::vector<int64_t> indices;
  for (const SampleRef& sample : batch) {
    EXPECT_TRUE(sample.counted);
    indices.push_back(sample.index);
  }
  return indices;
}

TEST(PermutationTest, EachNumberComesOnceForEverySize) {
  for (uint64_t size = 1; size <= 300; ++size) {
    std::vector<uint64_t> order = Order(size, 3, size);
    std::sort(order.begin(), order.end());
    for (uint64_t i = 0; i < size; ++i) ASSERT_EQ(order[i], i) << "size " << size;
  }
}

TEST(PermutationTest, ReachesNumbersBeyond32Bits) {
  const uint64_t size = (uint64_t{1} << 40) + 12345;
  const Permutation permutation(1, 0, size);
  std::set<uint64_t> seen;
  for (uint64_t i = 0; i < 2000; ++i) seen.insert(permutation.At(i));
  EXPECT_EQ(seen.size(), 2000u);
  EXPECT_LT(*seen.rbegin(), size);
  EXPECT_GT(*seen.rbegin(), uint64_t{1} << 39);
}

TEST(PermutationTest, SeedAndEpochEachChangeTheOrder) {
  EXPECT_EQ(Order(1, 0, 1000), Order(1, 0, 1000));
  EXPECT_NE(Order(1, 0, 1000), Order(2, 0, 1000));
  EXPECT_NE(Order(1, 0, 1000), Order(1, 1, 1000));
}

// A number is as likely to come to one place as to another. Chi-squared over 16 x 16 cells of 64 seeds' orders has 15^2
// degrees of freedom: mean 225, standard deviation 21; the bound is six of them away.
TEST(PermutationTest, NumbersAreSpreadEvenlyOverPlaces) {
  constexpr int kCells = 16, kSeeds = 64;
  constexpr uint64_t kSize = 1600;
  std::vector<double> counts(kCells * kCells, 0);
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    const std::vector<uint64_t> order = Order(seed, 0, kSize);
    for (uint64_t i = 0; i < kSize; ++i) counts[i * kCells / kSize * kCells + order[i] * kCells / kSize] += 1;
  }
  const double expected = static_cast<double>(kSize) * kSeeds / (kCells * kCells);
  double chi_squared = 0;
  for (const double count : counts) chi_squared += (count - expected) * (count - expected) / expected;
  EXPECT_LT(std::abs(chi_squared - 225), 6 * 21);
}

// Neighbours do not stay neighbours: what an identity or a rotation would fail.
TEST(PermutationTest, NeighboursAreTornApart) {
  const std::vector<uint64_t> order = Order(7, 0, 10'000);
  int close = 0;
  for (size_t i = 1; i < order.size(); ++i)
    close += std::max(order[i], order[i - 1]) - std::min(order[i], order[i - 1]) < 10;
  EXPECT_LT(close, 60) << "about 18 are expected";
}

// These numbers are part of the promise that a job's batches never change. A change here changes every job.
TEST(PermutationTest, TheOrderOfVersionOneStays) {
  EXPECT_THAT(Order(1, 0, 10), ElementsAre(7, 0, 8, 2, 1, 6, 4, 3, 5, 9));
  EXPECT_THAT(Order(1, 1, 10), ElementsAre(6, 9, 2, 1, 3, 5, 8, 0, 7, 4));
}

TEST(TrainBatchTest, EpochsVisitEverySampleOnceEvenWhereABatchSpansTwo) {
  constexpr int64_t kSamples = 10, kBatch = 4;
  std::vector<int64_t> visited;
  for (uint64_t step = 1; step <= 10; ++step) {
    const std::vector<int64_t> batch = Indices(TrainBatch(5, step, kBatch, kSamples, false));
    ASSERT_EQ(batch.size(), static_cast<size_t>(kBatch));
    visited.insert(visited.end(), batch.begin(), batch.end());
  }
  for (int epoch = 0; epoch < 4; ++epoch) {
    const auto begin = visited.begin() + epoch * kSamples;
    const std::set<int64_t> samples(begin, begin + kSamples);
    EXPECT_EQ(samples.size(), static_cast<size_t>(kSamples)) << "epoch " << epoch;
  }
}

TEST(TrainBatchTest, ABatchLargerThanTheDataRepeatsIt) {
  const std::vector<int64_t> batch = Indices(TrainBatch(5, 1, 7, 3, false));
  EXPECT_EQ(std::set<int64_t>(batch.begin(), batch.begin() + 3).size(), 3u);
  EXPECT_EQ(std::set<int64_t>(batch.begin() + 3, batch.begin() + 6).size(), 3u);
}

TEST(TrainBatchTest, AStepDoesNotDependOnThoseBeforeIt) {
  EXPECT_EQ(TrainBatch(5, 1'000'000'007, 4, 10, false), TrainBatch(5, 1'000'000'007, 4, 10, false));
  EXPECT_NE(Indices(TrainBatch(5, 1, 4, 1000, false)), Indices(TrainBatch(5, 2, 4, 1000, false)));
  EXPECT_NE(Indices(TrainBatch(5, 1, 4, 1000, false)), Indices(TrainBatch(6, 1, 4, 1000, false)));
}

TEST(TrainBatchTest, SequentialGoesThroughTheDataAndWraps) {
  EXPECT_THAT(Indices(TrainBatch(9, 1, 4, 10, true)), ElementsAre(0, 1, 2, 3));
  EXPECT_THAT(Indices(TrainBatch(9, 3, 4, 10, true)), ElementsAre(8, 9, 0, 1));
  EXPECT_THAT(Indices(TrainBatch(9, 4, 4, 10, true)), ElementsAre(2, 3, 4, 5));
}

TEST(EvalBatchTest, CoversEachSampleOnceAndPadsTheLastBatch) {
  EXPECT_EQ(EvalBatches(4, 8), 2);
  EXPECT_EQ(EvalBatches(4, 9), 3);
  EXPECT_THAT(EvalBatch(0, 4, 6), ElementsAre(SampleRef{0}, SampleRef{1}, SampleRef{2}, SampleRef{3}));
  EXPECT_THAT(EvalBatch(1, 4, 6), ElementsAre(SampleRef{4}, SampleRef{5}, SampleRef{0, false}, SampleRef{1, false}));
  EXPECT_THAT(EvalBatch(0, 3, 1), ElementsAre(SampleRef{0}, SampleRef{0, false}, SampleRef{0, false}));
}

}  // namespace
}  // namespace penstock
