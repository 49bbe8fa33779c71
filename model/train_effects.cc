#include "model/train_effects.h"

#include <algorithm>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "model/name_pattern.h"

namespace penstock {
namespace {

// Whether the parameter is of the layer, or of one inside it, that is frozen.
bool IsFrozenIn(const v1::Layer& layer, const std::string& parameter) {
  if (layer.frozen()) return true;
  const v1::Layer* owner = nullptr;
  for (const auto* block : {&layer.residual().block(), &layer.graph().block()}) {
    for (const v1::Layer& inner : *block) {
      const bool holds = absl::StartsWith(parameter, absl::StrCat(inner.name(), "."));
      if (holds && (owner == nullptr || inner.name().size() > owner->name().size())) owner = &inner;
    }
  }
  return owner != nullptr && IsFrozenIn(*owner, parameter);
}

bool MarkFrozen(const v1::Model& model, int index, LayerInfo* layer) {
  bool any = false;
  for (ParameterSpec& parameter : layer->parameters) {
    parameter.frozen = IsFrozenIn(model.layers(index), parameter.name);
    for (const std::string& pattern : model.freeze()) {
      parameter.frozen = parameter.frozen || FitsPattern(pattern, parameter.name);
    }
    any = any || parameter.frozen;
  }
  return any;
}

// Whether no gradient of the layer waits for W: those of matrices, kernels and tables do.
bool NothingWaits(const LayerInfo& layer) {
  return std::all_of(layer.parameters.begin(), layer.parameters.end(),
                     [](const ParameterSpec& parameter) { return parameter.frozen || !parameter.decay; });
}

void DropWeightGradients(LayerCost* cost) {
  cost->backward_flops -= cost->weight_flops;
  cost->weight_flops = 0;
  cost->deferred_bytes = 0;
  cost->gradient_bytes = 0;
}

// The layer runs forward only.
void DropBackward(LayerCost* cost) {
  DropWeightGradients(cost);
  cost->backward_flops = 0;
  cost->activation_bytes = cost->full_bytes = cost->shared_bytes = 0;
  cost->fixed_backward_us = cost->fixed_weight_us = 0;
}

int64_t Half(int64_t bytes) { return bytes / 2; }

void Round(v1::DType compute, TensorType* type) {
  if (type->dtype == v1::DTYPE_FLOAT32) type->dtype = compute;
}

bool IsNorm(const v1::Layer& layer) { return layer.has_batch_norm() || layer.has_layer_norm() || layer.has_rms_norm(); }

}  // namespace

void FreezeParameters(const v1::Model& model, ModelInfo* info) {
  bool freezes = false;
  for (size_t i = 0; i < info->layers.size(); ++i) {
    freezes = MarkFrozen(model, static_cast<int>(i), &info->layers[i]) || freezes;
  }
  for (size_t i = 0; i < info->layers.size(); ++i) {
    LayerInfo& layer = info->layers[i];
    layer.needs_input_gradient = std::any_of(layer.reads.begin(), layer.reads.end(), [info](int read) {
      return read != kModelInput && info->layers[read].needs_gradient;
    });
    const bool trains = std::any_of(layer.parameters.begin(), layer.parameters.end(),
                                    [](const ParameterSpec& parameter) { return !parameter.frozen; });
    layer.needs_gradient = layer.output.dtype != v1::DTYPE_INT64;
    if (!freezes) continue;
    layer.needs_gradient = trains || layer.needs_input_gradient;
    if (!layer.needs_gradient) {
      DropBackward(&layer.cost);
    } else if (!layer.parameters.empty() && NothingWaits(layer)) {
      DropWeightGradients(&layer.cost);
    }
    if (layer.cost.shared_bytes > 0 && !info->layers[layer.cost.shared_from].needs_gradient) {
      layer.cost.shared_bytes = 0;
    }
  }
}

void SetComputeType(const v1::Model& model, ModelInfo* info) {
  if (model.compute() == v1::DTYPE_UNSPECIFIED || model.compute() == v1::DTYPE_FLOAT32) return;
  for (size_t i = 0; i < info->layers.size(); ++i) {
    LayerInfo& layer = info->layers[i];
    Round(model.compute(), &layer.input);
    Round(model.compute(), &layer.output);
    for (TensorType& type : layer.more_inputs) Round(model.compute(), &type);
    LayerCost& cost = layer.cost;
    cost.activation_bytes = cost.full_bytes + Half(cost.activation_bytes - cost.full_bytes);
    // What a layer shares with its neighbour is of the type they compute in, but for tokens.
    if (layer.input.dtype != v1::DTYPE_INT64) cost.shared_bytes = Half(cost.shared_bytes);
    cost.deferred_bytes = Half(cost.deferred_bytes);
    cost.memory_bytes /= 2;
    // Norms work on float32 copies of a gradient, an input and an output; biases and tables are summed from a float32
    // copy of the output's gradient. What else works, works on no more than in float32.
    if (IsNorm(model.layers(static_cast<int>(i)))) {
      cost.working_bytes *= 2;
    } else if (!layer.parameters.empty()) {
      cost.working_bytes += layer.output.Elements() * DTypeBytes(v1::DTYPE_FLOAT32);
    }
    // A product is a tensor of its own before it is added to the float32 sum.
    cost.gradient_bytes = 0;
    for (const ParameterSpec& parameter : layer.parameters) {
      if (!parameter.decay || parameter.frozen) continue;
      cost.gradient_bytes = std::max(cost.gradient_bytes, parameter.Elements() * DTypeBytes(model.compute()));
    }
  }
}

}  // namespace penstock
