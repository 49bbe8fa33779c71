#include "coordinator/measurement.h"

#include <algorithm>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/logging.h"
#include "common/status_macros.h"
#include "coordinator/gather.h"
#include "coordinator/link_probe.h"
#include "coordinator/records/cost_store.h"
#include "coordinator/worker_lease.h"
#include "model/cost_keys.h"
#include "model/model_info.h"
#include "spec/job_file.h"

namespace penstock {
namespace {

// So many workers time the same layers at once: the ranks of a job compute at once too, and those on one host share its
// memory and its clock speed. A link needs two as well.
constexpr int kWorkers = 2;

// One kind of device.
class KindMeasurement {
 public:
  KindMeasurement(Core* core, const v1::MeasureJobRequest& request, const CostKeys& keys,
                  std::vector<std::string> names, std::shared_ptr<WorkerLease> lease)
      : core_(core), request_(request), keys_(keys), names_(std::move(names)), lease_(std::move(lease)) {}

  // 1. what is not known yet                         (ChooseLayers)
  // 2. those layers and the update, on all workers   (MeasureLayers)
  // 3. the link, where there are two                 (ProbeLink)
  // 4. keeps it, and reads back the whole
  absl::StatusOr<v1::MeasuredCosts> Run(const std::function<bool()>& cancelled, v1::MeasureJobReply* reply) {
    const std::string& device = lease_->workers().front().fingerprint;
    CostStore* const store = core_->costs();
    PENSTOCK_RETURN_IF_ERROR(ChooseLayers(store, device));
    reply->set_measured(reply->measured() + static_cast<uint32_t>(layers_.size()));
    reply->set_known(reply->known() + static_cast<uint32_t>(distinct_ - layers_.size()));
    v1::MeasuredCosts costs;
    if (!layers_.empty() || needs_update_) {
      PENSTOCK_ASSIGN_OR_RETURN(costs, MeasureLayers(cancelled));
    }
    costs.set_device(device);
    if (needs_link_ && lease_->workers().size() >= 2) {
      PENSTOCK_ASSIGN_OR_RETURN(const LinkTimes link, ProbeLink(
                                                          lease_.get(), [this] { return NextEpoch(); }, cancelled));
      costs.set_link_latency_us(link.latency_us);
      costs.set_link_bytes_per_us(link.bytes_per_us);
    }
    CostKeys measured = keys_;
    measured.layers.clear();
    for (const uint32_t layer : layers_) measured.layers.push_back(keys_.layers[layer]);
    PENSTOCK_RETURN_IF_ERROR(store->Put(measured, costs, core_->Wall()));
    PENSTOCK_ASSIGN_OR_RETURN(std::optional<v1::MeasuredCosts> whole, store->Find(device, keys_, names_));
    if (!whole.has_value()) return absl::InternalError("costs that were measured are not in the store");
    return *std::move(whole);
  }

 private:
  absl::Status ChooseLayers(CostStore* store, const std::string& device) {
    PENSTOCK_ASSIGN_OR_RETURN(const std::vector<bool> known, store->Known(device, keys_));
    PENSTOCK_ASSIGN_OR_RETURN(const v1::MeasuredCosts rates, store->Rates(device, keys_));
    std::set<std::string> seen;
    for (size_t i = 0; i < keys_.layers.size(); ++i) {
      if (!seen.insert(keys_.layers[i]).second) continue;
      if (request_.again() || !known[i]) layers_.push_back(static_cast<uint32_t>(i));
    }
    distinct_ = seen.size();
    needs_update_ = request_.again() || rates.update_bytes_per_us() == 0;
    needs_link_ = request_.again() || rates.link_bytes_per_us() == 0;
    return absl::OkStatus();
  }

  // The means over the workers.
  absl::StatusOr<v1::MeasuredCosts> MeasureLayers(const std::function<bool()>& cancelled) {
    const int workers = static_cast<int>(lease_->workers().size());
    Gather<v1::MeasureReply> replies(workers);
    std::vector<std::shared_ptr<WorkerCall>> calls;
    for (int w = 0; w < workers; ++w) {
      v1::MeasureRequest request;
      request.set_incarnation(lease_->workers()[w].incarnation);
      *request.mutable_spec() = request_.spec();
      request.set_samples(static_cast<uint32_t>(keys_.samples));
      request.mutable_layers()->Assign(layers_.begin(), layers_.end());
      request.set_update(needs_update_);
      lease_->client(w).Measure(calls.emplace_back(lease_->NewCall()), std::move(request), replies.Take(w));
    }
    PENSTOCK_ASSIGN_OR_RETURN(const std::vector<v1::MeasureReply> all, replies.WaitUnless(cancelled, calls));
    for (int w = 0; w < workers; ++w) {
      PENSTOCK_RETURN_IF_ERROR(Annotate(CheckMeasured(all[w].costs()), lease_->workers()[w].id));
    }
    v1::MeasuredCosts mean = all.front().costs();
    for (int w = 1; w < workers; ++w) {
      const v1::MeasuredCosts& other = all[w].costs();
      if (other.layers_size() != mean.layers_size()) return absl::InternalError("workers measured different layers");
      for (int i = 0; i < mean.layers_size(); ++i) Add(other.layers(i), mean.mutable_layers(i));
      mean.set_update_bytes_per_us(mean.update_bytes_per_us() + other.update_bytes_per_us());
    }
    for (v1::MeasuredLayer& layer : *mean.mutable_layers()) {
      layer.set_forward_us(layer.forward_us() / workers);
      layer.set_input_gradient_us(layer.input_gradient_us() / workers);
      layer.set_weight_gradient_us(layer.weight_gradient_us() / workers);
    }
    mean.set_update_bytes_per_us(mean.update_bytes_per_us() / workers);
    return mean;
  }

  static void Add(const v1::MeasuredLayer& other, v1::MeasuredLayer* sum) {
    sum->set_forward_us(sum->forward_us() + other.forward_us());
    sum->set_input_gradient_us(sum->input_gradient_us() + other.input_gradient_us());
    sum->set_weight_gradient_us(sum->weight_gradient_us() + other.weight_gradient_us());
  }

  uint64_t NextEpoch() {
    epoch_ = std::max(epoch_ + 1, core_->NewLeaseEpoch());
    return epoch_;
  }

  Core* const core_;
  const v1::MeasureJobRequest& request_;
  const CostKeys& keys_;
  const std::vector<std::string> names_;  // of all layers
  const std::shared_ptr<WorkerLease> lease_;
  std::vector<uint32_t> layers_;  // to be measured: one for each key
  size_t distinct_ = 0;
  bool needs_update_ = false, needs_link_ = false;
  uint64_t epoch_ = 0;
};

}  // namespace

absl::StatusOr<v1::MeasureJobReply> MeasureJob(Core* core, const v1::MeasureJobRequest& request,
                                               const std::function<bool()>& cancelled) {
  if (core->costs() == nullptr) return absl::FailedPreconditionError("this coordinator keeps no measured costs");
  PENSTOCK_RETURN_IF_ERROR(CheckJobSpec(request.spec()));
  PENSTOCK_ASSIGN_OR_RETURN(const ModelInfo model, InferModel(request.spec().model()));
  const CostKeys keys = CostKeysOf(request.spec(), model);
  std::vector<std::string> names;
  for (const LayerInfo& layer : model.layers) names.push_back(layer.name);
  v1::MeasureJobReply reply;
  absl::Status none = absl::FailedPreconditionError("no worker is registered: start workers, then measure");
  for (const std::string& fingerprint : core->Fingerprints()) {
    const absl::StatusOr<std::shared_ptr<WorkerLease>> lease = core->Lease(kWorkers, "measure", fingerprint);
    if (!lease.ok()) {
      none = lease.status();
      continue;  // of another kind there may be one
    }
    absl::StatusOr<v1::MeasuredCosts> costs =
        KindMeasurement(core, request, keys, names, *lease).Run(cancelled, &reply);
    // Why a worker is gone says more than that its calls were cancelled.
    PENSTOCK_RETURN_IF_ERROR((*lease)->status());
    PENSTOCK_RETURN_IF_ERROR(costs.status());
    *reply.add_devices() = *std::move(costs);
  }
  if (reply.devices_size() == 0) return none;
  return reply;
}

}  // namespace penstock
