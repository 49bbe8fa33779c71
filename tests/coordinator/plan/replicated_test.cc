// PipeDream's partitioner against every choice of cuts and replicas, on small random cases.
#include "coordinator/plan/replicated.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace penstock {
namespace {

using ::testing::HasSubstr;

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// Calls `visit` with every plan of the layers from `begin` on, on at most `devices`.
void ForEachPlan(int begin, int num_layers, int devices, int most_replicas, std::vector<ReplicatedStage>* plan,
                 const std::function<void(const std::vector<ReplicatedStage>&)>& visit) {
  if (begin == num_layers) return visit(*plan);
  for (int end = begin + 1; end <= num_layers; ++end) {
    for (int replicas = 1; replicas <= std::min(devices, most_replicas); ++replicas) {
      plan->push_back({{begin, end}, replicas});
      ForEachPlan(end, num_layers, devices - replicas, most_replicas, plan, visit);
      plan->pop_back();
    }
  }
}

// The time of a plan by its definition, infinite where a device's memory is too small.
double PlanUs(const std::vector<ReplicaLayer>& layers, const std::vector<ReplicatedStage>& plan,
              const ReplicaLimits& limits) {
  double slowest = 0;
  int behind = 0;
  for (size_t s = plan.size(); s-- > 0;) {
    const auto& [range, replicas] = plan[s];
    behind += replicas;
    if (!ReplicaFits(layers, range, replicas, behind, limits)) return kInfinity;
    slowest = std::max(slowest, ReplicatedStageUs(layers, range, replicas, limits));
    if (s + 1 < plan.size() && limits.bytes_per_us > 0) {
      const double bytes = 2.0 * static_cast<double>(layers[range.end - 1].output_bytes);
      slowest = std::max(slowest, bytes / limits.bytes_per_us / std::min(replicas, plan[s + 1].replicas));
    }
  }
  return slowest;
}

std::vector<ReplicaLayer> RandomLayers(int count, std::mt19937* random) {
  std::vector<ReplicaLayer> layers(count);
  for (ReplicaLayer& layer : layers) {
    layer.compute_us = static_cast<double>((*random)() % 100);
    layer.parameter_bytes = static_cast<int64_t>((*random)() % 500);
    layer.state_bytes = 4 * layer.parameter_bytes;
    layer.activation_bytes = static_cast<int64_t>((*random)() % 300);
    layer.output_bytes = static_cast<int64_t>((*random)() % 60);
  }
  return layers;
}

TEST(ReplicatedTest, IsTheBestOfAllCutsAndReplicas) {
  std::mt19937 random(1);
  int possible = 0, impossible = 0;
  for (int i = 0; i < 600; ++i) {
    const int count = 1 + static_cast<int>(random() % 5);
    const std::vector<ReplicaLayer> layers = RandomLayers(count, &random);
    ReplicaLimits limits;
    limits.devices = 1 + static_cast<int>(random() % 6);
    limits.micro_batches = 1 + static_cast<int>(random() % 8);
    limits.bytes_per_us = i % 3 == 0 ? 0 : 1 + static_cast<double>(random() % 8);
    limits.memory_bytes = i % 2 == 0 ? 0 : 1500 + static_cast<int64_t>(random() % 4000);
    double best = kInfinity;
    int fewest = 0;
    std::vector<ReplicatedStage> stages;
    ForEachPlan(0, count, limits.devices, std::min(limits.devices, limits.micro_batches), &stages,
                [&](const std::vector<ReplicatedStage>& candidate) {
                  int devices = 0;
                  for (const ReplicatedStage& stage : candidate) devices += stage.replicas;
                  const double time = PlanUs(layers, candidate, limits);
                  if (time > best || (time == best && devices >= fewest)) return;
                  best = time;
                  fewest = devices;
                });
    const auto plan = ReplicatedPartition(layers, limits);
    if (best == kInfinity) {
      ++impossible;
      ASSERT_EQ(plan.status().code(), absl::StatusCode::kResourceExhausted) << "case " << i;
      continue;
    }
    ++possible;
    ASSERT_TRUE(plan.ok()) << plan.status() << " case " << i;
    // Sums in another order may round differently.
    ASSERT_NEAR(plan->bottleneck_us, best, 1e-9 * best) << "case " << i;
    ASSERT_NEAR(PlanUs(layers, plan->stages, limits), best, 1e-9 * best) << "case " << i;
    ASSERT_LE(plan->devices(), limits.devices) << "case " << i;
    ASSERT_LE(plan->devices(), fewest) << "case " << i;
    int next = 0;
    for (const ReplicatedStage& stage : plan->stages) {
      ASSERT_EQ(stage.layers.begin, next);
      next = stage.layers.end;
    }
    ASSERT_EQ(next, count);
  }
  EXPECT_GT(possible, 300);
  EXPECT_GT(impossible, 20);
}

TEST(ReplicatedTest, ReplicatesTheLayerThatIsSlow) {
  // Convolutions compute, the dense layer behind them has the parameters: PipeDream's plan for VGG-16, "15-1".
  std::vector<ReplicaLayer> layers(4, {100, 10, 40, 0, 10});
  layers.push_back({20, 400000, 1600000, 0, 10});
  const auto plan = ReplicatedPartition(layers, {16, 64, 10, 0});
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(plan->stages, (std::vector<ReplicatedStage>{{{0, 4}, 15}, {{4, 5}, 1}}));
}

TEST(ReplicatedTest, OneLayerOnManyDevicesIsSharedByAllThatGetAMicroBatch) {
  const auto plan = ReplicatedPartition({{120, 0, 0, 0, 0}}, {8, 6, 0, 0});
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(plan->stages, (std::vector<ReplicatedStage>{{{0, 1}, 6}}));
  EXPECT_EQ(plan->bottleneck_us, 20);
}

std::string Error(const std::vector<ReplicaLayer>& layers, const ReplicaLimits& limits) {
  const auto plan = ReplicatedPartition(layers, limits);
  EXPECT_EQ(plan.status().code(), absl::StatusCode::kInvalidArgument) << plan.status();
  return std::string(plan.status().message());
}

TEST(ReplicatedTest, BadInputIsNamed) {
  EXPECT_THAT(Error({}, {}), HasSubstr("no layers"));
  EXPECT_THAT(Error({{}}, {0, 1, 0, 0}), HasSubstr("devices must be at least 1, not 0"));
  EXPECT_THAT(Error({{}}, {1, 0, 0, 0}), HasSubstr("micro_batches must be at least 1, not 0"));
  EXPECT_THAT(Error({{}, {std::nan(""), 0, 0, 0, 0}}, {}), HasSubstr("layer 1 takes nan us"));
  EXPECT_THAT(Error({{-1, 0, 0, 0, 0}}, {}), HasSubstr("layer 0 takes -1 us"));
  EXPECT_THAT(Error({{1, 0, 0, -5, 0}}, {}), HasSubstr("a size of -5 bytes"));
  EXPECT_THAT(Error({{}}, {1, 1, -1, 0}), HasSubstr("neither may be negative"));
}

}  // namespace
}  // namespace penstock
