// Rules of the kinds that multiply by a kernel or slide a window: linear, lm_head, conv2d, max_pool, avg_pool.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "model/layer_rules.h"

namespace penstock {
namespace {

// A kernel's gradient costs as much as the output, and so does the input's. It is computed from the input and the
// output's gradient, which wait for it.
// REQUIRES: shapes and forward_flops are set.
void SetKernelCost(const RuleContext& context) {
  LayerCost& cost = context.info->cost;
  const int64_t input = context.input().Bytes(), output = context.info->output.Bytes();
  cost.backward_flops = 2 * cost.forward_flops;
  cost.weight_flops = cost.forward_flops;
  cost.activation_bytes = input;
  context.info->ends.keeps_input = true;
  cost.deferred_bytes = input + output;
  cost.working_bytes = input;  // its gradient
}

// x @ weight^T (+ bias) over the last dimension: 2 FLOPs a weight and position forward, twice that backward.
void Project(const RuleContext& context, int64_t out, bool bias, Init init, Init bias_init) {
  const int64_t in = context.Width();
  context.AddParameter("weight", {out, in}, init, true);
  if (bias) context.AddParameter("bias", {out}, bias_init, false);
  std::vector<int64_t> shape = context.input().shape;
  shape.back() = out;
  context.SetOutput(shape);
  context.info->cost.forward_flops = 2.0 * context.Positions() * in * out;
  SetKernelCost(context);
}

// Places where a window fits along one side.
// REQUIRES: stride >= 1.
int64_t Windows(int64_t size, int64_t kernel, int64_t stride, int64_t padding) {
  return (size + 2 * padding - kernel) / stride + 1;
}

// Checks a window over [channels, height, width].
bool WindowFits(const RuleContext& context, int64_t kernel, int64_t stride, int64_t padding) {
  const bool sizes = context.Positive("kernel", kernel) & context.Positive("stride", stride);
  if (!sizes || !context.FloatInput(3, "[channels, height, width]")) return false;
  if (padding < 0 || padding > kMaxSize) {
    return context.Fail(absl::StrCat("padding is ", padding, ": it must be between 0 and ", kMaxSize));
  }
  const int64_t side = std::min(context.input().shape[1], context.input().shape[2]);
  if (side + 2 * padding >= kernel) return true;
  return context.Fail(absl::StrCat("a kernel of ", kernel, " does not fit into ", ShapeText(context.input().shape),
                                   " with padding ", padding));
}

// The shape that a window makes of [channels, height, width].
std::vector<int64_t> Slide(const std::vector<int64_t>& in, int64_t channels, int64_t kernel, int64_t stride,
                           int64_t padding) {
  return {channels, Windows(in[1], kernel, stride, padding), Windows(in[2], kernel, stride, padding)};
}

bool PoolRule(const RuleContext& context, const v1::Pool& pool) {
  if (!WindowFits(context, pool.kernel(), pool.stride(), pool.padding())) return false;
  if (pool.padding() > pool.kernel() / 2) {
    return context.Fail(absl::StrCat("padding is ", pool.padding(), ": at most half of the kernel, ", pool.kernel() / 2,
                                     ", is allowed"));
  }
  const std::vector<int64_t>& in = context.input().shape;
  context.SetOutput(Slide(in, in[0], pool.kernel(), pool.stride(), pool.padding()));
  LayerCost& cost = context.info->cost;
  cost.activation_bytes = context.input().Bytes();
  cost.working_bytes = context.input().Bytes() + context.info->output.Bytes();
  const double reads = static_cast<double>(context.info->output.Bytes()) * pool.kernel() * pool.kernel();
  cost.memory_bytes = reads + context.info->output.Bytes();
  return true;
}

// oneDNN multiplies copies of its own, in blocks of 16 channels, but where the kernel is a single pixel; with a stride
// it may take a way that holds three tensors of the input's size. Found by measuring, with AVX-512.
int64_t ConvolutionWorkingBytes(const RuleContext& context) {
  const v1::Conv2d& conv = context.layer.conv2d();
  const auto blocked = [](const TensorType& image) {
    return image.Bytes() / image.shape[0] * ((image.shape[0] + 15) / 16 * 16);
  };
  const int64_t input = context.input().Bytes(), copies = blocked(context.input()) + blocked(context.info->output);
  if (conv.stride() == 1) {
    return conv.kernel() == 1 ? input : std::max(2 * input, copies);
  }
  return conv.kernel() > 1 && conv.out() < 16 ? 3 * input : std::max(3 * input, copies);
}

}  // namespace

bool LinearRule(const RuleContext& context) {
  const v1::Linear& linear = context.layer.linear();
  if (!context.Positive("out", linear.out()) || !context.FloatInput()) return false;
  const Init init = FanInInit(context.Width());
  Project(context, linear.out(), linear.bias(), init, init);
  return true;
}

bool LmHeadRule(const RuleContext& context) {
  const v1::LmHead& head = context.layer.lm_head();
  if (!context.Positive("vocab", head.vocab()) || !context.FloatInput(2, "[positions, width]")) return false;
  Project(context, head.vocab(), head.bias(), NormalInit(0.02), kInitZeros);
  return true;
}

bool Conv2dRule(const RuleContext& context) {
  const v1::Conv2d& conv = context.layer.conv2d();
  if (!context.Positive("out", conv.out())) return false;
  if (!WindowFits(context, conv.kernel(), conv.stride(), conv.padding())) return false;
  const std::vector<int64_t>& in = context.input().shape;
  const ParameterSpec weight = {"", {conv.out(), in[0], conv.kernel(), conv.kernel()}, {}, false};
  const int64_t fan_in = std::max<int64_t>(weight.Elements() / conv.out(), 1);
  context.AddParameter("weight", weight.shape, FanInInit(fan_in), true);
  if (conv.bias()) context.AddParameter("bias", {conv.out()}, FanInInit(fan_in), false);
  context.SetOutput(Slide(in, conv.out(), conv.kernel(), conv.stride(), conv.padding()));
  context.info->cost.forward_flops = 2.0 * context.info->output.Elements() * fan_in;
  context.info->cost.gradient_bytes = weight.Elements() * DTypeBytes(v1::DTYPE_FLOAT32);
  SetKernelCost(context);
  context.info->cost.working_bytes = ConvolutionWorkingBytes(context);
  return true;
}

// The backward pass needs the place of each maximum, an int64 an output.
bool MaxPoolRule(const RuleContext& context) {
  if (!PoolRule(context, context.layer.max_pool())) return false;
  context.info->ends.keeps_input = true;
  context.info->cost.activation_bytes += context.info->output.Elements() * DTypeBytes(v1::DTYPE_INT64);
  return true;
}

// The backward pass needs the input's shape alone.
bool AvgPoolRule(const RuleContext& context) {
  if (!PoolRule(context, context.layer.avg_pool())) return false;
  LayerCost& cost = context.info->cost;
  cost.activation_bytes = 0;
  // A tensor of the input's shape tells it to torch, but where one window covers the image.
  const v1::Pool& pool = context.layer.avg_pool();
  const std::vector<int64_t>& in = context.input().shape;
  const bool global = pool.padding() == 0 && pool.kernel() == in[1] && pool.kernel() == in[2];
  if (!global) cost.working_bytes += context.input().Bytes();
  return true;
}

}  // namespace penstock
