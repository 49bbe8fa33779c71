#include "coordinator/plan/costs.h"

#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/micro_batch.h"
#include "common/status_macros.h"

namespace penstock {
namespace {

bool IsAmount(double value) { return std::isfinite(value) && value >= 0; }

// Rounding aside, a part is no longer than the whole.
constexpr double kPartTolerance = 1e-9;

absl::Status CheckStage(int s, const StageCost& cost) {
  const std::pair<const char*, double> times[] = {{"forward", cost.forward_us},
                                                  {"backward", cost.backward_us},
                                                  {"weight gradient", cost.weight_gradient_us},
                                                  {"recomputation", cost.recompute_us}};
  for (const auto& [what, us] : times) {
    if (IsAmount(us)) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("stage ", s, "'s ", what, " takes ", us, " us; a time must be a number and not negative"));
  }
  const std::pair<const char*, int64_t> sizes[] = {{"keeps", cost.activation_bytes},
                                                   {"keeps for its weight gradient", cost.deferred_bytes},
                                                   {"keeps for its recomputation", cost.boundary_bytes},
                                                   {"works with", cost.working_bytes},
                                                   {"sends", cost.output_bytes}};
  for (const auto& [what, bytes] : sizes) {
    if (bytes >= 0) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("stage ", s, " ", what, " ", bytes, " bytes; a size must not be negative"));
  }
  if (cost.weight_gradient_us <= cost.backward_us * (1 + kPartTolerance)) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("stage ", s, "'s weight gradient takes ", cost.weight_gradient_us,
                                                 " us, longer than the backward that it is a part of, ",
                                                 cost.backward_us, " us"));
}

absl::Status CheckStages(const std::vector<StageCost>& stages, int num_stages) {
  if (static_cast<int>(stages.size()) != num_stages) {
    return absl::InvalidArgumentError(absl::StrCat(stages.size(), " stage costs for ", num_stages, " stages"));
  }
  for (int s = 0; s < num_stages; ++s) PENSTOCK_RETURN_IF_ERROR(CheckStage(s, stages[s]));
  return absl::OkStatus();
}

std::vector<StageCost> EstimateStages(const ModelInfo& model, const Partition& stages, int64_t samples,
                                      const Machine& machine) {
  std::vector<StageCost> costs;
  for (const LayerRange& range : stages) {
    StageCost& stage = costs.emplace_back();
    for (int i = range.begin; i < range.end; ++i) {
      const ComputeTimes times = EstimateTimes(model.layers[i].cost, samples, machine);
      stage.forward_us += times.forward_us;
      stage.backward_us += times.backward_us;
      stage.activation_bytes += samples * model.layers[i].cost.activation_bytes;
    }
    if (&range != &stages.back()) stage.output_bytes = samples * model.layers[range.end - 1].output.Bytes();
  }
  return costs;
}

}  // namespace

absl::Status CheckCosts(const PipelineCosts& costs, int num_stages, int micro_batches) {
  PENSTOCK_RETURN_IF_ERROR(CheckStages(costs.larger, num_stages));
  if (costs.num_larger < micro_batches) PENSTOCK_RETURN_IF_ERROR(CheckStages(costs.smaller, num_stages));
  if (static_cast<int>(costs.links.size()) + 1 < num_stages) {
    return absl::InvalidArgumentError(absl::StrCat(costs.links.size(), " links between ", num_stages, " stages"));
  }
  for (size_t i = 0; i < costs.links.size(); ++i) {
    if (IsAmount(costs.links[i].latency_us) && IsAmount(costs.links[i].bytes_per_us)) continue;
    return absl::InvalidArgumentError(absl::StrCat("the link after stage ", i, " has latency ",
                                                   costs.links[i].latency_us, " us and ", costs.links[i].bytes_per_us,
                                                   " bytes a us; both must be numbers and none negative"));
  }
  return absl::OkStatus();
}

Machine CpuMachine(int threads) {
  // One core of a Zen 4 server: a GEMM of a block's size reaches 87 GF/s alone and about 75 among the copies and
  // reshapes around it; memory is copied at 6.3 GB/s, which reads and writes each byte once. A layer's dozen calls into
  // the tensor library cost about 2 us each. More threads are taken to help as much as they could.
  return {75e3 * threads, 6.3e3 * 2 * threads, 25, 10e3 * threads};
}

Link Link::Loopback() {
  // A gRPC stream between two processes of one host, 1 MiB pieces with their checksum (docs/wire.md, "Measured").
  return {60, 2.2e3};
}

ComputeTimes EstimateTimes(const LayerCost& cost, int64_t samples, const Machine& machine) {
  if (cost.fixed_forward_us > 0 || cost.fixed_backward_us > 0) return {cost.fixed_forward_us, cost.fixed_backward_us};
  const double n = static_cast<double>(samples);
  const double forward_flops_us = n * cost.forward_flops / machine.flops_per_us;
  const double backward_flops_us = n * cost.backward_flops / machine.flops_per_us;
  // A backward pass reads the gradient and what was kept, and writes a gradient: twice the forward pass's traffic.
  const double memory_us = n * cost.memory_bytes / machine.bytes_per_us;
  return {forward_flops_us + memory_us + machine.layer_us, backward_flops_us + 2 * memory_us + 2 * machine.layer_us};
}

std::vector<ComputeTimes> EstimateTimes(const ModelInfo& model, int64_t samples, const Machine& machine) {
  std::vector<ComputeTimes> times;
  for (const LayerInfo& layer : model.layers) times.push_back(EstimateTimes(layer.cost, samples, machine));
  return times;
}

PipelineCosts EstimatePipeline(const ModelInfo& model, const Partition& stages, int64_t batch, int micro_batches,
                               const Machine& machine) {
  const int64_t largest = MicroBatch(batch, micro_batches, 0).size();
  const int64_t smallest = MicroBatch(batch, micro_batches, micro_batches - 1).size();
  PipelineCosts costs;
  costs.larger = EstimateStages(model, stages, largest, machine);
  costs.num_larger = micro_batches;
  if (smallest != largest) {
    costs.smaller = EstimateStages(model, stages, smallest, machine);
    costs.num_larger = static_cast<int>(batch % micro_batches);
  }
  costs.links.assign(stages.size() - 1, Link::Loopback());
  return costs;
}

}  // namespace penstock
