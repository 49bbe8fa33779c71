#include "coordinator/plan/costs.h"

#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
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

Link Link::Loopback() {
  // Between two processes of one host that compute between messages (docs/schedules.md, "Measured costs"): five times
  // what a mere exchange of messages takes, since by then threads sleep and caches have cooled.
  return {400, 2.2e3};
}

}  // namespace penstock
