#include "cli/measured_costs.h"

#include <memory>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "cli/client.h"
#include "cli/coordinator_process.h"
#include "cli/local_cluster.h"
#include "common/clock.h"
#include "common/status_macros.h"
#include "coordinator/records/cost_store.h"
#include "model/cost_keys.h"
#include "model/model_info.h"

namespace penstock {
namespace {

std::vector<std::string> LayerNames(const ModelInfo& model) {
  std::vector<std::string> names;
  for (const LayerInfo& layer : model.layers) names.push_back(layer.name);
  return names;
}

v1::MeasureJobRequest RequestOf(const v1::JobSpec& spec) {
  v1::MeasureJobRequest request;
  *request.mutable_spec() = spec;
  request.set_again(true);  // whoever says --measure wants it done
  return request;
}

absl::StatusOr<v1::MeasureJobReply> MeasureOnOwnCluster(const v1::JobSpec& spec, const MeasureOptions& options,
                                                        Console* console) {
  console->Talk(absl::StrCat("no coordinator answers at ", options.address, ": measures with workers of its own (",
                             absl::StrJoin(options.devices, ", "), "); state in ", options.state_dir));
  absl::StatusOr<std::unique_ptr<CoordinatorProcess>> started = StartLocalCluster(options.state_dir, options.devices);
  if (absl::IsFailedPrecondition(started.status())) {
    return absl::FailedPreconditionError(
        absl::StrCat(started.status().message(), "; measure when that run has ended: both would share the processors"));
  }
  if (!started.ok()) return started.status();
  const std::unique_ptr<CoordinatorProcess> process = *std::move(started);
  Client client(process->address());
  const absl::Cleanup end = [&] { EndLocalCluster(&client, process.get()); };
  PENSTOCK_RETURN_IF_ERROR(AwaitWorkers(LocalClusterSpec(options.state_dir, options.devices), &client, process.get()));
  return client.Measure(RequestOf(spec));
}

}  // namespace

absl::StatusOr<std::optional<v1::MeasuredCosts>> StoredCosts(const std::string& state_dir, const v1::JobSpec& spec) {
  PENSTOCK_ASSIGN_OR_RETURN(const std::unique_ptr<CostStore> store, CostStore::OpenExisting(state_dir));
  if (store == nullptr) return std::nullopt;
  PENSTOCK_ASSIGN_OR_RETURN(const ModelInfo model, InferModel(spec.model()));
  PENSTOCK_ASSIGN_OR_RETURN(const std::vector<std::string> devices, store->Devices());
  for (const std::string& device : devices) {
    PENSTOCK_ASSIGN_OR_RETURN(std::optional<v1::MeasuredCosts> known,
                              store->Find(device, CostKeysOf(spec, model), LayerNames(model)));
    if (known.has_value()) return known;
  }
  return std::nullopt;
}

absl::StatusOr<std::vector<v1::MeasuredCosts>> MeasureJobCosts(const v1::JobSpec& spec, const MeasureOptions& options,
                                                               Console* console) {
  absl::StatusOr<v1::MeasureJobReply> reply = Client(options.address).Measure(RequestOf(spec));
  const bool asked = !absl::IsUnavailable(reply.status());
  if (!asked) reply = MeasureOnOwnCluster(spec, options, console);
  PENSTOCK_RETURN_IF_ERROR(reply.status());
  console->Talk(absl::StrCat("measured ", reply->measured(),
                             reply->measured() == 1 ? " distinct layer" : " distinct layers", " on ",
                             reply->devices_size(), reply->devices_size() == 1 ? " kind" : " kinds", " of device"));
  std::vector<v1::MeasuredCosts> devices(reply->devices().begin(), reply->devices().end());
  if (!asked) return devices;  // its coordinator has kept them in this very store
  PENSTOCK_ASSIGN_OR_RETURN(const ModelInfo model, InferModel(spec.model()));
  PENSTOCK_ASSIGN_OR_RETURN(const std::unique_ptr<CostStore> store, CostStore::Open(options.state_dir));
  for (const v1::MeasuredCosts& costs : devices) {
    PENSTOCK_RETURN_IF_ERROR(store->Put(CostKeysOf(spec, model), costs, Clock::Real()->Wall()));
  }
  return devices;
}

}  // namespace penstock
