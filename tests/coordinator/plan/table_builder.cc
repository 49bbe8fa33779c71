#include "tests/coordinator/plan/table_builder.h"

#include <algorithm>

#include "absl/strings/str_split.h"
#include "gtest/gtest.h"

namespace penstock {
namespace {

// What a stage still has to do for a micro-batch, in this order.
std::vector<ActionKind> Chain(std::mt19937* random) {
  std::vector<ActionKind> chain = {ActionKind::kForward};
  if ((*random)() % 3 == 0) chain.push_back(ActionKind::kRecompute);
  if ((*random)() % 2 == 0) {
    chain.push_back(ActionKind::kBackward);
  } else {
    chain.insert(chain.end(), {ActionKind::kInputGradient, ActionKind::kWeightGradient});
  }
  return chain;
}

}  // namespace

ActionTable TableOf(const std::vector<std::string>& lists) {
  ActionTable table;
  for (const std::string& text : lists) {
    ActionList& list = table.emplace_back();
    for (const absl::string_view word : absl::StrSplit(text, ' ', absl::SkipEmpty())) {
      const absl::StatusOr<Action> action = ActionFromText(word);
      EXPECT_TRUE(action.ok()) << action.status();
      if (action.ok()) list.push_back(*action);
    }
  }
  return table;
}

PipelineCosts CostsOf(const std::vector<StageCost>& stages, int micro_batches) {
  PipelineCosts costs;
  costs.larger = stages;
  costs.num_larger = micro_batches;
  costs.links.resize(stages.size() - 1);
  return costs;
}

RandomPipeline::RandomPipeline(const RandomShape& shape, std::mt19937* random) {
  const auto below = [&](int bound) { return static_cast<int>((*random)() % bound); };
  const int ranks = 1 + below(shape.max_ranks);
  const int stages = std::max(ranks, 1 + below(shape.max_stages));
  micro_batches = 1 + below(shape.max_micro_batches);
  for (int s = 0; s < stages; ++s) placement.rank_of_stage.push_back(s < ranks ? s : below(ranks));
  std::shuffle(placement.rank_of_stage.begin(), placement.rank_of_stage.end(), *random);
  std::vector<StageCost> costs_of_stages(stages);
  for (StageCost& cost : costs_of_stages) {
    cost.forward_us = below(20);
    cost.weight_gradient_us = below(20);
    cost.backward_us = cost.weight_gradient_us + below(20);
    cost.recompute_us = below(20);
    cost.activation_bytes = below(1000);
    cost.deferred_bytes = below(1000);
    cost.boundary_bytes = below(1000);
    cost.working_bytes = below(1000);
    cost.output_bytes = 64 * below(4);
  }
  costs = CostsOf(costs_of_stages, micro_batches);
  for (Link& link : costs.links) link = {static_cast<double>(below(5)), below(2) == 0 ? 0.0 : 16.0};
  // Takes an action that could run, again and again: what comes out can finish.
  std::vector<std::vector<std::vector<ActionKind>>> left(stages);
  std::vector<std::vector<bool>> forward(stages, std::vector<bool>(micro_batches)), backward = forward;
  for (auto& of_stage : left) {
    for (int m = 0; m < micro_batches; ++m) of_stage.push_back(Chain(random));
  }
  table.resize(ranks);
  std::vector<Action> ready;
  do {
    ready.clear();
    for (int s = 0; s < stages; ++s) {
      for (int m = 0; m < micro_batches; ++m) {
        if (left[s][m].empty()) continue;
        const ActionKind kind = left[s][m].front();
        const bool is_backward = kind == ActionKind::kBackward || kind == ActionKind::kInputGradient;
        if (kind == ActionKind::kForward && s > 0 && !forward[s - 1][m]) continue;
        if (is_backward && s + 1 < stages && !backward[s + 1][m]) continue;
        ready.push_back({s, kind, m});
      }
    }
    if (ready.empty()) break;
    const Action taken = ready[below(static_cast<int>(ready.size()))];
    table[placement.rank_of_stage[taken.stage]].push_back(taken);
    left[taken.stage][taken.micro_batch].erase(left[taken.stage][taken.micro_batch].begin());
    if (taken.kind == ActionKind::kForward) forward[taken.stage][taken.micro_batch] = true;
    if (taken.kind == ActionKind::kBackward || taken.kind == ActionKind::kInputGradient) {
      backward[taken.stage][taken.micro_batch] = true;
    }
  } while (true);
}

}  // namespace penstock
