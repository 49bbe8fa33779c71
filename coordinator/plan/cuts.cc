#include "coordinator/plan/cuts.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/status_macros.h"

namespace penstock {
namespace {

// The layers that must stay together count as one.
std::vector<double> Merge(const std::vector<double>& costs, int together) {
  std::vector<double> merged(costs.begin() + (together - 1), costs.end());
  for (int i = 0; i + 1 < together; ++i) merged[0] += costs[i];
  return merged;
}

StageLimits Merge(const StageLimits& limits, int together) {
  StageLimits merged;
  merged.kind_of_stage = limits.kind_of_stage;
  const int shift = together - 1;
  for (const std::vector<int>& longest : limits.longest) {
    std::vector<int>& ends = merged.longest.emplace_back();
    ends.push_back(std::max(0, longest[0] - shift));
    for (size_t begin = together; begin < longest.size(); ++begin) ends.push_back(longest[begin] - shift);
  }
  return merged;
}

absl::StatusOr<Partition> Expand(absl::StatusOr<Partition> partition, int together) {
  if (!partition.ok()) return partition.status();
  for (LayerRange& range : *partition) {
    range.begin += together - 1;
    range.end += together - 1;
  }
  partition->front().begin = 0;
  return partition;
}

}  // namespace

absl::Status CheckStageCount(const Planning& planning, int stages) {
  const int layers = planning.costs.num_layers(), together = planning.costs.first_cut();
  const int most = layers - together + 1;
  if (stages < 1) return absl::InvalidArgumentError(absl::StrCat("stages must be at least 1, not ", stages));
  if (stages <= most) return absl::OkStatus();
  if (together == 1) {
    return absl::InvalidArgumentError(absl::StrCat(stages, " stages need at least as many layers; the model has ",
                                                   layers, ": use at most ", layers, " stages"));
  }
  return absl::InvalidArgumentError(absl::StrCat(
      stages, " stages cannot be cut from the model's ", layers, " layers: the first ", together,
      " stay together, since ", "tokens have no gradient to send back and only '",
      planning.model.layers[together - 1].name, "' turns them into numbers: use at most ", most, " stages"));
}

absl::StatusOr<Partition> CutUniformly(const Planning& planning, int stages) {
  PENSTOCK_RETURN_IF_ERROR(CheckStageCount(planning, stages));
  const int together = planning.costs.first_cut();
  // Whole layers count, so the first stage takes more than its share only where it must.
  Partition partition = *UniformPartition(planning.costs.num_layers(), stages);
  if (partition[0].end >= together) return partition;
  if (stages == 1) return partition;
  absl::StatusOr<Partition> rest = UniformPartition(planning.costs.num_layers() - together, stages - 1);
  if (!rest.ok()) return rest.status();
  Partition whole = {{0, together}};
  for (const LayerRange& range : *rest) whole.push_back({range.begin + together, range.end + together});
  return whole;
}

absl::StatusOr<Partition> CutByVariance(const Planning& planning, int stages) {
  PENSTOCK_RETURN_IF_ERROR(CheckStageCount(planning, stages));
  std::vector<double> costs;
  for (const LayerTimes& times : planning.costs.layers()) costs.push_back(times.Sum());
  const int together = planning.costs.first_cut();
  return Expand(MinVariancePartition(Merge(costs, together), stages), together);
}

absl::StatusOr<Partition> CutByMakespan(const Planning& planning, int stages, const StageLimits& limits) {
  PENSTOCK_RETURN_IF_ERROR(CheckStageCount(planning, stages));
  std::vector<double> forward, backward;
  for (const LayerTimes& times : planning.costs.layers()) {
    forward.push_back(times.forward_us);
    backward.push_back(times.Backward());
  }
  const int together = planning.costs.first_cut();
  return Expand(MakespanPartition(Merge(forward, together), Merge(backward, together), stages, Merge(limits, together)),
                together);
}

absl::StatusOr<Partition> CutAsWritten(const Planning& planning, int stages) {
  const v1::Pipeline& pipeline = planning.spec.pipeline();
  if (pipeline.split_sizes_size() != stages) {
    return absl::InvalidArgumentError(absl::StrCat("the split [", absl::StrJoin(pipeline.split_sizes(), ", "), "] has ",
                                                   pipeline.split_sizes_size(), " stages, not ", stages));
  }
  return ExplicitPartition(planning.costs.num_layers(), {pipeline.split_sizes().begin(), pipeline.split_sizes().end()});
}

}  // namespace penstock
