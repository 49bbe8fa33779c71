#include "model/layer_rules.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "model/layer_kind.h"

namespace penstock {
namespace {

// x + block(x): the inner layers run as one unit, so their costs add up.
bool ResidualRule(const RuleContext& context) {
  const v1::Residual& residual = context.layer.residual();
  if (residual.block().empty()) return context.Fail("block is empty: it needs at least one layer");
  if (!context.FloatInput()) return false;
  TensorType input = context.input();
  LayerCost& cost = context.info->cost;
  std::vector<LayerInfo> inner_layers;
  for (const v1::Layer& inner : residual.block()) {
    LayerInfo info;
    info.name = inner.name();
    info.input = input;
    if (!ApplyRule({inner, context.blocks, context.diagnostics, &info})) return false;
    for (ParameterSpec& parameter : info.parameters) context.info->parameters.push_back(std::move(parameter));
    for (BufferSpec& buffer : info.buffers) context.info->buffers.push_back(std::move(buffer));
    cost.forward_flops += info.cost.forward_flops;
    cost.backward_flops += info.cost.backward_flops;
    cost.weight_flops += info.cost.weight_flops;
    cost.activation_bytes += info.cost.activation_bytes;
    cost.deferred_bytes += info.cost.deferred_bytes;
    cost.working_bytes = std::max(cost.working_bytes, info.cost.working_bytes);
    cost.gradient_bytes = std::max(cost.gradient_bytes, info.cost.gradient_bytes);
    cost.memory_bytes += info.cost.memory_bytes;
    cost.fixed_forward_us += info.cost.fixed_forward_us;
    cost.fixed_backward_us += info.cost.fixed_backward_us;
    cost.fixed_weight_us += info.cost.fixed_weight_us;
    input = info.output;
    inner_layers.push_back(std::move(info));
  }
  FindShared(&inner_layers);
  for (const LayerInfo& inner : inner_layers) cost.activation_bytes -= inner.cost.shared_bytes;
  for (const LayerInfo& inner : inner_layers) {
    context.info->ends.keeps_input = inner.ends.keeps_input;
    if (!inner.ends.passes_input) break;
  }
  cost.working_bytes += input.Bytes();  // its own gradient, or its input, beside the block's
  if (input != context.input()) {
    return context.Fail(absl::StrCat("block turns ", ShapeText(context.input().shape), " into ", ShapeText(input.shape),
                                     ": a residual block must keep the shape of its input"));
  }
  cost.memory_bytes += 3.0 * input.Bytes();  // the addition
  context.SetOutput(input.shape);
  return true;
}

bool ApplyKind(const RuleContext& context) {
  switch (context.layer.kind_case()) {
    case v1::Layer::kEmbedding:
      return EmbeddingRule(context);
    case v1::Layer::kPositionEmbedding:
      return PositionEmbeddingRule(context);
    case v1::Layer::kLinear:
      return LinearRule(context);
    case v1::Layer::kConv2D:
      return Conv2dRule(context);
    case v1::Layer::kMaxPool:
      return MaxPoolRule(context);
    case v1::Layer::kAvgPool:
      return AvgPoolRule(context);
    case v1::Layer::kBatchNorm:
      return BatchNormRule(context);
    case v1::Layer::kLayerNorm:
      return LayerNormRule(context);
    case v1::Layer::kRmsNorm:
      return RmsNormRule(context);
    case v1::Layer::kRelu:
    case v1::Layer::kGelu:
    case v1::Layer::kSilu:
    case v1::Layer::kTanh:
    case v1::Layer::kSigmoid:
      return ActivationRule(context);
    case v1::Layer::kDropout:
      return DropoutRule(context);
    case v1::Layer::kFlatten:
      return FlattenRule(context);
    case v1::Layer::kResidual:
      return ResidualRule(context);
    case v1::Layer::kAttention:
      return AttentionRule(context);
    case v1::Layer::kGptBlock:
      return GptBlockRule(context);
    case v1::Layer::kLlamaBlock:
      return LlamaBlockRule(context);
    case v1::Layer::kLmHead:
      return LmHeadRule(context);
    case v1::Layer::kDelay:
      return DelayRule(context);
    case v1::Layer::kAdd:
    case v1::Layer::kConcat:
    case v1::Layer::kGraph:
    case v1::Layer::kConvTranspose2D:
    case v1::Layer::kUpsample:
    case v1::Layer::kPad:
      return context.Fail("is of a kind that this version does not know");
    case v1::Layer::KIND_NOT_SET:
      return context.Fail("has no kind");
  }
  return context.Fail("is of a kind that this version does not know");
}

}  // namespace

bool RuleContext::Fail(absl::string_view message) const {
  const std::string kind = KindName(layer);
  const std::string label = kind.empty() ? "" : absl::StrCat(" (", kind, ")");
  diagnostics->Error(layer.at(), absl::StrCat("layer '", info->name, "'", label, ": ", message),
                     kind.empty() ? 1 : static_cast<int>(kind.size()));
  return false;
}

bool RuleContext::Positive(absl::string_view key, int64_t value) const {
  if (value >= 1 && value <= kMaxSize) return true;
  return Fail(absl::StrCat(key, " is ", value, ": it must be between 1 and ", kMaxSize));
}

bool RuleContext::Probability(absl::string_view key, double value) const {
  if (value >= 0 && value < 1) return true;
  return Fail(absl::StrCat(key, " is ", value, ": it must be at least 0 and below 1"));
}

bool RuleContext::AboveZero(absl::string_view key, double value) const {
  if (value > 0 && std::isfinite(value)) return true;
  return Fail(absl::StrCat(key, " is ", value, ": it must be above 0"));
}

bool RuleContext::FloatInput() const {
  if (input().dtype == v1::DTYPE_FLOAT32) return true;
  return Fail(absl::StrCat("needs numbers as input, but gets tokens ", ShapeText(input().shape),
                           ": an embedding layer must come first"));
}

bool RuleContext::FloatInput(size_t rank, absl::string_view form) const {
  if (!FloatInput()) return false;
  if (input().shape.size() == rank) return true;
  return Fail(absl::StrCat("needs an input of the form ", form, ", but gets ", ShapeText(input().shape)));
}

void RuleContext::AddParameter(absl::string_view name, std::vector<int64_t> shape, Init init, bool decay) const {
  info->parameters.push_back({absl::StrCat(info->name, ".", name), std::move(shape), init, decay});
}

void RuleContext::AddBuffer(absl::string_view name, std::vector<int64_t> shape, double value) const {
  info->buffers.push_back({absl::StrCat(info->name, ".", name), v1::DTYPE_FLOAT32, std::move(shape), value});
}

void RuleContext::SetOutput(std::vector<int64_t> shape) const { info->output = {v1::DTYPE_FLOAT32, std::move(shape)}; }

Init FanInInit(int64_t fan_in) { return {Init::Kind::kUniform, 1 / std::sqrt(static_cast<double>(fan_in))}; }

void FindShared(std::vector<LayerInfo>* layers) {
  // The latest layer that made a tensor of its own, if it keeps that tensor.
  std::optional<int> keeper;
  for (size_t i = 0; i < layers->size(); ++i) {
    LayerInfo& layer = (*layers)[i];
    if (layer.ends.keeps_input && keeper.has_value()) {
      layer.cost.shared_bytes = layer.input.Bytes();
      layer.cost.shared_from = *keeper;
    }
    if (!layer.ends.passes_input) keeper = layer.ends.keeps_output ? std::optional<int>(i) : std::nullopt;
  }
}

bool ApplyRule(const RuleContext& context) {
  if (!ApplyKind(context)) return false;
  const int64_t elements = context.info->output.Elements();
  if (elements <= kMaxElements) return true;
  return context.Fail(
      absl::StrCat("its output ", ShapeText(context.info->output.shape), " has more than 2^40 elements a sample"));
}

std::string ShapeText(const std::vector<int64_t>& shape) { return absl::StrCat("[", absl::StrJoin(shape, ", "), "]"); }

}  // namespace penstock
