// Action tables for tests: from words, from schedules, and at random. Pure.
#ifndef PENSTOCK_TESTS_COORDINATOR_PLAN_TABLE_BUILDER_H_
#define PENSTOCK_TESTS_COORDINATOR_PLAN_TABLE_BUILDER_H_

#include <random>
#include <string>
#include <vector>

#include "common/action.h"
#include "coordinator/plan/costs.h"
#include "coordinator/plan/placement.h"

namespace penstock {

// One list a rank, words separated by spaces.
ActionTable TableOf(const std::vector<std::string>& lists);

// A pipeline of the given stages, without communication cost.
PipelineCosts CostsOf(const std::vector<StageCost>& stages, int micro_batches);

// What a random pipeline may have.
struct RandomShape {
  int max_ranks = 4;
  int max_stages = 6;
  int max_micro_batches = 5;
};

// A pipeline with stages on any ranks, some backwards in two parts, some micro-batches recomputed, in an order in which
// the ranks can finish; with the costs of each stage and link, whole numbers all.
struct RandomPipeline {
  RandomPipeline(const RandomShape& shape, std::mt19937* random);

  Placement placement;
  int micro_batches = 0;
  ActionTable table;  // compute actions alone
  PipelineCosts costs;
};

}  // namespace penstock

#endif  // PENSTOCK_TESTS_COORDINATOR_PLAN_TABLE_BUILDER_H_
