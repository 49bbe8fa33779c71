// The core's measured costs: which kinds of device there are, and what is known of a job's layers on them.
#include <algorithm>
#include <utility>

#include "common/logging.h"
#include "coordinator/core.h"
#include "model/cost_keys.h"
#include "model/model_info.h"

namespace penstock {

std::vector<std::string> Core::Fingerprints() {
  std::vector<std::pair<std::string, int>> counts;  // in the order of workers
  {
    absl::MutexLock lock(&mu_);
    for (const WorkerHandle& worker : membership_.Live()) {
      const auto same = [&worker](const auto& count) { return count.first == worker.fingerprint; };
      const auto it = std::find_if(counts.begin(), counts.end(), same);
      if (it == counts.end()) {
        counts.emplace_back(worker.fingerprint, 1);
      } else {
        ++it->second;
      }
    }
  }
  std::stable_sort(counts.begin(), counts.end(), [](const auto& a, const auto& b) { return a.second > b.second; });
  std::vector<std::string> fingerprints;
  for (const auto& [fingerprint, count] : counts) fingerprints.push_back(fingerprint);
  return fingerprints;
}

std::optional<v1::MeasuredCosts> Core::KnownCosts(const v1::JobSpec& spec) {
  if (costs_ == nullptr) return std::nullopt;
  const absl::StatusOr<ModelInfo> model = InferModel(spec.model());
  if (!model.ok()) return std::nullopt;  // the planner says what is wrong with it
  const CostKeys keys = CostKeysOf(spec, *model);
  std::vector<std::string> names;
  for (const LayerInfo& layer : model->layers) names.push_back(layer.name);
  for (const std::string& device : Fingerprints()) {
    absl::StatusOr<std::optional<v1::MeasuredCosts>> known = costs_->Find(device, keys, names);
    if (!known.ok()) {
      LOG(ERROR) << "job " << spec.name() << " is planned with estimated costs: " << known.status();
      return std::nullopt;
    }
    if (known->has_value()) return *std::move(known);
  }
  return std::nullopt;
}

}  // namespace penstock
