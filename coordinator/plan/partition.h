// Cuts a model's layers into consecutive stages. Pure.
// Source: docs/schedules.md, "Partition".
#ifndef PENSTOCK_COORDINATOR_PLAN_PARTITION_H_
#define PENSTOCK_COORDINATOR_PLAN_PARTITION_H_

#include <vector>

#include "absl/status/statusor.h"
#include "coordinator/plan/stage_limits.h"

namespace penstock {

// Layers [begin, end).
struct LayerRange {
  int begin = 0;
  int end = 0;

  int size() const { return end - begin; }
  friend bool operator==(const LayerRange&, const LayerRange&) = default;
};

// Consecutive, not empty, and covering all layers in order.
using Partition = std::vector<LayerRange>;

// Equal layer counts; where they cannot be equal the first stages have one more.
// Errors:  InvalidArgument: num_stages < 1 or > num_layers.
absl::StatusOr<Partition> UniformPartition(int num_layers, int num_stages);

// Stages of the given sizes.
// Errors:  InvalidArgument: a size of 0, or the sizes do not add up to num_layers (a layer would have no owner or two).
absl::StatusOr<Partition> ExplicitPartition(int num_layers, const std::vector<int>& sizes);

// The partition with the smallest sum of squared stage costs: of all partitions the one whose costs vary least.
// Args:    costs[i] >= 0 and finite.
// Errors:  InvalidArgument: num_stages < 1 or > layers, or a cost is negative or not a number.
// Exact. O(L K log L) time, O(L K) memory.
absl::StatusOr<Partition> MinVariancePartition(const std::vector<double>& costs, int num_stages);

// The partition with the shortest GPipe step, sum F + (M-1) max F + sum B + (M-1) max B, F and B being the stages'
// times for a micro-batch. The sums are the same for every partition, so it is the one that minimises max F + max B,
// whatever M is. Among those, the one of least variance of F + B.
// Args:    forward and backward: per layer, >= 0 and finite, of the same length.
//          limits: what the stages may hold; of num_stages stages, or none.
// Errors:  InvalidArgument: as MinVariancePartition. ResourceExhausted: no partition keeps the limits.
// Exact. A search over the bottleneck: O(K log L) for each bound that is tried, O(K L) where limits differ.
absl::StatusOr<Partition> MakespanPartition(const std::vector<double>& forward, const std::vector<double>& backward,
                                            int num_stages, const StageLimits& limits = {});

}  // namespace penstock

#endif  // PENSTOCK_COORDINATOR_PLAN_PARTITION_H_
