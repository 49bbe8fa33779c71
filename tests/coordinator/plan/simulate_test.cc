// The simulator against closed forms, against a clock that ticks, and on small cases by hand; goldens are in
// golden_test.cc.
#include "coordinator/plan/simulate.h"

#include <algorithm>
#include <limits>
#include <map>
#include <random>
#include <string>
#include <tuple>
#include <vector>

#include "coordinator/plan/comms.h"
#include "coordinator/plan/critical_path.h"
#include "coordinator/plan/table.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/coordinator/plan/table_builder.h"

namespace penstock {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// All forwards, then all backwards.
ActionTable GPipe(int ranks, int micro_batches) {
  ActionTable table(ranks);
  for (int rank = 0; rank < ranks; ++rank) {
    for (const ActionKind kind : {ActionKind::kForward, ActionKind::kBackward}) {
      for (int m = 0; m < micro_batches; ++m) table[rank].push_back({rank, kind, m});
    }
  }
  return table;
}

Simulation Simulated(const ActionTable& table, const Placement& placement, int micro_batches,
                     const PipelineCosts& costs) {
  const auto simulation = Simulate(table, placement, micro_batches, costs, SimulationDetail::kActions);
  EXPECT_TRUE(simulation.ok()) << simulation.status();
  return simulation.ok() ? *simulation : Simulation();
}

TEST(SimulateTest, GPipeTakesWhatTheClosedFormSaysOnUnequalStages) {
  std::mt19937 random(1);
  for (int i = 0; i < 1000; ++i) {
    const int ranks = 1 + static_cast<int>(random() % 8), m = 1 + static_cast<int>(random() % 16);
    std::vector<StageCost> stages(ranks);
    double sum = 0, max_forward = 0, max_backward = 0;
    for (StageCost& stage : stages) {
      stage.forward_us = static_cast<double>(random() % 1000);
      stage.backward_us = static_cast<double>(random() % 1000);
      stage.activation_bytes = static_cast<int64_t>(random() % 1000);
      sum += stage.forward_us + stage.backward_us;
      max_forward = std::max(max_forward, stage.forward_us);
      max_backward = std::max(max_backward, stage.backward_us);
    }
    const Placement placement = OneStagePerRank(ranks);
    const auto whole = AddCommunication(GPipe(ranks, m), placement, m, PassKind::kTraining);
    ASSERT_TRUE(whole.ok()) << whole.status();
    const Simulation simulation = Simulated(*whole, placement, m, CostsOf(stages, m));
    ASSERT_EQ(simulation.makespan_us, sum + (m - 1) * (max_forward + max_backward)) << "case " << i;
    for (int s = 0; s < ranks; ++s) {
      EXPECT_EQ(simulation.busy_us[s], m * (stages[s].forward_us + stages[s].backward_us));
      EXPECT_EQ(simulation.peak_activation_bytes[s], m * stages[s].activation_bytes);
    }
  }
}

TEST(SimulateTest, BubbleOfEqualStagesIsThePublishedFraction) {
  for (int k = 1; k <= 8; ++k) {
    for (int m = 1; m <= 32; ++m) {
      const std::vector<StageCost> stages(k, {.forward_us = 1, .backward_us = 2});
      const Simulation simulation = Simulated(GPipe(k, m), OneStagePerRank(k), m, CostsOf(stages, m));
      EXPECT_NEAR(simulation.bubbles.gpipe, (k - 1.0) / (m + k - 1), 1e-12);
      EXPECT_NEAR(simulation.bubbles.megatron, (k - 1.0) / m, 1e-12);
    }
  }
}

// A clock that ticks: at each tick every rank that is free starts its next action if its input is there. Knows nothing
// of the order in which the simulator walks.
struct Ticked {
  std::map<std::tuple<int, int, int>, std::pair<double, double>> times;  // by stage, kind, micro-batch
  double makespan = 0;
};

Ticked Tick(const RandomPipeline& pipeline) {
  const int stages = pipeline.placement.num_stages(), ranks = static_cast<int>(pipeline.table.size());
  Ticked ticked;
  std::vector<size_t> at(ranks, 0);
  std::vector<double> free(ranks, 0);
  std::map<std::tuple<int, bool, int>, double> arrival;  // by stage that takes it, forward, micro-batch
  std::map<std::pair<int, int>, double> wire;
  size_t left = 0;
  for (const ActionList& list : pipeline.table) left += list.size();
  for (double now = 0; left > 0 && now < 1e6; ++now) {
    for (bool moved = true; moved;) {
      moved = false;
      for (int rank = 0; rank < ranks; ++rank) {
        if (at[rank] == pipeline.table[rank].size() || free[rank] > now) continue;
        const auto [s, kind, m, fused] = pipeline.table[rank][at[rank]];
        const bool forward = kind == ActionKind::kForward;
        const bool backward = kind == ActionKind::kBackward || kind == ActionKind::kInputGradient;
        const bool needs = (forward && s > 0) || (backward && s + 1 < stages);
        if (needs) {
          const auto found = arrival.find({s, forward, m});
          if (found == arrival.end() || found->second > now) continue;
        }
        const StageCost& cost = pipeline.costs.Of(s, m);
        double duration = cost.backward_us;
        if (forward) duration = cost.forward_us;
        if (kind == ActionKind::kInputGradient) duration = cost.backward_us - cost.weight_gradient_us;
        if (kind == ActionKind::kWeightGradient) duration = cost.weight_gradient_us;
        if (kind == ActionKind::kRecompute) duration = cost.recompute_us;
        const double end = now + duration;
        ticked.times[{s, static_cast<int>(kind), m}] = {now, end};
        ticked.makespan = std::max(ticked.makespan, end);
        free[rank] = end;
        ++at[rank];
        --left;
        moved = true;
        const int taker = forward ? s + 1 : s - 1;
        if ((!forward && !backward) || taker < 0 || taker >= stages) continue;
        const int other = pipeline.placement.rank_of_stage[taker];
        const int boundary = std::min(s, taker);
        const Link& link = pipeline.costs.links[boundary];
        double there = end;
        if (other != rank) {
          double& busy_until = wire[{rank, other}];
          busy_until = std::max(busy_until, end);
          if (link.bytes_per_us > 0) busy_until += pipeline.costs.Of(boundary, m).output_bytes / link.bytes_per_us;
          there = busy_until + link.latency_us;
        }
        arrival[{taker, forward, m}] = there;
      }
    }
  }
  EXPECT_EQ(left, 0u);
  return ticked;
}

TEST(SimulateTest, EveryActionRunsWhenATickingClockRunsIt) {
  std::mt19937 random(4);
  for (int i = 0; i < 2000; ++i) {
    const RandomPipeline pipeline(RandomShape(), &random);
    const Ticked ticked = Tick(pipeline);
    for (const bool with_communication : {false, true}) {
      ActionTable table = pipeline.table;
      if (with_communication) {
        const auto whole = AddCommunication(table, pipeline.placement, pipeline.micro_batches, PassKind::kTraining);
        ASSERT_TRUE(whole.ok()) << whole.status();
        table = *whole;
      }
      const Simulation simulation = Simulated(table, pipeline.placement, pipeline.micro_batches, pipeline.costs);
      ASSERT_EQ(simulation.makespan_us, ticked.makespan) << TableText(table);
      size_t count = 0;
      for (const auto& list : simulation.actions) {
        for (const TimedAction& timed : list) {
          const auto [s, kind, m, fused] = timed.action;
          const auto [start, end] = ticked.times.at({s, static_cast<int>(kind), m});
          ASSERT_EQ(timed.start_us, start) << ToText(timed.action) << "\n" << TableText(table);
          ASSERT_EQ(timed.end_us, end) << ToText(timed.action);
          ++count;
        }
      }
      EXPECT_EQ(count, ticked.times.size());
    }
  }
}

TEST(SimulateTest, TheCriticalPathIsAsLongAsTheStepAndHasNoGaps) {
  std::mt19937 random(5);
  for (int i = 0; i < 2000; ++i) {
    const RandomPipeline pipeline(RandomShape(), &random);
    const Simulation simulation = Simulated(pipeline.table, pipeline.placement, pipeline.micro_batches, pipeline.costs);
    const CriticalPath path = FindCriticalPath(simulation);
    ASSERT_EQ(path.compute_us + path.transfer_us + path.queue_us, simulation.makespan_us) << TableText(pipeline.table);
    double now = 0;
    for (const CriticalPath::Step& step : path.steps) {
      const TimedAction& timed = simulation.actions[step.rank][step.index];
      ASSERT_EQ(timed.start_us, now + step.before_us);
      now = timed.end_us;
    }
    ASSERT_EQ(now, simulation.makespan_us);
  }
}

TEST(SimulateTest, AnUnevenTailTakesItsOwnTime) {
  PipelineCosts costs =
      CostsOf(std::vector<StageCost>(2, {.forward_us = 4, .backward_us = 8, .activation_bytes = 100}), 1);
  costs.smaller = std::vector<StageCost>(2, {.forward_us = 3, .backward_us = 6, .activation_bytes = 75});
  const Simulation simulation = Simulated(GPipe(2, 2), OneStagePerRank(2), 2, costs);
  // Stage 1 runs forward until 4 + 4 + 3 = 11 and its first backward until 19; from then stage 0 has work, 8 + 6.
  EXPECT_EQ(simulation.makespan_us, 19 + 8 + 6);
  EXPECT_EQ(simulation.peak_activation_bytes[0], 175);
}

TEST(SimulateTest, ALinkDelaysAndCarriesOneTensorAfterTheOther) {
  PipelineCosts costs =
      CostsOf({{.forward_us = 1, .backward_us = 1, .output_bytes = 1000}, {.forward_us = 1, .backward_us = 1}}, 3);
  costs.links[0] = {5, 100};  // 5 us, and 10 us for 1000 bytes
  const Simulation simulation = Simulated(GPipe(2, 3), OneStagePerRank(2), 3, costs);
  // The first activation leaves at 1, is on the link until 11, arrives at 16; the others follow every 10: the third
  // is there at 36. Backward: 37 to 40, on the link until 48, 58, 68, there at 73, done at 74.
  EXPECT_EQ(simulation.makespan_us, 74);
  const CriticalPath path = FindCriticalPath(simulation);
  EXPECT_EQ(path.queue_us + path.transfer_us + path.compute_us, 74);
  EXPECT_EQ(path.transfer_us, 30);  // 15 each way
}

TEST(SimulateTest, StagesBetweenTheSameRanksShareTheirLink) {
  // Stages 0 and 2 on rank 0, 1 and 3 on rank 1. Two tensors leave rank 0 for rank 1 at the times 1 and 2.
  const Placement placement{{0, 1, 0, 1}};
  PipelineCosts costs = CostsOf(std::vector<StageCost>(4, {.forward_us = 1, .backward_us = 1, .output_bytes = 100}), 2);
  for (Link& link : costs.links) link.bytes_per_us = 100;
  costs.links[0].bytes_per_us = 10;  // the first crossing takes 10 us a tensor
  const ActionTable table = TableOf({"0F0 2F0 0F1 2F1", "1F0 3F0 1F1 3F1"});
  // 0F0 ends at 1; stage 1 has it at 11, runs to 12; stage 2 has that at 13 and ends at 14. Then 0F1 ends at 15. The
  // result of 2F0 is on the wire from 14 to 15, that of 0F1 from 15 to 25.
  const Simulation simulation = Simulated(table, placement, 2, costs);
  EXPECT_EQ(simulation.actions[1][1].start_us, 15);
  EXPECT_EQ(simulation.actions[1][2].start_us, 25);
}

TEST(SimulateTest, NothingTravelsAtTheTurnOfAV) {
  const Placement placement{{0, 1, 1, 0}};
  PipelineCosts costs = CostsOf(std::vector<StageCost>(4, {.forward_us = 1, .backward_us = 1, .output_bytes = 100}), 1);
  for (Link& link : costs.links) link = {7, 100};
  const Simulation simulation = Simulated(TableOf({"0F0 3F0 3B0 0B0", "1F0 2F0 2B0 1B0"}), placement, 1, costs);
  // 0F0 1, 8 to stage 1, 1F0 and 2F0 to 11, 8 to stage 3, 3F0 and 3B0 to 21; back the same way.
  EXPECT_EQ(simulation.actions[1][1].start_us, simulation.actions[1][0].end_us);
  EXPECT_EQ(simulation.makespan_us, 21 + 8 + 2 + 8 + 1);
  EXPECT_EQ(simulation.span_us, simulation.makespan_us);
  const CriticalPath path = FindCriticalPath(simulation);
  EXPECT_EQ(path.compute_us, 8);
  EXPECT_EQ(path.transfer_us, 32);
  EXPECT_EQ(path.queue_us, 0);
}

TEST(SimulateTest, AGradientLeavesBeforeTheWeightGradientRuns) {
  const std::vector<StageCost> stages(2, {.forward_us = 1, .backward_us = 3, .weight_gradient_us = 2});
  const Simulation split =
      Simulated(TableOf({"0F0 0I0 0W0", "1F0 1I0 1W0"}), OneStagePerRank(2), 1, CostsOf(stages, 1));
  EXPECT_EQ(split.makespan_us, 2 + 1 + 1 + 2);
  const Simulation whole = Simulated(TableOf({"0F0 0B0", "1F0 1B0"}), OneStagePerRank(2), 1, CostsOf(stages, 1));
  EXPECT_EQ(whole.makespan_us, 2 + 3 + 3);
}

TEST(SimulateTest, ARecomputationRunsWhileTheGradientIsOnItsWay) {
  PipelineCosts costs = CostsOf(
      std::vector<StageCost>(
          2, {.forward_us = 2, .backward_us = 4, .recompute_us = 2, .activation_bytes = 100, .boundary_bytes = 10}),
      2);
  const Placement placement = OneStagePerRank(2);
  const auto whole =
      AddCommunication(TableOf({"0F0 0F1 0R0 0B0 0B1", "1F0 1B0 1F1 1B1"}), placement, 2, PassKind::kTraining);
  ASSERT_TRUE(whole.ok()) << whole.status();
  EXPECT_THAT(ListText((*whole)[0]), HasSubstr("0R0 0RECV_B0 0B0"));
  const Simulation simulation = Simulated(*whole, placement, 2, costs);
  EXPECT_EQ(simulation.actions[0][2].start_us, 4);  // right behind 0F1
  EXPECT_EQ(simulation.actions[0][3].start_us, 8);  // 1B0 is done
  // One boundary and one whole; then two whole.
  std::vector<int64_t> kept;
  for (const TimedAction& timed : simulation.actions[0]) kept.push_back(timed.kept_bytes);
  EXPECT_THAT(kept, ElementsAre(10, 110, 200, 100, 0));
  EXPECT_EQ(simulation.rank_peak_activation_bytes[0], 200);
}

TEST(SimulateTest, AWeightGradientOutOfTurnHoldsItsFactors) {
  const PipelineCosts costs = CostsOf(
      {{.forward_us = 1, .backward_us = 2, .weight_gradient_us = 1, .activation_bytes = 10, .deferred_bytes = 4}}, 3);
  const auto kept = [&](const char* list) {
    std::vector<int64_t> bytes;
    const Simulation simulation = Simulated(TableOf({list}), OneStagePerRank(1), 3, costs);
    for (const TimedAction& timed : simulation.actions[0]) bytes.push_back(timed.kept_bytes);
    return bytes;
  };
  EXPECT_THAT(kept("0F0 0F1 0F2 0I0 0I1 0I2 0W0 0W1 0W2"), ElementsAre(10, 20, 30, 24, 18, 12, 8, 4, 0));
  EXPECT_THAT(kept("0F0 0F1 0F2 0I0 0I1 0I2 0W2 0W1 0W0"), ElementsAre(10, 20, 30, 24, 18, 12, 12, 12, 0));
  EXPECT_THAT(kept("0F0 0F1 0F2 0B2 0B1 0B0"), ElementsAre(10, 20, 30, 24, 18, 0));
}

TEST(SimulateTest, WhatAnActionWorksWithCountsWhileItRuns) {
  const PipelineCosts costs = CostsOf({{.forward_us = 1,
                                        .backward_us = 2,
                                        .weight_gradient_us = 1,
                                        .activation_bytes = 10,
                                        .deferred_bytes = 4,
                                        .working_bytes = 5}},
                                      1);
  const Simulation simulation = Simulated(TableOf({"0F0 0I0 0W0"}), OneStagePerRank(1), 1, costs);
  EXPECT_EQ(simulation.rank_peak_activation_bytes[0], 15);
  EXPECT_EQ(simulation.actions[0][0].kept_bytes, 10);
}

TEST(SimulateTest, TimesThatAreNoneAreErrorsThatNameThem) {
  const StageCost good{.forward_us = 1, .backward_us = 2, .weight_gradient_us = 1};
  const auto error = [&](StageCost bad) {
    const auto simulation = Simulate(GPipe(2, 1), OneStagePerRank(2), 1, CostsOf({good, bad}, 1));
    EXPECT_EQ(simulation.status().code(), absl::StatusCode::kInvalidArgument);
    return std::string(simulation.status().message());
  };
  StageCost bad = good;
  bad.forward_us = std::numeric_limits<double>::quiet_NaN();
  EXPECT_THAT(error(bad), HasSubstr("stage 1's forward takes nan us"));
  bad = good;
  bad.backward_us = std::numeric_limits<double>::infinity();
  EXPECT_THAT(error(bad), HasSubstr("stage 1's backward takes inf us"));
  bad = good;
  bad.recompute_us = -1;
  EXPECT_THAT(error(bad), HasSubstr("stage 1's recomputation takes -1 us"));
  bad = good;
  bad.weight_gradient_us = 3;
  EXPECT_THAT(error(bad), HasSubstr("longer than the backward"));
  bad = good;
  bad.deferred_bytes = -5;
  EXPECT_THAT(error(bad), HasSubstr("stage 1 keeps for its weight gradient -5 bytes"));
  EXPECT_THAT(std::string(Simulate(GPipe(3, 1), OneStagePerRank(3), 1, CostsOf({good, good}, 1)).status().message()),
              HasSubstr("2 stage costs for 3 stages"));
}

TEST(SimulateTest, WhatCannotFinishIsAnErrorWithTheTable) {
  const std::vector<StageCost> stages(2, {.forward_us = 1, .backward_us = 1});
  const auto simulation = Simulate(TableOf({"0F0 0B0", "1B0 1F0"}), OneStagePerRank(2), 1, CostsOf(stages, 1));
  EXPECT_EQ(simulation.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(simulation.status().message()), HasSubstr("rank 1: >>1B0<< 1F0"));
}

}  // namespace
}  // namespace penstock
