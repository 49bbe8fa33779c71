// Building a rank, and its way to and from checkpoints.
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/checkpoint/safetensors.h"
#include "common/file.h"
#include "common/status_macros.h"
#include "model/loss_scale.h"
#include "model/model_info.h"
#include "model/precision.h"
#include "worker/torch/compute_type.h"
#include "worker/torch/torch_guard.h"
#include "worker/torch/torch_rank.h"

namespace penstock {

TorchRank::TorchRank(const v1::LoadRequest& request, at::Device device, DeviceMemory* memory)
    : spec_(request.spec()),
      plan_(request.plan()),
      rank_(request.rank()),
      device_(device),
      memory_(memory),
      compute_(ComputeType(request.spec().model())),
      loss_scale_(FirstLossScale(request.spec().train().loss_scale())) {}

absl::StatusOr<std::unique_ptr<TorchRank>> TorchRank::Load(const v1::LoadRequest& request, at::Device device,
                                                           DeviceMemory* memory, Clock* clock) {
  std::unique_ptr<TorchRank> rank(new TorchRank(request, device, memory));
  PENSTOCK_RETURN_IF_ERROR(RunTorch([&] { return absl::StrCat("loading rank ", request.rank()); },
                                    [&] { return rank->Build(request, clock); }));
  return rank;
}

// 1. the plan's stages must cover the model's layers                      (here)
// 2. threads of this, the computing thread
// 3. parameters, buffers, optimizer state; initial or from a checkpoint   (RankState)
// 4. layer functions over them                                            (BuildStages)
// 5. data, where the first or the last stage is here                      (BatchReader)
absl::Status TorchRank::Build(const v1::LoadRequest& request, Clock* clock) {
  PENSTOCK_ASSIGN_OR_RETURN(const ModelInfo model, InferModel(spec_.model()));
  const std::optional<v1::DType> compute = ComputeOf(spec_.train().precision());
  if (!compute.has_value() || *compute != spec_.model().compute()) {
    return absl::InvalidArgumentError(
        absl::StrCat("precision ", spec_.train().precision(),
                     " is not known, or not what the model says: ", v1::DType_Name(spec_.model().compute())));
  }
  if (plan_.micro_batches() < 1 || plan_.micro_batches() > spec_.train().batch_size()) {
    return absl::InvalidArgumentError(absl::StrCat(
        plan_.micro_batches(), " micro-batches cannot be cut from a batch of ", spec_.train().batch_size()));
  }
  uint32_t next_layer = 0;
  for (const v1::Stage& stage : plan_.stages()) {
    if (stage.first_layer() != next_layer || stage.end_layer() <= stage.first_layer()) {
      return absl::InvalidArgumentError(
          absl::StrCat("the plan's stages do not cover the layers one by one: one starts at ", stage.first_layer(),
                       " instead of ", next_layer));
    }
    next_layer = stage.end_layer();
  }
  if (next_layer != model.layers.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("the plan's stages hold ", next_layer, " layers, the model has ", model.layers.size()));
  }
  if (spec_.pipeline().recompute() == v1::Pipeline::RECOMPUTE_LAYERS &&
      spec_.pipeline().recompute_layers_size() != static_cast<int>(model.layers.size())) {
    return absl::InvalidArgumentError(absl::StrCat("pipeline.recompute lists ",
                                                   spec_.pipeline().recompute_layers_size(), " layers, the model has ",
                                                   model.layers.size()));
  }
  at::set_num_threads(std::max<int>(1, spec_.train().threads()));
  PENSTOCK_RETURN_IF_ERROR(BuildStages(request, model, clock));
  if (static_cast<int>(rank_) < plan_.train_size()) {
    for (const v1::Action& action : plan_.train(static_cast<int>(rank_)).actions()) {
      if (action.kind() == v1::ACTION_RECOMPUTE) recomputed_.emplace(action.stage(), action.micro_batch());
    }
  }
  if (stages_.empty()) return absl::InvalidArgumentError(absl::StrCat("the plan gives rank ", rank_, " no stage"));
  if (stages_.count(0) > 0 || stages_.count(stage_count() - 1) > 0) {
    PENSTOCK_ASSIGN_OR_RETURN(reader_, BatchReader::Open(spec_, plan_.micro_batches(), model.classes));
  }
  return absl::OkStatus();
}

absl::Status TorchRank::BuildStages(const v1::LoadRequest& request, const ModelInfo& model, Clock* clock) {
  std::vector<LayerInfo> layers;
  for (const v1::Stage& stage : plan_.stages()) {
    if (stage.rank() != rank_) continue;
    for (uint32_t i = stage.first_layer(); i < stage.end_layer(); ++i) layers.push_back(model.layers[i]);
  }
  state_ = std::make_unique<RankState>(layers, spec_.train().optimizer(), device_, compute_);
  if (request.resume_from().empty()) {
    state_->store().Initialise(spec_.train().seed());
  } else {
    PENSTOCK_ASSIGN_OR_RETURN(const Manifest manifest, state_->Resume(request.resume_from(), model));
    step_ = manifest.step;
    if (manifest.loss_scale.scale() != 0) loss_scale_ = manifest.loss_scale;
  }
  parts_.clock = clock;
  for (const auto& parameter : state_->store().parameters()) parts_.parameters[parameter->name] = parameter.get();
  for (const auto& [name, buffer] : state_->store().buffers()) parts_.buffers[name] = buffer;
  for (int number = 0; number < stage_count(); ++number) {
    const v1::Stage& stage = plan_.stages(number);
    boundaries_.push_back(TensorsAcross(model, static_cast<int>(stage.first_layer())));
    if (stage.rank() != rank_) continue;
    v1::StageState* described = description_.add_stages();
    described->set_stage(number);
    std::vector<NamedLayer> functions;
    for (uint32_t i = stage.first_layer(); i < stage.end_layer(); ++i) {
      const LayerInfo& info = model.layers[i];
      functions.push_back({info.name, BuildLayer(spec_.model().layers(i), &parts_), RecomputesLayer(i)});
      described->add_layers(info.name);
      described->set_parameters(described->parameters() + info.ParameterElements());
    }
    described->set_parameter_bytes(described->parameters() * sizeof(float));
    stages_[number] = std::make_unique<Stage>(
        std::move(functions),
        WiringOf(model, static_cast<int>(stage.first_layer()), static_cast<int>(stage.end_layer())));
  }
  boundaries_.push_back(TensorsAcross(model, static_cast<int>(model.layers.size())));
  return absl::OkStatus();
}

bool TorchRank::RecomputesLayer(uint32_t layer) const {
  const v1::Pipeline& pipeline = spec_.pipeline();
  return pipeline.recompute() == v1::Pipeline::RECOMPUTE_LAYERS && pipeline.recompute_layers(static_cast<int>(layer));
}

absl::StatusOr<v1::SaveReply> TorchRank::Save(uint64_t step, const std::string& directory) {
  if (step != step_) {
    return absl::FailedPreconditionError(
        absl::StrCat("asked to save step ", step, ", but rank ", rank_, " has completed step ", step_));
  }
  v1::SaveReply reply;
  reply.set_file(absl::StrCat("rank-", rank_, ".safetensors"));
  PENSTOCK_RETURN_IF_ERROR(RunTorch([&] { return absl::StrCat("saving step ", step); },
                                    [&]() -> absl::Status {
                                      PENSTOCK_RETURN_IF_ERROR(MakeDirs(directory));
                                      PENSTOCK_ASSIGN_OR_RETURN(WrittenSafetensors written,
                                                                state_->Write(JoinPath(directory, reply.file())));
                                      reply.set_bytes(written.bytes);
                                      for (v1::TensorHash& hash : written.tensors)
                                        *reply.add_tensors() = std::move(hash);
                                      return absl::OkStatus();
                                    }));
  return reply;
}

absl::StatusOr<std::vector<v1::TensorHash>> TorchRank::Hashes() {
  std::vector<v1::TensorHash> hashes;
  PENSTOCK_RETURN_IF_ERROR(RunTorch([] { return "hashing the state"; },
                                    [&]() -> absl::Status {
                                      PENSTOCK_ASSIGN_OR_RETURN(hashes, state_->Hashes());
                                      return absl::OkStatus();
                                    }));
  return hashes;
}

}  // namespace penstock
