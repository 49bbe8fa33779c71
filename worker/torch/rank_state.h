// What a rank must keep from step to step: parameters, buffers, optimizer state; and its way to and from checkpoints.
// Thread-compatible.
#ifndef PENSTOCK_WORKER_TORCH_RANK_STATE_H_
#define PENSTOCK_WORKER_TORCH_RANK_STATE_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/checkpoint/manifest.h"
#include "common/checkpoint/safetensors.h"
#include "model/model_info.h"
#include "proto/job.pb.h"
#include "worker/torch/optimizer.h"
#include "worker/torch/parameters.h"

namespace penstock {

class RankState {
 public:
  // Args: layers: the rank's, in model order. compute: the type that they compute in.
  RankState(const std::vector<LayerInfo>& layers, const v1::Optimizer& optimizer, at::Device device,
            at::ScalarType compute = at::kFloat);

  ParameterStore& store() { return store_; }
  const ParameterStore& store() const { return store_; }
  Optimizer& optimizer() { return optimizer_; }

  // Reads every tensor from a checkpoint, whatever number of ranks wrote it, and checks its hash.
  // Returns: what the checkpoint says of itself.
  // Errors:  InvalidArgument: a tensor is missing, has another shape, or has no place in `model` (the whole model).
  // NotFound: no such
  //          checkpoint. DataLoss: a tensor is not what was written.
  absl::StatusOr<Manifest> Resume(const std::string& checkpoint, const ModelInfo& model);

  // Every tensor of the state, by name.
  std::vector<NamedTensor> Tensors() const;

  absl::StatusOr<WrittenSafetensors> Write(const std::string& path) const;
  absl::StatusOr<std::vector<v1::TensorHash>> Hashes() const;

 private:
  // Errors: InvalidArgument: the checkpoint holds a tensor that the job has no place for.
  absl::Status CheckNames(const Manifest& manifest, const ModelInfo& model) const;
  // The tensors in host memory, as they are written. `hosts` keeps them alive.
  std::vector<TensorToWrite> OnHost(std::vector<at::Tensor>* hosts) const;

  ParameterStore store_;
  Optimizer optimizer_;
};

}  // namespace penstock

#endif  // PENSTOCK_WORKER_TORCH_RANK_STATE_H_
