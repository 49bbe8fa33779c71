// Schedules, communication and validator against each other on random cases; goldens are in golden_test.cc.
#include "coordinator/plan/schedule.h"

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "coordinator/plan/comms.h"
#include "coordinator/plan/simulate.h"
#include "coordinator/plan/table.h"
#include "coordinator/plan/validate.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace penstock {
namespace {

using ::testing::HasSubstr;

// The schedules of one stage a rank with whole backwards.
const std::vector<std::string> kSimple = {"gpipe", "1f1b"};

ActionTable Compute(const std::string& name, const Placement& placement, int micro_batches) {
  ScheduleRequest request;
  request.name = name;
  request.ranks = placement.num_ranks();
  request.micro_batches = micro_batches;
  request.placement = placement;
  const auto schedule = MakeSchedule(request);
  EXPECT_TRUE(schedule.ok()) << schedule.status();
  return schedule->table;
}

ActionTable Whole(const std::string& name, const Placement& placement, int micro_batches) {
  const auto table =
      AddCommunication(Compute(name, placement, micro_batches), placement, micro_batches, PassKind::kTraining);
  EXPECT_TRUE(table.ok()) << table.status();
  return *table;
}

// A pipeline of the given stages, without communication cost.
PipelineCosts Costs(const std::vector<StageCost>& stages, int micro_batches) {
  PipelineCosts costs;
  costs.larger = stages;
  costs.num_larger = micro_batches;
  costs.links.resize(stages.size() - 1);
  return costs;
}

TEST(ScheduleTest, StagesMayLieOnRanksInAnyOrder) {
  const Placement placement{{2, 0, 1}};
  for (const std::string& name : kSimple) {
    const ActionTable table = Whole(name, placement, 4);
    EXPECT_TRUE(ValidateTable(table, placement, 4, PassKind::kTraining).ok()) << name;
    EXPECT_EQ(table[2].front(), (Action{0, ActionKind::kForward, 0})) << name;
  }
}

TEST(ScheduleTest, OneForwardOneBackwardKeepsAtMostOneMicroBatchForEachStageBehind) {
  for (int ranks = 1; ranks <= 8; ++ranks) {
    for (int m = 1; m <= 20; ++m) {
      const Placement placement = OneStagePerRank(ranks);
      const auto simulation = Simulate(
          Whole("1f1b", placement, m), placement, m,
          Costs(std::vector<StageCost>(ranks, {.forward_us = 1, .backward_us = 2, .activation_bytes = 10}), m));
      ASSERT_TRUE(simulation.ok()) << simulation.status();
      for (int s = 0; s < ranks; ++s) {
        EXPECT_EQ(simulation->peak_micro_batches[s], std::min(m, ranks - s));
        EXPECT_EQ(simulation->peak_activation_bytes[s], 10 * std::min(m, ranks - s));
      }
    }
  }
}

TEST(ValidateTest, StagesOfOneRankHandOnWithoutSends) {
  // Ranks of a V: rank 0 has stages 0 and 3, rank 1 the stages 1 and 2 at the turn.
  const Placement placement{{0, 1, 1, 0}};
  ActionTable compute = {{{0, ActionKind::kForward, 0}, {3, ActionKind::kForward, 0}},
                         {{1, ActionKind::kForward, 0}, {2, ActionKind::kForward, 0}}};
  const auto table = AddCommunication(compute, placement, 1, PassKind::kForwardOnly);
  ASSERT_TRUE(table.ok()) << table.status();
  EXPECT_EQ(ListText((*table)[0]), "0F0 0SEND_F0 3RECV_F0 3F0");
  EXPECT_EQ(ListText((*table)[1]), "1RECV_F0 1F0 2F0 2SEND_F0");
  EXPECT_TRUE(ValidateTable(*table, placement, 1, PassKind::kForwardOnly).ok());
}

// A valid table with one action taken out, doubled, or changed is never valid.
TEST(ValidateTest, EveryCorruptionOfATableIsRejected) {
  const std::vector<std::string> kNames = {"gpipe", "1f1b", "zb-h1", "zb-h2"};
  std::mt19937 random(2);
  for (int i = 0; i < 2000; ++i) {
    const int ranks = 2 + static_cast<int>(random() % 4), m = 1 + static_cast<int>(random() % 6);
    const Placement placement = OneStagePerRank(ranks);
    ActionTable table = Whole(kNames[random() % kNames.size()], placement, m);
    ActionList& list = table[random() % table.size()];
    const size_t at = random() % list.size();
    const Action action = list[at];
    std::string expected;
    switch (random() % 5) {
      case 0:
        list.erase(list.begin() + at);
        expected = "missing";
        break;
      case 1:
        list.insert(list.begin() + random() % (list.size() + 1), action);
        expected = "stands twice";
        break;
      case 2:
        list[at].micro_batch += m;
        expected = "there is no micro-batch";
        break;
      case 3:
        list[at].stage = (list[at].stage + 1) % ranks;
        expected = "is on rank";
        break;
      default:
        list[at].stage = ranks;
        expected = "there is no stage";
    }
    const absl::Status status = ValidateTable(table, placement, m, PassKind::kTraining);
    ASSERT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << ToText(action) << "\n" << TableText(table);
    EXPECT_THAT(std::string(status.message()), HasSubstr("malformed schedule: rank ")) << ToText(action);
    EXPECT_THAT(std::string(status.message()), HasSubstr(expected)) << ToText(action);
    EXPECT_THAT(std::string(status.message()), HasSubstr("\n  rank 0: ")) << ToText(action);
  }
}

// Lists in random order: the validator accepts exactly those that a step-by-step run of all ranks can finish.
TEST(ValidateTest, AcceptsARandomOrderOnlyIfTheRanksCanRunIt) {
  std::mt19937 random(3);
  int accepted = 0;
  for (int i = 0; i < 3000; ++i) {
    const int ranks = 2 + static_cast<int>(random() % 2), m = 1 + static_cast<int>(random() % 3);
    const Placement placement = OneStagePerRank(ranks);
    ActionTable table = Whole(random() % 2 == 0 ? "1f1b" : "zb-h1", placement, m);
    // A few swaps leave some valid.
    for (size_t swaps = random() % 3 + 1; swaps > 0; --swaps) {
      ActionList& list = table[random() % table.size()];
      std::swap(list[random() % list.size()], list[random() % list.size()]);
    }
    // What has been run, and received, so far; one action at a time, from any rank that can go on.
    std::vector<size_t> at(ranks, 0);
    std::vector<Action> done;
    const auto has = [&](const Action& a) { return std::find(done.begin(), done.end(), a) != done.end(); };
    bool moved = true;
    while (moved) {
      moved = false;
      for (int r = 0; r < ranks; ++r) {
        if (at[r] == table[r].size()) continue;
        const auto [s, kind, mb, fused] = table[r][at[r]];
        const bool last = s == ranks - 1;
        const bool went_back = has({s, ActionKind::kBackward, mb}) || has({s, ActionKind::kInputGradient, mb});
        bool can = false;
        if (kind == ActionKind::kForward) can = s == 0 || has({s, ActionKind::kRecvForward, mb});
        if (kind == ActionKind::kBackward || kind == ActionKind::kInputGradient) {
          can = has({s, ActionKind::kForward, mb}) && (last || has({s, ActionKind::kRecvBackward, mb}));
        }
        if (kind == ActionKind::kWeightGradient) can = went_back;
        if (kind == ActionKind::kSendForward) can = has({s, ActionKind::kForward, mb});
        if (kind == ActionKind::kSendBackward) can = went_back;
        if (kind == ActionKind::kRecvForward) can = has({s - 1, ActionKind::kSendForward, mb});
        if (kind == ActionKind::kRecvBackward) can = has({s + 1, ActionKind::kSendBackward, mb});
        if (!can) continue;
        done.push_back(table[r][at[r]++]);
        moved = true;
      }
    }
    size_t total = 0;
    for (const ActionList& list : table) total += list.size();
    const bool can_run = done.size() == total;
    EXPECT_EQ(ValidateTable(table, placement, m, PassKind::kTraining).ok(), can_run) << TableText(table);
    accepted += can_run ? 1 : 0;
  }
  // The test says something only if both kinds occurred.
  EXPECT_GT(accepted, 100);
  EXPECT_LT(accepted, 2900);
}

TEST(TableTest, LongErrorsShowWhatLiesAroundThePlace) {
  const Placement placement = OneStagePerRank(40);
  ActionTable table = Whole("1f1b", placement, 200);
  ActionList& list = table[30];
  const auto at = std::find(list.begin(), list.end(), Action{30, ActionKind::kBackward, 150});
  ASSERT_NE(at, list.end());
  at->micro_batch = 999;
  const absl::Status status = ValidateTable(table, placement, 200, PassKind::kTraining);
  EXPECT_THAT(std::string(status.message()), HasSubstr(">>30B999<<"));
  EXPECT_THAT(std::string(status.message()), HasSubstr("ranks before)"));
  EXPECT_LT(status.message().size(), 8000u);
}

}  // namespace
}  // namespace penstock
