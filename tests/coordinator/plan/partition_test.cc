// The exact partitioners against every partition there is, on small random cases; goldens are in golden_test.cc.
#include "coordinator/plan/partition.h"

#include <algorithm>
#include <functional>
#include <limits>
#include <random>
#include <vector>

#include "coordinator/plan/bottleneck.h"
#include "coordinator/plan/min_variance.h"
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
