// The exact partitioners against every partition there is, on small random cases; goldens are in golden_test.cc.
#include "coordinator/plan/partition.h"

#include <algorithm>
#include <functional>
#include <limits>
#include <random>
#include <vector>

#include "coordinator/plan/bottleneck.h"
#include "coordinator/plan/min_variance.h"
#include "coordinator/plan/split_search.h"
#include "gtest/gtest.h"

namespace penstock {
namespace {

// Calls `visit` with every partition of the layers into num_stages.
void ForEachPartition(int num_layers, int num_stages, const std::function<void(const Partition&)>& visit) {
  Partition partition;
  const std::function<void(int)> extend = [&](int begin) {
    const int left = num_stages - static_cast<int>(partition.size());
    if (left == 0) {
      if (begin == num_layers) visit(partition);
      return;
    }
    for (int end = begin + 1; end <= num_layers - (left - 1); ++end) {
      partition.push_back({begin, end});
      extend(end);
      partition.pop_back();
    }
  };
  extend(0);
}

// Costs that doubles add exactly, with ties and zeros.
std::vector<double> RandomCosts(int count, int largest, std::mt19937* random) {
  std::vector<double> costs(count);
  for (double& cost : costs) cost = static_cast<double>((*random)() % (largest + 1));
  return costs;
}

double Sum(const std::vector<double>& costs, const LayerRange& range) {
  double sum = 0;
  for (int i = range.begin; i < range.end; ++i) sum += costs[i];
  return sum;
}

double SumOfSquares(const std::vector<double>& costs, const Partition& partition) {
  double total = 0;
  for (const LayerRange& range : partition) total += Sum(costs, range) * Sum(costs, range);
  return total;
}

double Largest(const std::vector<double>& costs, const Partition& partition) {
  double largest = 0;
  for (const LayerRange& range : partition) largest = std::max(largest, Sum(costs, range));
  return largest;
}

void ExpectCovers(const Partition& partition, int num_layers, int num_stages) {
  ASSERT_EQ(static_cast<int>(partition.size()), num_stages);
  int next = 0;
  for (const LayerRange& range : partition) {
    ASSERT_EQ(range.begin, next);
    ASSERT_GT(range.end, range.begin);
    next = range.end;
  }
  ASSERT_EQ(next, num_layers);
}

TEST(PartitionTest, MinVarianceIsTheBestOfAllPartitions) {
  std::mt19937 random(1);
  for (int i = 0; i < 2000; ++i) {
    const int layers = 1 + static_cast<int>(random() % 10), stages = 1 + static_cast<int>(random() % layers);
    const std::vector<double> costs = RandomCosts(layers, i % 2 == 0 ? 4 : 1000, &random);
    const auto partition = MinVariancePartition(costs, stages);
    ASSERT_TRUE(partition.ok()) << partition.status();
    ExpectCovers(*partition, layers, stages);
    double best = std::numeric_limits<double>::infinity();
    ForEachPartition(layers, stages, [&](const Partition& p) { best = std::min(best, SumOfSquares(costs, p)); });
    ASSERT_EQ(SumOfSquares(costs, *partition), best) << "case " << i;
  }
}

TEST(PartitionTest, MakespanIsTheBestOfAllPartitionsAndTheEvenestOfThose) {
  std::mt19937 random(2);
  for (int i = 0; i < 2000; ++i) {
    const int layers = 1 + static_cast<int>(random() % 10), stages = 1 + static_cast<int>(random() % layers);
    const int largest = i % 2 == 0 ? 4 : 1000;
    const std::vector<double> forward = RandomCosts(layers, largest, &random);
    // Networks' backward times follow the forward times; the search must also hold where they do not.
    std::vector<double> backward = RandomCosts(layers, largest, &random);
    if (i % 4 == 0) std::transform(forward.begin(), forward.end(), backward.begin(), [](double f) { return 2 * f; });
    const auto partition = MakespanPartition(forward, backward, stages);
    ASSERT_TRUE(partition.ok()) << partition.status();
    ExpectCovers(*partition, layers, stages);
    std::vector<double> both(layers);
    for (int l = 0; l < layers; ++l) both[l] = forward[l] + backward[l];
    double best = std::numeric_limits<double>::infinity(), squares = best;
    ForEachPartition(layers, stages,
                     [&](const Partition& p) { best = std::min(best, Largest(forward, p) + Largest(backward, p)); });
    ASSERT_EQ(Largest(forward, *partition) + Largest(backward, *partition), best) << "case " << i;
    // Several pairs of bounds may have the best sum; the partition is the evenest within its own pair.
    const double max_forward = Largest(forward, *partition), max_backward = Largest(backward, *partition);
    ForEachPartition(layers, stages, [&](const Partition& p) {
      if (Largest(forward, p) > max_forward || Largest(backward, p) > max_backward) return;
      squares = std::min(squares, SumOfSquares(both, p));
    });
    ASSERT_EQ(SumOfSquares(both, *partition), squares) << "case " << i;
  }
}

TEST(PartitionTest, BoundsOfManyLayersAreThoseOfThePlainTable) {
  // The plain O(L^2 K) table for max F + max B, on one cost at a time: F alone must reach its smallest bottleneck.
  std::mt19937 random(3);
  for (int i = 0; i < 20; ++i) {
    const int layers = 120, stages = 1 + static_cast<int>(random() % 40);
    const std::vector<double> costs = RandomCosts(layers, 1000, &random), none(layers, 0.0);
    const PrefixSums sums(costs);
    std::vector<double> best(layers + 1, std::numeric_limits<double>::infinity());
    best[0] = 0;
    for (int k = 0; k < stages; ++k) {
      std::vector<double> next(layers + 1, std::numeric_limits<double>::infinity());
      for (int end = 1; end <= layers; ++end) {
        for (int cut = 0; cut < end; ++cut) next[end] = std::min(next[end], std::max(best[cut], sums.Sum(cut, end)));
      }
      best = next;
    }
    EXPECT_EQ(BestBounds(sums, PrefixSums(none), stages).Sum(), best[layers]) << stages;
  }
}

TEST(PartitionTest, MinVarianceOfManyLayersIsThatOfThePlainTable) {
  std::mt19937 random(4);
  for (int i = 0; i < 20; ++i) {
    const int layers = 120, stages = 1 + static_cast<int>(random() % 60);
    const std::vector<double> costs = RandomCosts(layers, 1000, &random);
    const PrefixSums sums(costs);
    std::vector<double> best(layers + 1, std::numeric_limits<double>::infinity());
    best[0] = 0;
    for (int k = 0; k < stages; ++k) {
      std::vector<double> next(layers + 1, std::numeric_limits<double>::infinity());
      for (int end = 1; end <= layers; ++end) {
        for (int cut = 0; cut < end; ++cut) {
          next[end] = std::min(next[end], best[cut] + sums.Sum(cut, end) * sums.Sum(cut, end));
        }
      }
      best = next;
    }
    const auto partition = MinVariancePartition(costs, stages);
    ASSERT_TRUE(partition.ok()) << partition.status();
    EXPECT_EQ(SumOfSquares(costs, *partition), best[layers]) << stages;
  }
}

// Limits as workers' memory makes them: every layer has a size, every stage adds what its first layer's input takes.
// `kinds` workers differ in what they hold.
StageLimits RandomLimits(int layers, int stages, int kinds, bool inputs, std::mt19937* random) {
  const std::vector<double> sizes = RandomCosts(layers, 10, random),
                            input = RandomCosts(layers, inputs ? 15 : 0, random);
  StageLimits limits;
  for (int kind = 0; kind < kinds; ++kind) {
    const double capacity = 10 + static_cast<double>((*random)() % (60 / stages + 1));
    std::vector<int>& longest = limits.longest.emplace_back();
    for (int begin = 0; begin < layers; ++begin) {
      int end = begin;
      for (double size = input[begin]; end < layers && size + sizes[end] <= capacity; ++end) size += sizes[end];
      longest.push_back(end);
    }
  }
  for (int stage = 0; stage < stages; ++stage) {
    limits.kind_of_stage.push_back(static_cast<int>((*random)() % kinds));
  }
  return limits;
}

bool Keeps(const Partition& partition, const StageLimits& limits, int layers) {
  for (size_t s = 0; s < partition.size(); ++s) {
    if (partition[s].end > limits.LongestFrom(static_cast<int>(s), partition[s].begin, layers)) return false;
  }
  return true;
}

TEST(PartitionTest, MakespanUnderLimitsIsTheBestOfAllPartitionsThatKeepThem) {
  std::mt19937 random(6);
  int possible = 0, impossible = 0;
  for (int i = 0; i < 4000; ++i) {
    const int layers = 1 + static_cast<int>(random() % 10), stages = 1 + static_cast<int>(random() % layers);
    const std::vector<double> forward = RandomCosts(layers, 20, &random), backward = RandomCosts(layers, 20, &random);
    // One kind without inputs is the simple case: all stages may hold the same, and parts of what they may hold.
    const StageLimits limits = RandomLimits(layers, stages, 1 + i % 3, i % 2 == 1, &random);
    std::vector<double> both(layers);
    for (int l = 0; l < layers; ++l) both[l] = forward[l] + backward[l];
    double best = std::numeric_limits<double>::infinity(), squares = best;
    ForEachPartition(layers, stages, [&](const Partition& p) {
      if (Keeps(p, limits, layers)) best = std::min(best, Largest(forward, p) + Largest(backward, p));
    });
    const auto partition = MakespanPartition(forward, backward, stages, limits);
    if (best == std::numeric_limits<double>::infinity()) {
      ++impossible;
      ASSERT_EQ(partition.status().code(), absl::StatusCode::kResourceExhausted) << "case " << i;
      continue;
    }
    ++possible;
    ASSERT_TRUE(partition.ok()) << partition.status() << " case " << i;
    ExpectCovers(*partition, layers, stages);
    ASSERT_TRUE(Keeps(*partition, limits, layers)) << "case " << i;
    const double max_forward = Largest(forward, *partition), max_backward = Largest(backward, *partition);
    ASSERT_EQ(max_forward + max_backward, best) << "case " << i;
    ForEachPartition(layers, stages, [&](const Partition& p) {
      if (Keeps(p, limits, layers) && Largest(forward, p) <= max_forward && Largest(backward, p) <= max_backward) {
        squares = std::min(squares, SumOfSquares(both, p));
      }
    });
    ASSERT_EQ(SumOfSquares(both, *partition), squares) << "case " << i;
  }
  EXPECT_GT(possible, 1000);
  EXPECT_GT(impossible, 100);
}

TEST(PartitionTest, OneSmallWorkerAmongManyTakesWhatItHolds) {
  // Ten equal layers on three ranks; the middle one holds two of them.
  const std::vector<double> times(10, 1.0);
  StageLimits limits;
  limits.kind_of_stage = {0, 1, 0};
  for (const int most : {10, 2}) {
    std::vector<int>& longest = limits.longest.emplace_back();
    for (int begin = 0; begin < 10; ++begin) longest.push_back(std::min(10, begin + most));
  }
  const auto partition = MakespanPartition(times, times, 3, limits);
  ASSERT_TRUE(partition.ok()) << partition.status();
  EXPECT_EQ(*partition, (Partition{{0, 4}, {4, 6}, {6, 10}}));
}

TEST(SplitSearchTest, TriesEveryPartitionWhereThereAreFew) {
  const std::vector<double> costs = {5, 1, 1, 1, 9, 2, 2};
  const auto score = [&](const Partition& p) -> absl::StatusOr<SplitScore> { return SplitScore{0, Largest(costs, p)}; };
  const auto search = SearchSplit({{{0, 3}, {3, 5}, {5, 7}}}, 1, 100, score);
  ASSERT_TRUE(search.ok()) << search.status();
  EXPECT_TRUE(search->exhaustive);
  EXPECT_EQ(search->trials, 15);  // the ways to choose two cuts of six
  EXPECT_EQ(search->score.step_us, 9);
}

TEST(SplitSearchTest, MovesCutsWhereThereAreMany) {
  std::mt19937 random(7);
  const std::vector<double> costs = RandomCosts(60, 100, &random);
  const auto score = [&](const Partition& p) -> absl::StatusOr<SplitScore> {
    return SplitScore{0, SumOfSquares(costs, p)};
  };
  const Partition uniform = *UniformPartition(60, 6);
  const auto search = SearchSplit({uniform}, 1, 2000, score);
  ASSERT_TRUE(search.ok()) << search.status();
  EXPECT_FALSE(search->exhaustive);
  EXPECT_LE(search->trials, 2000);
  ExpectCovers(search->best, 60, 6);
  EXPECT_LT(search->score.step_us, SumOfSquares(costs, uniform));
  EXPECT_LE(search->score.step_us, 1.02 * SumOfSquares(costs, *MinVariancePartition(costs, 6)));
}

TEST(SplitSearchTest, PutsWhatFitsBeforeWhatIsFast) {
  // The fastest split needs more than there is.
  const auto score = [](const Partition& p) -> absl::StatusOr<SplitScore> {
    return SplitScore{p[0].end == 4 ? uint64_t{0} : uint64_t{1}, static_cast<double>(p[0].end)};
  };
  const auto search = SearchSplit({*UniformPartition(8, 2)}, 1, 100, score);
  ASSERT_TRUE(search.ok()) << search.status();
  EXPECT_EQ(search->best[0].end, 4);
}

TEST(SplitSearchTest, KeepsTheFirstLayersTogether) {
  const auto score = [](const Partition& p) -> absl::StatusOr<SplitScore> {
    EXPECT_GE(p[0].end, 3);
    return SplitScore{0, static_cast<double>(p[0].end)};
  };
  const auto search = SearchSplit({{{0, 5}, {5, 8}}}, 3, 100, score);
  ASSERT_TRUE(search.ok()) << search.status();
  EXPECT_EQ(search->best[0].end, 3);
  EXPECT_EQ(search->trials, 5);
}

TEST(SplitSearchTest, EndsWithTheFirstError) {
  const auto score = [](const Partition&) -> absl::StatusOr<SplitScore> { return absl::InternalError("no"); };
  EXPECT_EQ(SearchSplit({*UniformPartition(8, 2)}, 1, 100, score).status().code(), absl::StatusCode::kInternal);
}

TEST(PartitionTest, ThousandsOfLayersAreCut) {
  std::mt19937 random(5);
  const std::vector<double> forward = RandomCosts(3000, 1000, &random);
  std::vector<double> backward = forward;
  for (double& cost : backward) cost *= 2;
  const auto min_variance = MinVariancePartition(forward, 300);
  ASSERT_TRUE(min_variance.ok()) << min_variance.status();
  ExpectCovers(*min_variance, 3000, 300);
  const auto makespan = MakespanPartition(forward, backward, 300);
  ASSERT_TRUE(makespan.ok()) << makespan.status();
  ExpectCovers(*makespan, 3000, 300);
  EXPECT_LE(Largest(forward, *makespan), Largest(forward, *min_variance));
}

}  // namespace
}  // namespace penstock
