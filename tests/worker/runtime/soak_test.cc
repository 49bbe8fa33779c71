// What a long run leaves behind: resident memory stays flat over thousands of steps.
#include <gtest/gtest.h>

#include <cstdint>
#include <string>

#include "common/clock.h"
#include "common/process.h"
#include "tests/worker/runtime/rank_cluster.h"

namespace penstock {
namespace {

constexpr uint64_t kWarmUp = 2000, kSteps = 10'000;
// Less than 150 bytes a step and rank: anything that is kept for every step, or every tensor, shows.
constexpr int64_t kAllowedGrowth = int64_t{5} << 19;

TEST(SoakTest, ResidentMemoryStaysFlatOverTenThousandSteps) {
  KeepPages();
  SkipLockOrderSearch();
  RankCluster cluster({.ranks = 2, .micro_batches = 2, .batch = 4, .features = 1024, .schedule = "1f1b"},
                      Clock::Real());
  cluster.Load();
  for (const auto& reply : cluster.Run(RankCluster::Train(1, 1, kWarmUp))) ASSERT_TRUE(reply.ok()) << reply.status();
  const int64_t before = static_cast<int64_t>(ResidentBytes());
  for (const auto& reply : cluster.Run(RankCluster::Train(kWarmUp + 1, kWarmUp + 1, kWarmUp + kSteps))) {
    ASSERT_TRUE(reply.ok()) << reply.status();
    EXPECT_EQ(reply->completed_step(), kWarmUp + kSteps);
  }
  const int64_t growth = static_cast<int64_t>(ResidentBytes()) - before;
  RecordProperty("growth_bytes", std::to_string(growth));
  EXPECT_LE(growth, kAllowedGrowth);
  EXPECT_EQ(cluster.session(0).Counters().mailbox_bytes(), 0u);
  EXPECT_EQ(cluster.session(1).Counters().frames_received(), 2 * (kWarmUp + kSteps));
}

}  // namespace
}  // namespace penstock
