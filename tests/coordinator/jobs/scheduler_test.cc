#include "coordinator/jobs/scheduler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <random>
#include <string>
#include <vector>

namespace penstock {
namespace {

using Ids = std::vector<std::string>;

std::vector<WorkerOffer> Idle(int count) {
  std::vector<WorkerOffer> workers;
  for (int i = 0; i < count; ++i) workers.push_back({"w" + std::to_string(i), true, false, "same"});
  return workers;
}

TEST(SchedulerTest, GivesWorkersInOrderToTheOldestJobs) {
  const auto placed = PlaceJobs({{"a", 2}, {"b", 1}, {"c", 1}}, Idle(3));
  EXPECT_EQ(placed[0].workers, (Ids{"w0", "w1"}));
  EXPECT_EQ(placed[1].workers, (Ids{"w2"}));
  EXPECT_TRUE(placed[2].workers.empty());
  EXPECT_EQ(placed[2].reason, "waits for 1 idle worker; 0 of 3 are idle");
}

TEST(SchedulerTest, ASmallJobDoesNotOvertakeALargeOneThatWaitsForBusyWorkers) {
  auto workers = Idle(3);
  workers[0].idle = false;
  const auto placed = PlaceJobs({{"large", 3}, {"small", 1}}, workers);
  EXPECT_EQ(placed[0].reason, "waits for 3 idle workers; 2 of 3 are idle");
  EXPECT_TRUE(placed[1].workers.empty());
  EXPECT_EQ(placed[1].reason, "waits behind job large");
}

TEST(SchedulerTest, NamesTheJobsThatHoldTheWorkers) {
  auto workers = Idle(3);
  workers[0] = {.id = "w0", .arithmetic = "same", .job = "first-1"};
  EXPECT_EQ(PlaceJobs({{"a", 3}}, workers)[0].reason,
            "waits for 3 idle workers; 2 of 3 are idle; job first-1 holds the others");
  workers[2] = {.id = "w2", .arithmetic = "same", .job = "second-1"};
  EXPECT_EQ(PlaceJobs({{"a", 3}}, workers)[0].reason,
            "waits for 3 idle workers; 1 of 3 is idle; jobs first-1, second-1 hold the others");
}

TEST(SchedulerTest, AJobThatTheClusterCannotHoldHoldsBackNobody) {
  const auto placed = PlaceJobs({{"huge", 4}, {"small", 1}}, Idle(3));
  EXPECT_EQ(placed[0].reason,
            "needs 4 workers; the cluster has 3: waits until 1 more joins (fewer pipeline.stages need fewer)");
  EXPECT_EQ(placed[1].workers, (Ids{"w0"}));
}

TEST(SchedulerTest, WorkersOfAJobShareTheirArithmetic) {
  auto workers = Idle(4);
  workers[0].arithmetic = "other";
  const auto placed = PlaceJobs({{"a", 3}}, workers);
  EXPECT_EQ(placed[0].workers, (Ids{"w1", "w2", "w3"}));
  workers[1].arithmetic = "other";
  const auto refused = PlaceJobs({{"a", 3}}, workers);
  EXPECT_TRUE(refused[0].workers.empty());
  EXPECT_EQ(refused[0].reason,
            "needs 3 workers with the same numeric fingerprint; the cluster's 4 have 2 different ones");
}

TEST(SchedulerTest, WaitsForWorkersThatAreStillStarting) {
  auto workers = Idle(3);
  workers[2].idle = false;
  workers[2].coming = true;
  const auto placed = PlaceJobs({{"a", 3}}, workers);
  EXPECT_EQ(placed[0].reason, "waits for 3 idle workers; 2 of 3 are idle");
}

std::vector<WorkerOffer> WithMemory(const std::vector<uint64_t>& limits) {
  std::vector<WorkerOffer> workers = Idle(static_cast<int>(limits.size()));
  for (size_t i = 0; i < limits.size(); ++i) workers[i].memory_bytes = limits[i];
  return workers;
}

TEST(SchedulerTest, TakesWorkersThatAreLargeEnough) {
  // The first idle workers were taken, and where one of them was too small the job waited beside larger ones.
  EXPECT_EQ(PlaceJobs({{"a", 2, {10, 30}}}, WithMemory({20, 20, 40, 0}))[0].workers, (Ids{"w0", "w2"}));
  // In order where that fits.
  EXPECT_EQ(PlaceJobs({{"a", 2, {10, 30}}}, WithMemory({0, 30, 10}))[0].workers, (Ids{"w0", "w1"}));
}

TEST(SchedulerTest, OneThatWaitsForLargerWorkersHoldsBackNobody) {
  const auto placed = PlaceJobs({{"large", 1, {3 << 20}}, {"small", 1, {1}}}, WithMemory({1 << 20, 2 << 20}));
  EXPECT_EQ(placed[0].reason,
            "waits for a larger worker: rank 0 needs 3.0 MiB, and w1, the largest that is idle and left for it, has "
            "2.0 MiB");
  EXPECT_EQ(placed[1].workers, (Ids{"w0"}));
}

// Against every order of the workers.
TEST(SchedulerTest, FindsAPlacementWhereverThereIsOne) {
  std::mt19937 random(1);
  for (int round = 0; round < 2000; ++round) {
    std::vector<uint64_t> limits(1 + random() % 5), needs(1 + random() % limits.size());
    for (uint64_t& limit : limits) limit = random() % 5;  // 0: none
    for (uint64_t& need : needs) need = random() % 6;
    std::vector<size_t> order(limits.size());
    std::iota(order.begin(), order.end(), 0);
    bool possible = false;
    do {
      bool fits = true;
      for (size_t r = 0; r < needs.size(); ++r) fits &= limits[order[r]] == 0 || needs[r] <= limits[order[r]];
      possible |= fits;
    } while (std::next_permutation(order.begin(), order.end()));
    const auto placed = PlaceJobs({{"a", static_cast<int>(needs.size()), needs}}, WithMemory(limits))[0];
    EXPECT_EQ(!placed.workers.empty(), possible);
    const std::vector<uint64_t> matched = MatchLimits(needs, limits);
    bool fits = true;
    for (size_t r = 0; r < needs.size(); ++r) fits &= matched[r] == 0 || needs[r] <= matched[r];
    EXPECT_EQ(fits, possible);
  }
}

}  // namespace
}  // namespace penstock
