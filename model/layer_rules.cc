#include "model/layer_rules.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "model/layer_kind.h"

namespace penstock {
namespace {

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
      return AddRule(context);
    case v1::Layer::kConcat:
      return ConcatRule(context);
    case v1::Layer::kGraph:
      return GraphRule(context);
    case v1::Layer::kConvTranspose2D:
      return ConvTranspose2dRule(context);
    case v1::Layer::kUpsample:
      return UpsampleRule(context);
    case v1::Layer::kPad:
      return PadRule(context);
    case v1::Layer::KIND_NOT_SET:
      return context.Fail("has no kind");
  }
  return context.Fail("is of a kind that this version does not know");
}

}  // namespace

void LayerError(const v1::Layer& layer, absl::string_view message, Diagnostics* diagnostics) {
  const std::string kind = KindName(layer);
  const std::string label = kind.empty() ? "" : absl::StrCat(" (", kind, ")");
  diagnostics->Error(layer.at(), absl::StrCat("layer '", layer.name(), "'", label, ": ", message),
                     kind.empty() ? 1 : static_cast<int>(kind.size()));
}

std::vector<TensorType> RuleContext::inputs() const {
  std::vector<TensorType> inputs = {info->input};
  inputs.insert(inputs.end(), info->more_inputs.begin(), info->more_inputs.end());
  return inputs;
}

bool RuleContext::Fail(absl::string_view message) const {
  LayerError(layer, message, diagnostics);
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

bool ApplyRule(const RuleContext& context) {
  if (!ApplyKind(context)) return false;
  const int64_t elements = context.info->output.Elements();
  if (elements <= kMaxElements) return true;
  return context.Fail(
      absl::StrCat("its output ", ShapeText(context.info->output.shape), " has more than 2^40 elements a sample"));
}

std::string ShapeText(const std::vector<int64_t>& shape) { return absl::StrCat("[", absl::StrJoin(shape, ", "), "]"); }

}  // namespace penstock
