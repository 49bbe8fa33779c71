#include "worker/torch/rank_state.h"

#include <set>
#include <utility>

#include "common/checkpoint/checkpoint_reader.h"
#include "common/status_macros.h"

namespace penstock {
namespace {

constexpr char kDType[] = "F32";  // all state is float32

}  // namespace

RankState::RankState(const std::vector<LayerInfo>& layers, const v1::Optimizer& optimizer, at::Device device,
                     at::ScalarType compute)
    : store_(layers, optimizer, device, compute), optimizer_(optimizer, &store_) {}

std::vector<NamedTensor> RankState::Tensors() const {
  std::vector<NamedTensor> tensors;
  for (const auto& parameter : store_.parameters()) tensors.push_back({parameter->name, parameter->master});
  for (const auto& [name, buffer] : store_.buffers()) tensors.push_back({name, buffer});
  tensors.insert(tensors.end(), optimizer_.state().begin(), optimizer_.state().end());
  return tensors;
}

absl::Status RankState::CheckNames(const Manifest& manifest, const ModelInfo& model) const {
  std::set<std::string> known;
  const std::vector<std::string> prefixes = Optimizer::StatePrefixes(optimizer_.options());
  for (const LayerInfo& layer : model.layers) {
    for (const BufferSpec& buffer : layer.buffers) known.insert(buffer.name);
    for (const ParameterSpec& parameter : layer.parameters) {
      known.insert(parameter.name);
      for (const std::string& prefix : prefixes) known.insert(absl::StrCat(prefix, parameter.name));
    }
  }
  for (const CheckpointFile& file : manifest.files) {
    for (const v1::TensorHash& tensor : file.tensors) {
      if (known.count(tensor.name()) > 0) continue;
      return absl::InvalidArgumentError(absl::StrCat("it has a tensor ", tensor.name(),
                                                     " that the job has not: it is of another model or optimizer"));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<Manifest> RankState::Resume(const std::string& checkpoint, const ModelInfo& model) {
  PENSTOCK_ASSIGN_OR_RETURN(const CheckpointReader reader, CheckpointReader::Open(checkpoint));
  PENSTOCK_RETURN_IF_ERROR(Annotate(CheckNames(reader.manifest(), model), absl::StrCat("checkpoint ", checkpoint)));
  for (const NamedTensor& item : Tensors()) {
    if (!reader.Has(item.name)) {
      return absl::InvalidArgumentError(absl::StrCat("checkpoint ", checkpoint, " has no tensor ", item.name,
                                                     ": it is of another model or optimizer"));
    }
    at::Tensor host = at::empty(item.tensor.sizes(), at::kFloat);
    PENSTOCK_RETURN_IF_ERROR(reader.Read(item.name, kDType, item.tensor.sizes().vec(), host.mutable_data_ptr()));
    item.tensor.copy_(host);
  }
  store_.RefreshCopies();
  return reader.manifest();
}

std::vector<TensorToWrite> RankState::OnHost(std::vector<at::Tensor>* hosts) const {
  std::vector<TensorToWrite> tensors;
  for (const NamedTensor& item : Tensors()) {
    hosts->push_back(item.tensor.cpu());
    tensors.push_back({item.name, kDType, item.tensor.sizes().vec(), hosts->back().const_data_ptr()});
  }
  return tensors;
}

absl::StatusOr<WrittenSafetensors> RankState::Write(const std::string& path) const {
  std::vector<at::Tensor> hosts;
  return WriteSafetensors(path, OnHost(&hosts));
}

absl::StatusOr<std::vector<v1::TensorHash>> RankState::Hashes() const {
  std::vector<at::Tensor> hosts;
  std::vector<v1::TensorHash> hashes;
  for (const TensorToWrite& tensor : OnHost(&hosts)) {
    PENSTOCK_ASSIGN_OR_RETURN(v1::TensorHash hash, HashTensor(tensor));
    hashes.push_back(std::move(hash));
  }
  return hashes;
}

}  // namespace penstock
