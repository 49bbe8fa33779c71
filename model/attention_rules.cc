// Rules of the kinds with attention: attention, gpt_block, llama_block.
//
// Costs, with T positions of width D, H heads: the two products of attention take 2·T·T·D FLOPs each (the causal half
// is counted whole, as everyone does). Each term of what is kept names the tensor: worker/torch keeps just these.
#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "model/layer_kind.h"
#include "model/layer_rules.h"

namespace penstock {
namespace {

constexpr int64_t kFloatBytes = 4;
// Of the matrices of transformers, as GPT-2 starts them.
constexpr double kMatrixStd = 0.02;

// The sizes that every rule here uses.
struct Sizes {
  int64_t positions;
  int64_t width;
  int64_t kv_width;  // of keys, and of values
  int64_t heads;
};

// Checks heads against the width of a [positions, width] input.
bool ReadSizes(const RuleContext& context, int64_t heads, int64_t kv_heads, bool rotary, Sizes* sizes) {
  const bool positive = context.Positive("heads", heads) & context.Positive("kv_heads", kv_heads);
  if (!positive || !context.FloatInput(2, "[positions, width]")) return false;
  const int64_t width = context.Width();
  if (width % heads != 0) {
    return context.Fail(absl::StrCat("heads is ", heads, ", which does not divide the width ", width));
  }
  if (heads % kv_heads != 0) {
    return context.Fail(absl::StrCat("kv_heads is ", kv_heads, ", which does not divide heads, ", heads));
  }
  if (rotary && width / heads % 2 != 0) {
    return context.Fail(
        absl::StrCat("rotary positions need an even width per head, but ", width, " / ", heads, " is ", width / heads));
  }
  *sizes = {context.input().shape[0], width, width / heads * kv_heads, heads};
  return true;
}

// The standard deviation of matrices that end in the residual stream: the more blocks add to it, the smaller.
Init ResidualInit(const RuleContext& context) {
  return NormalInit(kMatrixStd / std::sqrt(2.0 * static_cast<double>(std::max<int64_t>(context.blocks, 1))));
}

// FLOPs of a matrix over all positions.
double MatrixFlops(const Sizes& sizes, int64_t in, int64_t out) { return 2.0 * sizes.positions * in * out; }

// FLOPs of q·k^T and of scores·v.
double ScoreFlops(const Sizes& sizes) {
  return 4.0 * static_cast<double>(sizes.positions) * sizes.positions * sizes.width;
}

// Bytes that attention keeps between the projections: queries, keys and values as the kernel got them (those of grouped
// heads repeated to all), its output (which is the output projection's input), the log of each row's sum. Rotated
// queries and keys are copies, and the values keep the whole buffer of a joint projection.
int64_t AttentionBytes(const Sizes& sizes, bool rotary, bool joint_projection) {
  const bool grouped = sizes.kv_width != sizes.width;
  int64_t floats = 4 * sizes.positions * sizes.width + sizes.positions * sizes.heads;
  if (rotary && joint_projection && !grouped) floats += 2 * sizes.positions * sizes.width;
  return kFloatBytes * floats;
}

// The part of it that is float32 in every precision.
int64_t SoftmaxBytes(const Sizes& sizes) { return kFloatBytes * sizes.positions * sizes.heads; }

// Args: matrices: FLOPs of all projections, forward; their gradients are those that can wait.
void SetFlops(const RuleContext& context, double matrices, double scores) {
  context.info->cost.forward_flops = matrices + scores;
  context.info->cost.backward_flops = 2 * (matrices + scores);
  context.info->cost.weight_flops = matrices;
}

// Bytes of what the gradients of attention's projections wait with: the input, the gradients of queries, keys and
// values, attention's output and the gradient of its projection.
int64_t AttentionDeferredBytes(const Sizes& sizes) {
  return kFloatBytes * sizes.positions * (4 * sizes.width + 2 * sizes.kv_width);
}

void AddLayerNorm(const RuleContext& context, absl::string_view name) {
  context.AddParameter(absl::StrCat(name, ".weight"), {context.Width()}, kInitOnes, false);
  context.AddParameter(absl::StrCat(name, ".bias"), {context.Width()}, kInitZeros, false);
}

// A matrix [out, in] and, where asked, its bias, which starts at zero.
void AddMatrix(const RuleContext& context, absl::string_view name, int64_t out, int64_t in, Init init, bool bias) {
  context.AddParameter(absl::StrCat(name, ".weight"), {out, in}, init, true);
  if (bias) context.AddParameter(absl::StrCat(name, ".bias"), {out}, kInitZeros, false);
}

}  // namespace

bool AttentionRule(const RuleContext& context) {
  const v1::Attention& attention = context.layer.attention();
  Sizes sizes;
  const bool scalars =
      context.Probability("dropout", attention.dropout()) & context.AboveZero("rotary_base", attention.rotary_base());
  if (!ReadSizes(context, attention.heads(), attention.kv_heads(), attention.rotary(), &sizes) || !scalars) {
    return false;
  }
  const int64_t width = sizes.width;
  const bool grouped = attention.kv_heads() != attention.heads();
  const Init init = NormalInit(kMatrixStd);
  if (grouped) {
    AddMatrix(context, "q", width, width, init, attention.bias());
    AddMatrix(context, "kv", 2 * sizes.kv_width, width, init, attention.bias());
  } else {
    AddMatrix(context, "qkv", 3 * width, width, init, attention.bias());
  }
  AddMatrix(context, "proj", width, width, init, attention.bias());
  context.SetOutput(context.input().shape);
  SetFlops(context, MatrixFlops(sizes, width, 2 * width + 2 * sizes.kv_width), ScoreFlops(sizes));
  context.info->ends.keeps_input = true;
  LayerCost& cost = context.info->cost;
  const int64_t row = context.input().Bytes();
  cost.deferred_bytes = AttentionDeferredBytes(sizes);
  // The gradients of attention's output and of queries, keys and values, beside what waits at last: fewer wait where
  // heads are grouped, and a rotation makes one more.
  cost.working_bytes = grouped ? 11 * row / 2 : (attention.rotary() ? 6 : 4) * row;
  cost.full_bytes = SoftmaxBytes(sizes);
  cost.activation_bytes = row + AttentionBytes(sizes, attention.rotary(), true) + (attention.dropout() > 0 ? row : 0);
  cost.memory_bytes = (attention.dropout() > 0 ? 3.0 : 0.0) * row;
  return true;
}

bool GptBlockRule(const RuleContext& context) {
  const v1::GptBlock& block = context.layer.gpt_block();
  Sizes sizes;
  const bool scalars = context.Probability("dropout", block.dropout()) & context.AboveZero("eps", block.eps());
  if (!ReadSizes(context, block.heads(), block.heads(), false, &sizes) || !scalars) return false;
  const int64_t width = sizes.width, hidden = 4 * width;
  AddLayerNorm(context, "ln_1");
  AddMatrix(context, "attn.qkv", 3 * width, width, NormalInit(kMatrixStd), true);
  AddMatrix(context, "attn.proj", width, width, ResidualInit(context), true);
  AddLayerNorm(context, "ln_2");
  AddMatrix(context, "mlp.fc", hidden, width, NormalInit(kMatrixStd), true);
  AddMatrix(context, "mlp.proj", width, hidden, ResidualInit(context), true);
  context.SetOutput(context.input().shape);
  SetFlops(context, MatrixFlops(sizes, width, 3 * width + width + 2 * hidden), ScoreFlops(sizes));
  context.info->ends.keeps_input = true;
  LayerCost& cost = context.info->cost;
  const int64_t row = context.input().Bytes();
  // x, ln_1's output (qkv's input), x + attention (ln_2's input), ln_2's output (fc's input); fc's output (gelu's
  // input) and gelu's output (proj's input) are 4 wide each; mean and deviation of the two norms; two masks.
  cost.full_bytes = 4 * kFloatBytes * sizes.positions + SoftmaxBytes(sizes);
  cost.activation_bytes = 4 * row + 8 * row + 4 * kFloatBytes * sizes.positions + AttentionBytes(sizes, false, true) +
                          (block.dropout() > 0 ? 2 * row : 0);
  // Attention's; fc's input and its output's gradient; proj's input and its output's gradient.
  cost.deferred_bytes = AttentionDeferredBytes(sizes) + 2 * row + 8 * row;
  // While attention runs backwards: its output's gradient, those of queries, keys and values, and its block's.
  cost.working_bytes = 5 * row;
  // Two norms, two additions, gelu; two masks.
  cost.memory_bytes = (2 * 2.0 + 2 * 3.0 + 2 * 4.0 + (block.dropout() > 0 ? 2 * 3.0 : 0.0)) * row;
  return true;
}

bool LlamaBlockRule(const RuleContext& context) {
  const v1::LlamaBlock& block = context.layer.llama_block();
  Sizes sizes;
  const bool scalars = context.AboveZero("eps", block.eps()) & context.AboveZero("rotary_base", block.rotary_base());
  if (!ReadSizes(context, block.heads(), block.kv_heads(), true, &sizes) || !scalars) return false;
  if (block.has_hidden() && !context.Positive("hidden", block.hidden())) return false;
  const int64_t width = sizes.width;
  const int64_t hidden = block.has_hidden() ? block.hidden() : DefaultLlamaHidden(width);
  context.AddParameter("ln_1.weight", {width}, kInitOnes, false);
  AddMatrix(context, "attn.q", width, width, NormalInit(kMatrixStd), false);
  AddMatrix(context, "attn.k", sizes.kv_width, width, NormalInit(kMatrixStd), false);
  AddMatrix(context, "attn.v", sizes.kv_width, width, NormalInit(kMatrixStd), false);
  AddMatrix(context, "attn.o", width, width, ResidualInit(context), false);
  context.AddParameter("ln_2.weight", {width}, kInitOnes, false);
  AddMatrix(context, "mlp.gate", hidden, width, NormalInit(kMatrixStd), false);
  AddMatrix(context, "mlp.up", hidden, width, NormalInit(kMatrixStd), false);
  AddMatrix(context, "mlp.down", width, hidden, ResidualInit(context), false);
  context.SetOutput(context.input().shape);
  SetFlops(context, MatrixFlops(sizes, width, 2 * width + 2 * sizes.kv_width + 3 * hidden), ScoreFlops(sizes));
  context.info->ends.keeps_input = true;
  LayerCost& cost = context.info->cost;
  const int64_t row = context.input().Bytes(), hidden_row = kFloatBytes * sizes.positions * hidden;
  // x, ln_1's output; x + attention, ln_2's output; 1/rms of the two norms; gate's and up's outputs (their product, the
  // input of down, is computed again).
  cost.full_bytes = 2 * kFloatBytes * sizes.positions + SoftmaxBytes(sizes);
  cost.activation_bytes =
      4 * row + 2 * hidden_row + 2 * kFloatBytes * sizes.positions + AttentionBytes(sizes, true, false);
  // Attention's; gate's and up's input and the gradients of their outputs; down's input and its output's gradient.
  cost.deferred_bytes = AttentionDeferredBytes(sizes) + 2 * row + 3 * hidden_row;
  // SwiGLU's backward pass holds five hidden rows; attention's comes later, when the factors of SwiGLU wait already.
  const int64_t fullest = std::max(9 * row + 5 * hidden_row, 14 * row + 3 * hidden_row);
  cost.working_bytes = fullest - std::max(8 * row + 2 * hidden_row, cost.deferred_bytes);
  // Two norms, two additions, the rotation of queries and keys; silu and the product.
  cost.memory_bytes = (2 * 2.0 + 2 * 3.0 + 2 * 2.0) * row + 5.0 * hidden_row;
  return true;
}

}  // namespace penstock
