#include "coordinator/plan/partition.h"

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/status_macros.h"
#include "coordinator/plan/bottleneck.h"
#include "coordinator/plan/cover.h"
#include "coordinator/plan/min_variance.h"
#include "coordinator/plan/prefix_sums.h"

namespace penstock {
namespace {

absl::Status CheckStages(int num_layers, int num_stages) {
  if (num_stages < 1) return absl::InvalidArgumentError(absl::StrCat("stages must be at least 1, not ", num_stages));
  if (num_stages <= num_layers) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(num_stages, " stages need at least as many layers; the model has ",
                                                 num_layers, ": use at most ", num_layers, " stages"));
}

absl::Status CheckCosts(const std::vector<double>& costs) {
  for (size_t i = 0; i < costs.size(); ++i) {
    if (std::isfinite(costs[i]) && costs[i] >= 0) continue;
    return absl::InvalidArgumentError(absl::StrCat("the cost of layer ", i, " is ", costs[i], "; it must be >= 0"));
  }
  return absl::OkStatus();
}

Partition FromSizes(const std::vector<int>& sizes) {
  Partition partition;
  int begin = 0;
  for (const int size : sizes) {
    partition.push_back({begin, begin + size});
    begin += size;
  }
  return partition;
}

}  // namespace

absl::StatusOr<Partition> UniformPartition(int num_layers, int num_stages) {
  PENSTOCK_RETURN_IF_ERROR(CheckStages(num_layers, num_stages));
  std::vector<int> sizes(num_stages, num_layers / num_stages);
  for (int stage = 0; stage < num_layers % num_stages; ++stage) ++sizes[stage];
  return FromSizes(sizes);
}

absl::StatusOr<Partition> ExplicitPartition(int num_layers, const std::vector<int>& sizes) {
  PENSTOCK_RETURN_IF_ERROR(CheckStages(num_layers, static_cast<int>(sizes.size())));
  int64_t total = 0;
  for (size_t stage = 0; stage < sizes.size(); ++stage) {
    if (sizes[stage] < 1) {
      return absl::InvalidArgumentError(
          absl::StrCat("stage ", stage, " has ", sizes[stage], " layers; a stage has at least 1"));
    }
    total += sizes[stage];
  }
  if (total != num_layers) {
    return absl::InvalidArgumentError(
        absl::StrCat("the split [", absl::StrJoin(sizes, ", "), "] owns ", total, " layers; the model has ", num_layers,
                     total < num_layers ? ": the last ones would have no owner" : ": there are no more",
                     ", each layer is owned exactly once"));
  }
  return FromSizes(sizes);
}

absl::StatusOr<Partition> MinVariancePartition(const std::vector<double>& costs, int num_stages) {
  PENSTOCK_RETURN_IF_ERROR(CheckStages(static_cast<int>(costs.size()), num_stages));
  PENSTOCK_RETURN_IF_ERROR(CheckCosts(costs));
  return MinVarianceAmong(PrefixSums(costs), num_stages, [](int, int) { return true; });
}

absl::StatusOr<Partition> MakespanPartition(const std::vector<double>& forward, const std::vector<double>& backward,
                                            int num_stages, const StageLimits& limits) {
  PENSTOCK_RETURN_IF_ERROR(CheckStages(static_cast<int>(forward.size()), num_stages));
  PENSTOCK_RETURN_IF_ERROR(CheckCosts(forward));
  PENSTOCK_RETURN_IF_ERROR(CheckCosts(backward));
  if (forward.size() != backward.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat(forward.size(), " forward times for ", backward.size(), " backward times"));
  }
  const PrefixSums forward_sums(forward), backward_sums(backward);
  const StageBounds bounds = BestBounds(forward_sums, backward_sums, num_stages, limits);
  if (!bounds.possible()) {
    return absl::ResourceExhaustedError(
        absl::StrCat("no cut of the ", forward.size(), " layers into ", num_stages, " stages keeps every limit"));
  }
  std::vector<double> both(forward.size());
  for (size_t i = 0; i < both.size(); ++i) both[i] = forward[i] + backward[i];
  if (!limits.simple()) {
    std::vector<int> reach(forward.size());
    for (size_t i = 0; i < reach.size(); ++i) {
      const int begin = static_cast<int>(i);
      reach[i] =
          std::min(ExtendTo({forward_sums, bounds.forward}, begin), ExtendTo({backward_sums, bounds.backward}, begin));
    }
    return MinVarianceWithin(PrefixSums(both), num_stages, reach, limits);
  }
  const int layers = static_cast<int>(forward.size());
  return MinVarianceAmong(PrefixSums(both), num_stages, [&](int begin, int end) {
    return forward_sums.Sum(begin, end) <= bounds.forward && backward_sums.Sum(begin, end) <= bounds.backward &&
           end <= limits.LongestFrom(0, begin, layers);
  });
}

}  // namespace penstock
