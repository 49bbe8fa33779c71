// Cuts a model into composite layers and chooses how many devices hold each: cuts and replicas together. Pure.
// Source: docs/schedules.md, "Replicas". PipeDream: arXiv 1806.03377, section 3.2.
#ifndef PENSTOCK_COORDINATOR_PLAN_REPLICATED_H_
#define PENSTOCK_COORDINATOR_PLAN_REPLICATED_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "coordinator/plan/partition.h"

namespace penstock {

// What one layer costs for one micro-batch, and what it holds.
struct ReplicaLayer {
  double compute_us = 0;         // forward and backward
  int64_t parameter_bytes = 0;   // as many of gradients go through the all-reduce of a step
  int64_t state_bytes = 0;       // parameters, gradients, optimizer
  int64_t activation_bytes = 0;  // kept from forward to backward
  int64_t output_bytes = 0;      // to the next layer, and back as a gradient
};

struct ReplicaLimits {
  int devices = 1;           // at most as many are used
  int micro_batches = 1;     // of a step; dealt to the replicas in turn
  double bytes_per_us = 0;   // of each device's link; 0: nothing that travels costs time
  int64_t memory_bytes = 0;  // of each device; 0: no limit
};

struct ReplicatedStage {
  LayerRange layers;
  int replicas = 1;

  friend bool operator==(const ReplicatedStage&, const ReplicatedStage&) = default;
};

struct ReplicatedPlan {
  std::vector<ReplicatedStage> stages;
  double bottleneck_us = 0;  // what a micro-batch takes once the pipeline is full

  int devices() const;
};

// The time that layers [range) take of each micro-batch on `replicas` devices, once the pipeline is full: their compute
// shared among the replicas, and one ring all-reduce of the gradients, 2 (r-1)/r of them over each link, shared among
// the step's micro-batches.
double ReplicatedStageUs(const std::vector<ReplicaLayer>& layers, const LayerRange& range, int replicas,
                         const ReplicaLimits& limits);

// Whether a replica's device holds the range: its state, and the activations of the micro-batches that are on their
// way. Args: behind: the devices of this stage and of all that come after it: so many micro-batches are under way under
// 1F1B.
bool ReplicaFits(const std::vector<ReplicaLayer>& layers, const LayerRange& range, int replicas, int behind,
                 const ReplicaLimits& limits);

// The plan whose slowest stage or boundary is fastest, of the plans of at most limits.devices; among equals, the one of
// fewest devices. A[j][M] = min over cut and m' of max(A of the rest with M - m', T(cut, j, m')), from the last layer
// to the first, so that it is known how many devices come behind a stage.
// Errors:  InvalidArgument: no layers, a count below 1, a negative or non-finite cost (names the layer).
//          ResourceExhausted: no plan keeps the memory limit.
// Exact. O(L^2 D^2 + L D^3) time, O(L D^2) memory.
absl::StatusOr<ReplicatedPlan> ReplicatedPartition(const std::vector<ReplicaLayer>& layers,
                                                   const ReplicaLimits& limits);

}  // namespace penstock

#endif  // PENSTOCK_COORDINATOR_PLAN_REPLICATED_H_
