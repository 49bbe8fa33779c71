// What a simulation needs to know of a pipeline: what stages take and keep, and what lies between them. Pure.
// Source: docs/schedules.md, "Costs".
#ifndef PENSTOCK_COORDINATOR_PLAN_COSTS_H_
#define PENSTOCK_COORDINATOR_PLAN_COSTS_H_

#include <cstdint>
#include <vector>

#include "absl/status/status.h"

namespace penstock {

// One stage for one micro-batch.
struct StageCost {
  double forward_us = 0;
  double backward_us = 0;         // input gradient, then weight gradient
  double weight_gradient_us = 0;  // the part of backward_us that W takes
  double recompute_us = 0;        // R
  int64_t activation_bytes = 0;   // kept from its forward (or recompute) to its backward or input gradient
  int64_t deferred_bytes = 0;     // kept from its input gradient to its weight gradient
  int64_t boundary_bytes = 0;     // kept from its forward to its recompute
  int64_t working_bytes = 0;      // the most that its F, R, I or B holds beyond what is kept before and after
  int64_t output_bytes = 0;  // what goes to the next stage and, but for tokens, comes back as gradients; 0 for the last
};

// What lies between two stages on different ranks.
struct Link {
  double latency_us = 0;
  double bytes_per_us = 0;  // 0: the size costs nothing

  // One process to another on the same host.
  static Link Loopback();
};

// What a simulation needs to know of a pipeline.
struct PipelineCosts {
  std::vector<StageCost> larger;   // by stage: micro-batches [0, num_larger)
  std::vector<StageCost> smaller;  // by stage: the rest, an uneven tail; empty if there is none
  int num_larger = 0;
  std::vector<Link> links;  // links[s]: between stages s and s + 1, each way

  const StageCost& Of(int stage, int micro_batch) const {
    return micro_batch < num_larger ? larger[stage] : smaller[stage];
  }
};

// Whether a simulation can use them.
// Errors: InvalidArgument: costs for another number of stages or links; a time or a size that is negative or not a
//         number, named with its stage; a weight gradient that takes longer than the backward it is a part of.
absl::Status CheckCosts(const PipelineCosts& costs, int num_stages, int micro_batches);

}  // namespace penstock

#endif  // PENSTOCK_COORDINATOR_PLAN_COSTS_H_
