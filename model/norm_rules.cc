// Rules of the normalisations: batch_norm, layer_norm, rms_norm.
#include "absl/strings/str_cat.h"
#include "model/layer_rules.h"

namespace penstock {
namespace {

constexpr int64_t kFloatBytes = 4;

}  // namespace

// Over the batch (and the pixels) of each channel. Its statistics are a few numbers a micro-batch: not counted.
bool BatchNormRule(const RuleContext& context) {
  const v1::BatchNorm& norm = context.layer.batch_norm();
  if (!context.AboveZero("eps", norm.eps()) || !context.FloatInput()) return false;
  if (!(norm.momentum() >= 0 && norm.momentum() <= 1)) {
    return context.Fail(absl::StrCat("momentum is ", norm.momentum(), ": it must be between 0 and 1"));
  }
  const std::vector<int64_t>& shape = context.input().shape;
  if (shape.size() != 1 && shape.size() != 3) {
    return context.Fail(absl::StrCat("needs an input of the form [channels, height, width] or [features], but gets ",
                                     ShapeText(shape)));
  }
  context.AddParameter("weight", {shape[0]}, kInitOnes, false);
  context.AddParameter("bias", {shape[0]}, kInitZeros, false);
  context.AddBuffer("running_mean", {shape[0]}, 0);
  context.AddBuffer("running_var", {shape[0]}, 1);
  context.SetOutput(shape);
  if (context.input().Elements() == shape[0])
    context.info->lone_norms.push_back({context.info->name, context.layer.at()});
  context.info->cost.activation_bytes = context.input().Bytes();
  context.info->cost.working_bytes = 3 * context.input().Bytes();  // gradients in and out, a temporary
  context.info->ends.keeps_input = true;
  context.info->cost.memory_bytes = 3.0 * context.input().Bytes();  // two reads, one write
  return true;
}

// Over the last dimension. Keeps its input, and mean and 1/deviation of each position.
bool LayerNormRule(const RuleContext& context) {
  const v1::LayerNorm& norm = context.layer.layer_norm();
  if (!context.AboveZero("eps", norm.eps()) || !context.FloatInput()) return false;
  context.AddParameter("weight", {context.Width()}, kInitOnes, false);
  if (norm.bias()) context.AddParameter("bias", {context.Width()}, kInitZeros, false);
  context.SetOutput(context.input().shape);
  context.info->cost.full_bytes = 2 * kFloatBytes * context.Positions();
  context.info->cost.activation_bytes = context.input().Bytes() + context.info->cost.full_bytes;
  context.info->cost.working_bytes = 2 * context.input().Bytes();  // gradients in and out
  context.info->ends.keeps_input = true;
  context.info->cost.memory_bytes = 2.0 * context.input().Bytes();
  return true;
}

// Over the last dimension. Keeps its input and 1/rms of each position.
bool RmsNormRule(const RuleContext& context) {
  if (!context.AboveZero("eps", context.layer.rms_norm().eps()) || !context.FloatInput()) return false;
  context.AddParameter("weight", {context.Width()}, kInitOnes, false);
  context.SetOutput(context.input().shape);
  context.info->cost.full_bytes = kFloatBytes * context.Positions();
  context.info->cost.activation_bytes = context.input().Bytes() + context.info->cost.full_bytes;
  context.info->cost.working_bytes = 4 * context.input().Bytes();  // gradients in and out, two temporaries
  context.info->ends.keeps_input = true;
  context.info->cost.memory_bytes = 2.0 * context.input().Bytes();
  return true;
}

}  // namespace penstock
