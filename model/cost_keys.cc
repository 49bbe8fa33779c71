#include "model/cost_keys.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "common/micro_batch.h"
#include "common/sha256.h"
#include "model/layer_kind.h"

namespace penstock {
namespace {

// Takes away names and places, but for what the layers of a graph read: their names there, less the graph's own.
void ForgetNames(v1::Layer* layer, const std::string& graph = "") {
  const std::string prefix = absl::StrCat(layer->name(), ".");
  for (std::string& name : *layer->mutable_from()) name = std::string(absl::StripPrefix(name, graph));
  if (graph.empty()) {
    layer->clear_name();
    layer->clear_from();
  } else {
    layer->set_name(std::string(absl::StripPrefix(layer->name(), graph)));
  }
  layer->clear_frozen();
  layer->clear_at();
  if (layer->has_residual()) {
    for (v1::Layer& inner : *layer->mutable_residual()->mutable_block()) ForgetNames(&inner);
  } else if (layer->has_graph()) {
    for (v1::Layer& inner : *layer->mutable_graph()->mutable_block()) ForgetNames(&inner, prefix);
  }
}

std::string TypeText(const TensorType& type) {
  return absl::StrCat(v1::DType_Name(type.dtype), " [", absl::StrJoin(type.shape, ","), "]");
}

std::string PrecisionOf(const v1::Train& train) { return train.precision().empty() ? "fp32" : train.precision(); }

// Which parameters are not trained, where any isn't: "frozen 0110".
std::string FrozenText(const LayerInfo& layer) {
  std::string text;
  bool any = !layer.needs_gradient;
  for (const ParameterSpec& parameter : layer.parameters) {
    text += parameter.frozen ? '1' : '0';
    any = any || parameter.frozen;
  }
  return any ? absl::StrCat("frozen ", text) : "";
}

std::string LayerKey(const v1::JobSpec& spec, const ModelInfo& model, int index, int64_t samples) {
  v1::Layer layer = spec.model().layers(index);
  FillDefaults(&layer);
  ForgetNames(&layer);
  const LayerInfo& info = model.layers[index];
  std::string inputs = TypeText(info.input);
  for (const TensorType& input : info.more_inputs) absl::StrAppend(&inputs, " ", TypeText(input));
  const bool first = !info.needs_input_gradient, last = index + 1 == static_cast<int>(model.layers.size());
  // The fields' encoding is stable: no maps, no unknown fields, one version of the code that writes them.
  const std::string facts =
      absl::StrCat(layer.SerializeAsString(), "|", inputs, " x ", samples, "|", PrecisionOf(spec.train()), "|",
                   std::max(1u, spec.train().threads()), "|", first ? "first" : "", FrozenText(info), "|",
                   last ? v1::LossKind_Name(spec.model().loss()) : "");
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
