#include "coordinator/plan/rank_memory.h"

#include <algorithm>
#include <map>
#include <tuple>

#include "common/micro_batch.h"

namespace penstock {

std::vector<int64_t> RankStateBytes(const ModelCosts& costs, const Partition& stages, const Placement& placement) {
  std::vector<int64_t> state(placement.num_ranks(), 0), largest(placement.num_ranks(), 0);
  for (size_t s = 0; s < stages.size(); ++s) {
    const int rank = placement.rank_of_stage[s];
    const StageMemory memory = costs.Memory(stages[s]);
    state[rank] += memory.State() - memory.largest_layer_gradient_bytes;
    largest[rank] = std::max(largest[rank], memory.largest_layer_gradient_bytes);
  }
  for (size_t rank = 0; rank < state.size(); ++rank) state[rank] += largest[rank];
  return state;
}

std::vector<uint64_t> RankPeakBytes(const v1::Plan& plan) {
  std::vector<uint64_t> bytes(plan.train_size(), 0);
  if (plan.ranks_size() == plan.train_size()) {
    for (int rank = 0; rank < plan.ranks_size(); ++rank) bytes[rank] = plan.ranks(rank).peak_bytes();
    return bytes;
  }
  for (const v1::Stage& stage : plan.stages()) {
    if (stage.rank() < bytes.size()) bytes[stage.rank()] += stage.state_bytes() + stage.peak_activation_bytes();
  }
  return bytes;
}

KeptSamples KeptByGPipe(const v1::JobSpec& spec, int micro_batches) {
  const int64_t batch = spec.train().batch_size();
  const int64_t first = MicroBatch(batch, micro_batches, 0).size();
  switch (spec.pipeline().recompute()) {
    case v1::Pipeline::RECOMPUTE_BOUNDARY:
      return {first, batch - first};
    case v1::Pipeline::RECOMPUTE_EXCEPT_LAST: {
      // The last micro-batch's own, and those of the one that runs forward once more.
      const int64_t last = MicroBatch(batch, micro_batches, micro_batches - 1).size();
      return {std::min(batch, first + last), std::max<int64_t>(0, batch - first - last)};
    }
    default:
      return {batch, 0};
  }
}

StageLimits LimitsOf(const ModelCosts& costs, const std::vector<uint64_t>& memory_bytes,
                     const std::vector<KeptSamples>& kept) {
  StageLimits limits;
  std::map<std::tuple<uint64_t, int64_t, int64_t>, int> kinds;
  for (size_t s = 0; s < memory_bytes.size(); ++s) {
    const auto key = std::make_tuple(memory_bytes[s], kept[s].whole, kept[s].boundary);
    const auto [found, is_new] = kinds.try_emplace(key, static_cast<int>(kinds.size()));
    limits.kind_of_stage.push_back(found->second);
    if (is_new) {
      limits.longest.push_back(costs.LongestWithin(memory_bytes[s], kept[s].whole, kept[s].boundary));
    }
  }
  return limits;
}

}  // namespace penstock
