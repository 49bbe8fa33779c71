// Rules of the kinds over images [channels, height, width]: conv2d, conv_transpose2d, pools, upsample, pad.
#include <algorithm>
#include <array>
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"
#include "model/layer_kind.h"
#include "model/layer_rules.h"

namespace penstock {
namespace {

using Sides = std::array<int64_t, 2>;

// Pixels from the first to the last that a window touches.
int64_t Reach(const Window& window, int side) { return window.dilation * (window.kernel[side] - 1) + 1; }

bool NotNegative(const RuleContext& context, absl::string_view key, int64_t value) {
  if (value >= 0 && value <= kMaxSize) return true;
  return context.Fail(absl::StrCat(key, " is ", value, ": it must be between 0 and ", kMaxSize));
}

// Checks a window over [channels, height, width].
bool WindowFits(const RuleContext& context, const Window& window) {
  bool sizes = context.Positive("dilation", window.dilation);
  for (const int side : {0, 1}) {
    if (side == 1 && window.kernel[1] == window.kernel[0] && window.stride[1] == window.stride[0]) break;
    const char* const suffix = side == 0 ? "" : "_width";
    sizes = sizes & context.Positive(absl::StrCat("kernel", suffix), window.kernel[side]) &
            context.Positive(absl::StrCat("stride", suffix), window.stride[side]);
  }
  if (!sizes || !context.FloatInput(3, "[channels, height, width]")) return false;
  for (const int side : {0, 1}) {
    const int64_t padding = window.padding[side];
    if (!NotNegative(context, side == 0 ? "padding" : "padding_width", padding)) return false;
    // Not a product of two sizes that a file may give.
    if (window.kernel[side] > kMaxSize / window.dilation) return context.Fail("kernel and dilation reach too far");
    if (context.input().shape[1 + side] + 2 * padding >= Reach(window, side)) continue;
    return context.Fail(absl::StrCat("a kernel of ", Reach(window, side), " does not fit into ",
                                     ShapeText(context.input().shape), " with padding ", padding));
  }
  return true;
}

// The shape that a window makes of [channels, height, width].
std::vector<int64_t> Slide(const std::vector<int64_t>& in, int64_t channels, const Window& window) {
  const auto places = [&](int side) {
    return (in[1 + side] + 2 * window.padding[side] - Reach(window, side)) / window.stride[side] + 1;
  };
  return {channels, places(0), places(1)};
}

bool PoolRule(const RuleContext& context, const v1::Pool& pool) {
  const Window window = WindowOf(pool);
  if (!WindowFits(context, window)) return false;
  if (pool.padding() > pool.kernel() / 2) {
    return context.Fail(absl::StrCat("padding is ", pool.padding(), ": at most half of the kernel, ", pool.kernel() / 2,
                                     ", is allowed"));
  }
  const std::vector<int64_t>& in = context.input().shape;
  context.SetOutput(Slide(in, in[0], window));
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
  const Window window = WindowOf(conv);
  const auto blocked = [](const TensorType& image) {
    return image.Bytes() / image.shape[0] * ((image.shape[0] + 15) / 16 * 16);
  };
  const int64_t input = context.input().Bytes(), copies = blocked(context.input()) + blocked(context.info->output);
  const bool pixel = window.kernel == Sides{1, 1};
  // In groups of several channels each it takes a way without copies.
  if (conv.groups() > 1 && conv.groups() < context.input().shape[0]) return input + context.info->output.Bytes();
  if (window.stride == Sides{1, 1}) return pixel ? input : std::max(2 * input, copies);
  return !pixel && conv.out() < 16 ? 3 * input : std::max(3 * input, copies);
}

// Adds the weight of this shape, whose first dimensions are not those of a fan, and the bias.
void AddKernel(const RuleContext& context, std::vector<int64_t> shape, int64_t fan_in, int64_t out, bool bias) {
  int64_t elements = 1;
  for (const int64_t size : shape) elements = std::min(elements, kMaxElements) * size;
  context.info->cost.gradient_bytes = std::min(elements, kMaxElements) * DTypeBytes(v1::DTYPE_FLOAT32);
  context.AddParameter("weight", std::move(shape), FanInInit(fan_in), true);
  if (bias) context.AddParameter("bias", {out}, FanInInit(fan_in), false);
}

}  // namespace

bool Conv2dRule(const RuleContext& context) {
  const v1::Conv2d& conv = context.layer.conv2d();
  const Window window = WindowOf(conv);
  if (!(context.Positive("out", conv.out()) & context.Positive("groups", conv.groups()))) return false;
  if (!WindowFits(context, window)) return false;
  const std::vector<int64_t>& in = context.input().shape;
  if (in[0] % conv.groups() != 0 || conv.out() % conv.groups() != 0) {
    return context.Fail(absl::StrCat("groups is ", conv.groups(), ", which must divide the channels that come, ", in[0],
                                     ", and those that go, ", conv.out()));
  }
  const ParameterSpec fan = {"", {in[0] / conv.groups(), window.kernel[0], window.kernel[1]}, {}, false};
  const int64_t fan_in = fan.Elements();
  AddKernel(context, {conv.out(), fan.shape[0], fan.shape[1], fan.shape[2]}, fan_in, conv.out(), conv.bias());
  context.SetOutput(Slide(in, conv.out(), window));
  context.info->cost.forward_flops = 2.0 * context.info->output.Elements() * fan_in;
  SetKernelCost(context);
  context.info->cost.working_bytes = ConvolutionWorkingBytes(context);
  return true;
}

// The reverse of a convolution: each pixel adds the kernel, times itself, into the output.
bool ConvTranspose2dRule(const RuleContext& context) {
  const v1::ConvTranspose2d& conv = context.layer.conv_transpose2d();
  const bool sizes = context.Positive("out", conv.out()) & context.Positive("kernel", conv.kernel()) &
                     context.Positive("stride", conv.stride()) & NotNegative(context, "padding", conv.padding()) &
                     NotNegative(context, "output_padding", conv.output_padding());
  if (!sizes || !context.FloatInput(3, "[channels, height, width]")) return false;
  if (conv.output_padding() >= conv.stride()) {
    return context.Fail(
        absl::StrCat("output_padding is ", conv.output_padding(), ": it must be below the stride, ", conv.stride()));
  }
  const std::vector<int64_t>& in = context.input().shape;
  std::vector<int64_t> shape = {conv.out()};
  for (const int side : {1, 2}) {
    if (in[side] > kMaxSize / conv.stride()) return context.Fail("its output is too large");
    shape.push_back((in[side] - 1) * conv.stride() - 2 * conv.padding() + conv.kernel() + conv.output_padding());
    if (shape.back() >= 1) continue;
    return context.Fail(absl::StrCat("padding ", conv.padding(), " leaves nothing of ", ShapeText(in)));
  }
  const ParameterSpec fan = {"", {conv.out(), conv.kernel(), conv.kernel()}, {}, false};
  AddKernel(context, {in[0], conv.out(), conv.kernel(), conv.kernel()}, fan.Elements(), conv.out(), conv.bias());
  context.SetOutput(std::move(shape));
  context.info->cost.forward_flops = 2.0 * context.input().Elements() * fan.Elements();
  SetKernelCost(context);
  context.info->cost.working_bytes = 2 * std::max(context.input().Bytes(), context.info->output.Bytes());
  return true;
}

// The backward pass needs the place of each maximum, an int64 an output.
bool MaxPoolRule(const RuleContext& context) {
  if (context.layer.max_pool().has_count_padding()) {
    return context.Fail("has count_padding, which belongs to avg_pool: no maximum lies in the padding");
  }
  if (!PoolRule(context, context.layer.max_pool())) return false;
  context.info->ends.keeps_input = true;
  context.info->cost.full_bytes = context.info->output.Elements() * DTypeBytes(v1::DTYPE_INT64);
  context.info->cost.activation_bytes += context.info->cost.full_bytes;
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

bool UpsampleRule(const RuleContext& context) {
  const int64_t scale = context.layer.upsample().scale();
  if (!context.Positive("scale", scale) || !context.FloatInput(3, "[channels, height, width]")) return false;
  const std::vector<int64_t>& in = context.input().shape;
  if (std::max(in[1], in[2]) > kMaxSize / scale) return context.Fail("its output is too large");
  context.SetOutput({in[0], in[1] * scale, in[2] * scale});
  const int64_t input = context.input().Bytes(), output = context.info->output.Bytes();
  context.info->cost.working_bytes = input + output;
  context.info->cost.memory_bytes = static_cast<double>(input + output);
  return true;
}

bool PadRule(const RuleContext& context) {
  const v1::Pad& pad = context.layer.pad();
  if (!context.FloatInput(3, "[channels, height, width]")) return false;
  const std::vector<int64_t>& in = context.input().shape;
  std::vector<int64_t> shape = {in[0]};
  for (const auto& [size, before, after] :
       {std::tuple{in[1], pad.top(), pad.bottom()}, {in[2], pad.left(), pad.right()}}) {
    if (std::max(before, after) > kMaxSize || std::min(before, after) < -kMaxSize) {
      return context.Fail("pads by more than any image has");
    }
    // What is taken away lies in the image, not in what is added on the other side.
    if (size + std::min<int64_t>(before, 0) + std::min<int64_t>(after, 0) < 1) {
      return context.Fail(absl::StrCat("takes away all of ", ShapeText(in)));
    }
    shape.push_back(size + before + after);
  }
  context.SetOutput(std::move(shape));
  const int64_t input = context.input().Bytes(), output = context.info->output.Bytes();
  context.info->cost.working_bytes = input + output;
  context.info->cost.memory_bytes = static_cast<double>(input + output);
  return true;
}

}  // namespace penstock
