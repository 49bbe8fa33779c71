// What MakeSchedule takes and refuses, placements, readiness, and recomputation of whole schedules.
#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "common/schedule_kind.h"
#include "coordinator/plan/comms.h"
#include "coordinator/plan/placement.h"
#include "coordinator/plan/recompute.h"
#include "coordinator/plan/schedule.h"
#include "coordinator/plan/simulate.h"
#include "coordinator/plan/table.h"
#include "coordinator/plan/validate.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace penstock {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

ScheduleRequest Request(absl::string_view name, int ranks, int chunks, int micro_batches) {
  ScheduleRequest request;
  request.name = std::string(name);
  request.ranks = ranks;
  request.chunks = chunks;
  request.micro_batches = micro_batches;
  return request;
}

PipelineCosts EqualCosts(int stages, int micro_batches, const StageCost& stage) {
  PipelineCosts costs;
  costs.larger.assign(stages, stage);
  costs.num_larger = micro_batches;
  costs.links.resize(stages > 0 ? stages - 1 : 0);
  return costs;
}

std::string ErrorOf(const ScheduleRequest& request) {
  const auto schedule = MakeSchedule(request);
  EXPECT_EQ(schedule.status().code(), absl::StatusCode::kInvalidArgument) << request.name;
  return std::string(schedule.status().message());
}

TEST(PlacementTest, GoesRoundTheRanksOrDownAndUp) {
  EXPECT_THAT(OneStagePerRank(3).rank_of_stage, ElementsAre(0, 1, 2));
  EXPECT_THAT(MakePlacement(PlacementKind::kRoundRobin, 2, 3).rank_of_stage, ElementsAre(0, 1, 0, 1, 0, 1));
  EXPECT_THAT(MakePlacement(PlacementKind::kVee, 3, 2).rank_of_stage, ElementsAre(0, 1, 2, 2, 1, 0));
  EXPECT_THAT(MakePlacement(PlacementKind::kVee, 1, 2).rank_of_stage, ElementsAre(0, 0));
}

TEST(PlacementTest, FollowsFromATable) {
  EXPECT_THAT(PlacementOfTable({*ListFromText("0F0 3F0"), *ListFromText("1F0 2F0")})->rank_of_stage,
              ElementsAre(0, 1, 1, 0));
  const auto error = [](const ActionTable& table) { return std::string(PlacementOfTable(table).status().message()); };
  EXPECT_THAT(error({*ListFromText("0F0"), *ListFromText("1F0 0B0")}),
              HasSubstr("0B0: stage 0 is on rank 0; every stage is on one rank"));
  EXPECT_THAT(error({*ListFromText("0F0"), {}}), HasSubstr("rank 1 has no action"));
  EXPECT_THAT(error({*ListFromText("0F0 0B0 2F0")}), HasSubstr("stage 1 has no action, but stage 2 has"));
  EXPECT_THAT(error({*ListFromText("900000000F0")}), HasSubstr("stages are numbered from 0 without gaps"));
  EXPECT_THAT(error({}), HasSubstr("no ranks"));
  TablePlace place;
  EXPECT_FALSE(PlacementOfTable({*ListFromText("0F0"), *ListFromText("1F0 0B0")}, &place).ok());
  EXPECT_EQ(place.rank, 1);
  EXPECT_EQ(place.position, 1u);
}

TEST(MakeScheduleTest, RanksMayHaveOtherNumbers) {
  ScheduleRequest request = Request("zb-v", 3, 2, 5);
  const Schedule own = *MakeSchedule(request);
  request.placement = Placement{{2, 0, 1, 1, 0, 2}};
  const Schedule renumbered = *MakeSchedule(request);
  EXPECT_EQ(renumbered.placement, *request.placement);
  EXPECT_EQ(renumbered.table[2], own.table[0]);
  EXPECT_EQ(renumbered.table[0], own.table[1]);
  EXPECT_EQ(renumbered.table[1], own.table[2]);
  EXPECT_TRUE(ValidateComputeActions(renumbered.table, renumbered.placement, 5, PassKind::kTraining).ok());
}

TEST(MakeScheduleTest, APlacementOfAnotherShapeIsRefused) {
  ScheduleRequest request = Request("zb-v", 2, 2, 5);
  request.placement = Placement{{0, 1, 0, 1}};
  EXPECT_THAT(ErrorOf(request), HasSubstr("stage 2 is on rank 0, but zb-v runs it on rank 1, beside stage 1"));
  request.placement = Placement{{1, 1, 0, 0}};
  EXPECT_THAT(ErrorOf(request), HasSubstr("stage 1 is on rank 1, but zb-v runs it on a rank without stage 0"));
  request.placement = Placement{{0, 1, 2, 3}};
  EXPECT_THAT(ErrorOf(request), HasSubstr("4 stages on 4 ranks, but zb-v here has 4 on 2"));
}

TEST(MakeScheduleTest, SearchedSchedulesNeedSoundTimes) {
  ScheduleRequest request = Request("zb-2p", 2, 1, 4);
  EXPECT_THAT(ErrorOf(request), HasSubstr("schedule zb-2p is made from the stages' times"));
  PipelineCosts costs = EqualCosts(3, 4, {.forward_us = 1, .backward_us = 2, .weight_gradient_us = 1});
  request.costs = &costs;
  EXPECT_THAT(ErrorOf(request), HasSubstr("3 stage costs for 2 stages"));
  costs = EqualCosts(2, 4, {.forward_us = std::nan(""), .backward_us = 2, .weight_gradient_us = 1});
  EXPECT_THAT(ErrorOf(request), HasSubstr("stage 0"));
}

TEST(MakeScheduleTest, SearchedSchedulesKeepToAGivenLimit) {
  const StageCost stage{
      .forward_us = 2, .backward_us = 4, .weight_gradient_us = 2, .activation_bytes = 100, .deferred_bytes = 60};
  const PipelineCosts costs = EqualCosts(4, 12, stage);
  ScheduleRequest request = Request("zb-2p", 4, 1, 12);
  request.costs = &costs;
  double previous = std::numeric_limits<double>::infinity();
  for (const int64_t limit : {100, 200, 300, 400, 500, 700, 100000}) {
    request.activation_limit_bytes.assign(4, limit);
    const auto schedule = MakeSchedule(request);
    ASSERT_TRUE(schedule.ok()) << schedule.status();
    const Simulation simulation = *Simulate(schedule->table, schedule->placement, 12, costs);
    for (const int64_t bytes : simulation.rank_peak_activation_bytes) EXPECT_LE(bytes, std::min<int64_t>(limit, 800));
    EXPECT_LE(simulation.span_us, previous) << limit;
    previous = simulation.span_us;
  }
  request.activation_limit_bytes.assign(4, 99);
  EXPECT_THAT(ErrorOf(request), HasSubstr("rank 0 may keep 99 bytes of activations, but one micro-batch takes 100"));
  request.activation_limit_bytes.assign(3, 800);
  EXPECT_THAT(ErrorOf(request), HasSubstr("3 limits of activation memory for 4 ranks"));
}

TEST(ReadyTest, IsGPipeWhereMicroBatchesComeInOrder) {
  for (int p = 1; p <= 5; ++p) {
    for (int m = 1; m <= 9; ++m) {
      const PipelineCosts costs =
          EqualCosts(p, m, {.forward_us = 1, .backward_us = 2, .weight_gradient_us = 1, .output_bytes = 8});
      ScheduleRequest request = Request("ready", p, 1, m);
      request.costs = &costs;
      EXPECT_EQ(MakeSchedule(request)->table, MakeSchedule(Request("gpipe", p, 1, m))->table) << p << " " << m;
    }
  }
}

// Two stages a rank: while micro-batches go round, a rank runs whichever stage has one. By hand, p = 2, m = 3, F = 1:
// rank 0 runs stage 0 at 0, 1, 2; from 2 on it has what stage 1 made of micro-batch 0, which came at 2 as well.
TEST(ReadyTest, RunsWhateverStageHasAnInput) {
  const PipelineCosts costs = EqualCosts(4, 3, {.forward_us = 1, .backward_us = 2, .weight_gradient_us = 1});
  ScheduleRequest request = Request("ready", 2, 2, 3);
  request.costs = &costs;
  const Schedule schedule = *MakeSchedule(request);
  EXPECT_EQ(ListText(schedule.table[0]), "0F0 0F1 0F2 2F0 2F1 2F2 2B0 2B1 2B2 0B0 0B1 0B2");
  EXPECT_EQ(ListText(schedule.table[1]), "1F0 1F1 1F2 3F0 3F1 3F2 3B0 3B1 3B2 1B0 1B1 1B2");
}

TEST(ReadyTest, NoBackwardStartsBeforeAllHaveReachedTheLastStage) {
  PipelineCosts costs = EqualCosts(6, 4, {.forward_us = 3, .backward_us = 5, .weight_gradient_us = 2});
  costs.larger[2].forward_us = 20;
  ScheduleRequest request = Request("ready", 3, 2, 4);
  request.costs = &costs;
  const Schedule schedule = *MakeSchedule(request);
  for (const ActionList& list : schedule.table) {
    bool backward = false;
    for (const Action& action : list) {
      EXPECT_FALSE(backward && action.kind == ActionKind::kForward);
      backward = backward || action.kind == ActionKind::kBackward;
    }
  }
}

TEST(RecomputeTest, EveryScheduleStaysValidAndCanBeTakenBack) {
  for (const ScheduleKind& kind : ScheduleKinds()) {
    const int v = kind.min_chunks;
    const PipelineCosts costs = EqualCosts(4 * v, 8, {.forward_us = 1, .backward_us = 2, .weight_gradient_us = 1});
    ScheduleRequest request = Request(kind.name, 4, v, 8);
    request.costs = &costs;
    const Schedule schedule = *MakeSchedule(request);
    for (const auto policy : {v1::Pipeline::RECOMPUTE_BOUNDARY, v1::Pipeline::RECOMPUTE_EXCEPT_LAST}) {
      const ActionTable table = AddRecompute(schedule.table, policy);
      const auto whole = AddCommunication(table, schedule.placement, 8, PassKind::kTraining);
      ASSERT_TRUE(whole.ok()) << kind.name << ": " << whole.status();
      EXPECT_TRUE(ValidateTable(*whole, schedule.placement, 8, PassKind::kTraining).ok()) << kind.name;
      EXPECT_EQ(WithoutRecompute(table), schedule.table) << kind.name;
      int recomputes = 0;
      for (const ActionList& list : table) {
        for (const Action& action : list) recomputes += action.kind == ActionKind::kRecompute ? 1 : 0;
      }
      if (policy == v1::Pipeline::RECOMPUTE_BOUNDARY) {
        EXPECT_EQ(recomputes, 4 * v * 8) << kind.name;
      } else {
        EXPECT_LE(recomputes, 4 * v * 7) << kind.name;
      }
    }
    EXPECT_EQ(AddRecompute(schedule.table, v1::Pipeline::RECOMPUTE_NONE), schedule.table);
    EXPECT_EQ(AddRecompute(schedule.table, v1::Pipeline::RECOMPUTE_LAYERS), schedule.table);
  }
}

// m boundary inputs and one micro-batch's activations: what GPipe's re-materialization keeps.
TEST(RecomputeTest, GPipeThenKeepsItsInputsAndOneMicroBatch) {
  const PipelineCosts costs = EqualCosts(3, 6,
                                         {.forward_us = 1,
                                          .backward_us = 2,
                                          .weight_gradient_us = 1,
                                          .recompute_us = 1,
                                          .activation_bytes = 100,
                                          .boundary_bytes = 7});
  const Schedule schedule = *MakeSchedule(Request("gpipe", 3, 1, 6));
  const ActionTable table = AddRecompute(schedule.table, v1::Pipeline::RECOMPUTE_BOUNDARY);
  const Simulation simulation = *Simulate(table, schedule.placement, 6, costs);
  for (const int64_t bytes : simulation.rank_peak_activation_bytes) {
    EXPECT_GE(bytes, 5 * 7 + 100);
    EXPECT_LE(bytes, 6 * 7 + 100);
  }
}

}  // namespace
}  // namespace penstock
