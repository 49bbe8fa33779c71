#include "worker/torch/measure.h"

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "model/model_info.h"
#include "worker/torch/compute_type.h"
#include "worker/torch/layer_trial.h"
#include "worker/torch/rank_state.h"
#include "worker/torch/torch_guard.h"

namespace penstock {
namespace {

// A layer is repeated until its median is stable: so often, and so long. Layers of a millisecond get their fill of
// repetitions, layers of a second end with the fewest.
constexpr int kLeastRounds = 7;
constexpr int kMostRounds = 60;
constexpr absl::Duration kSpendAtLeast = absl::Milliseconds(300);

// The update is timed over no more elements than this (with its gradients and state 128 MiB): far out of every cache,
// as a model's are.
constexpr int64_t kMostUpdateElements = int64_t{8} << 20;
constexpr int kUpdates = 9;

bool HasEnough(const LayerTrial& trial) {
  const int counted = trial.counted();
  return counted >= kMostRounds || (counted >= kLeastRounds && trial.spent() >= kSpendAtLeast);
}

absl::Status CheckRequest(const v1::MeasureRequest& request, const ModelInfo& model) {
  const uint32_t batch = request.spec().train().batch_size();
  if (request.samples() < 1 || request.samples() > batch) {
    return absl::InvalidArgumentError(
        absl::StrCat("a micro-batch of ", request.samples(), " samples cannot be cut from a batch of ", batch));
  }
  for (const uint32_t layer : request.layers()) {
    if (layer < model.layers.size()) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("there is no layer ", layer, ": the model has ", model.layers.size()));
  }
  return absl::OkStatus();
}

absl::Status RunTrials(std::vector<std::unique_ptr<LayerTrial>>* trials, const std::function<bool()>& cancelled) {
  for (bool more = true; more;) {
    more = false;
    for (const std::unique_ptr<LayerTrial>& trial : *trials) {
      if (HasEnough(*trial)) continue;
      if (cancelled()) return absl::CancelledError("the measurement was cancelled");
      PENSTOCK_RETURN_IF_ERROR(RunTorch([&] { return absl::StrCat("measuring layer ", trial->name()); },
                                        [&] {
                                          trial->Run();
                                          return absl::OkStatus();
                                        }));
      more = true;
    }
  }
  return absl::OkStatus();
}

// Bytes of parameters, gradients and optimizer state that an update gets through in a microsecond. What a step does
// once per element counts: the gradients' norm for the vote, and the update itself.
double UpdateRate(const v1::JobSpec& spec, const ModelInfo& model, at::Device device, Clock* clock) {
  const int64_t elements = std::clamp<int64_t>(model.ParameterElements(), 1, kMostUpdateElements);
  LayerInfo info;
  info.parameters.push_back({.name = "measured", .shape = {elements}, .init = {}, .decay = true});
  RankState state({info}, spec.train().optimizer(), device, ComputeType(spec.model()));
  double bytes = 0;
  std::vector<absl::Duration> times;
  for (int i = 0; i < kUpdates; ++i) {
    Parameter* const parameter = state.store().parameters().front().get();
    parameter->gradient.fill_(1e-3);
    parameter->has_gradient = true;
    const absl::Duration start = clock->Monotonic();
    SquaredNorm(parameter->gradient);
    state.optimizer().Step(static_cast<uint64_t>(i + 1), /*lr=*/1e-6, /*clip_scale=*/1.0);
    state.store().RefreshCopies();
    if (!device.is_cpu()) parameter->value.select(0, 0).cpu();
    times.push_back(clock->Monotonic() - start);
  }
  for (const NamedTensor& tensor : state.Tensors()) bytes += static_cast<double>(tensor.tensor.nbytes());
  bytes += 4.0 * static_cast<double>(elements);  // gradients
  std::sort(times.begin(), times.end());
  return bytes / std::max(1.0, absl::ToDoubleMicroseconds(times[times.size() / 2]));
}

}  // namespace

absl::StatusOr<v1::MeasuredCosts> MeasureCosts(const v1::MeasureRequest& request, absl::string_view device,
                                               DeviceMemory* memory, Clock* clock,
                                               const std::function<bool()>& cancelled) {
  const v1::JobSpec& spec = request.spec();
  PENSTOCK_ASSIGN_OR_RETURN(const ModelInfo model, InferModel(spec.model()));
  PENSTOCK_RETURN_IF_ERROR(CheckRequest(request, model));
  const at::Device where{std::string(device)};
  at::set_num_threads(std::max<int>(1, static_cast<int>(spec.train().threads())));
  std::vector<std::unique_ptr<LayerTrial>> trials;
  for (const uint32_t layer : request.layers()) {
    const int index = static_cast<int>(layer);
    PENSTOCK_RETURN_IF_ERROR(
        RunTorch([&] { return absl::StrCat("building layer ", model.layers[index].name); },
                 [&] {
                   trials.push_back(std::make_unique<LayerTrial>(
                       spec, model, index, request.samples(), kMostRounds + LayerTrial::kWarmUp, where, memory, clock));
                   return absl::OkStatus();
                 }));
  }
  PENSTOCK_RETURN_IF_ERROR(RunTrials(&trials, cancelled));
  v1::MeasuredCosts costs;
  for (const std::unique_ptr<LayerTrial>& trial : trials) *costs.add_layers() = trial->Result();
  if (!request.update()) return costs;
  trials.clear();
  PENSTOCK_RETURN_IF_ERROR(RunTorch([] { return "measuring the optimizer's update"; },
                                    [&] {
                                      costs.set_update_bytes_per_us(UpdateRate(spec, model, where, clock));
                                      return absl::OkStatus();
                                    }));
  return costs;
}

}  // namespace penstock
