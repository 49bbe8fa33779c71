// Facts of a plan that its text and its JSON both print. Internal to render. Pure.
#ifndef PENSTOCK_COORDINATOR_PLAN_RENDER_FACTS_H_
#define PENSTOCK_COORDINATOR_PLAN_RENDER_FACTS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "coordinator/plan/planner.h"

namespace penstock {

// What a step is counted in: tokens for sequences, else samples.
struct Throughput {
  double per_step = 0;
  std::string unit;
};
Throughput ThroughputOf(const v1::JobSpec& spec);

// The names of a stage's layers.
std::vector<std::string> LayerNames(const v1::JobSpec& spec, const v1::Stage& stage);

// 0: none.
uint64_t LimitOf(const PlanRequest& request, size_t rank);
// "" where it is not known.
std::string WorkerOf(const std::vector<std::string>& workers, size_t rank);

// The stages of each rank, ascending.
std::vector<std::vector<int>> StagesByRank(const v1::Plan& plan);

// Rows of cells, each column as wide as its widest cell. right[c]: column c is aligned to the right.
std::string AlignColumns(const std::vector<std::vector<std::string>>& rows, const std::vector<bool>& right);

// "gpt: 12 layers, 1.7M parameters, fp32, adamw; 8 micro-batches of 4 x 64 tokens": what no schedule changes.
std::string JobLine(const v1::JobSpec& spec, const v1::Plan& plan);

}  // namespace penstock

#endif  // PENSTOCK_COORDINATOR_PLAN_RENDER_FACTS_H_
