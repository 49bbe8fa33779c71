#include "model/cost_keys.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/micro_batch.h"
#include "common/sha256.h"
#include "model/layer_kind.h"

namespace penstock {
namespace {

void ForgetNames(v1::Layer* layer) {
  layer->clear_name();
  layer->clear_at();
  if (!layer->has_residual()) return;
  for (v1::Layer& inner : *layer->mutable_residual()->mutable_block()) ForgetNames(&inner);
}

std::string PrecisionOf(const v1::Train& train) { return train.precision().empty() ? "fp32" : train.precision(); }

std::string LayerKey(const v1::JobSpec& spec, const ModelInfo& model, int index, int64_t samples) {
  v1::Layer layer = spec.model().layers(index);
  FillDefaults(&layer);
  ForgetNames(&layer);
  const TensorType& input = model.layers[index].input;
  const bool first = index == 0, last = index + 1 == static_cast<int>(model.layers.size());
  // The fields' encoding is stable: no maps, no unknown fields, one version of the code that writes them.
  const std::string facts =
      absl::StrCat(layer.SerializeAsString(), "|", v1::DType_Name(input.dtype), " [", absl::StrJoin(input.shape, ","),
                   "] x ", samples, "|", PrecisionOf(spec.train()), "|", std::max(1u, spec.train().threads()), "|",
                   first ? "first" : "", "|", last ? v1::LossKind_Name(spec.model().loss()) : "");
  return absl::StrCat("layer ", KindName(layer), " ", Sha256Hex(facts).substr(0, 32));
}

}  // namespace

CostKeys CostKeysOf(const v1::JobSpec& spec, const ModelInfo& model) {
  const v1::Pipeline& pipeline = spec.pipeline();
  const uint32_t given = pipeline.has_plan() ? pipeline.plan().micro_batches() : pipeline.micro_batches();
  const int64_t batch = std::max(1u, spec.train().batch_size());
  CostKeys keys;
  keys.samples = MicroBatch(batch, std::clamp<int64_t>(given, 1, batch), 0).size();
  for (int i = 0; i < static_cast<int>(model.layers.size()); ++i) {
    keys.layers.push_back(LayerKey(spec, model, i, keys.samples));
  }
  const v1::Optimizer& optimizer = spec.train().optimizer();
  keys.update = absl::StrCat("update ", v1::Optimizer::Name_Name(optimizer.name()),
                             optimizer.momentum() != 0 ? " with momentum" : "", ", ",
                             std::max(1u, spec.train().threads()), " threads");
  keys.link = "link";
  return keys;
}

}  // namespace penstock
