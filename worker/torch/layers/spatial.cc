#include <utility>
#include <vector>

#include "worker/torch/layers/functions.h"

namespace penstock {
namespace {

struct ConvolutionShape {
  std::array<int64_t, 2> stride;
  std::array<int64_t, 2> padding;
};
constexpr std::array<int64_t, 2> kOne = {1, 1};
constexpr std::array<int64_t, 2> kZero = {0, 0};

class KernelGradient final : public PendingGradient {
 public:
  KernelGradient(Parameter* weight, at::Tensor x, at::Tensor gradient, ConvolutionShape shape)
      : weight_(weight), x_(std::move(x)), gradient_(std::move(gradient)), shape_(shape) {}

  void AddUp() override {
    weight_->AddGradient(
        std::get<1>(at::convolution_backward(gradient_, x_, weight_->value, std::nullopt, shape_.stride, shape_.padding,
                                             kOne, /*transposed=*/false, kZero, /*groups=*/1, {false, true, false})));
  }

 private:
  Parameter* const weight_;
  const at::Tensor x_;
  const at::Tensor gradient_;
  const ConvolutionShape shape_;
};

class Conv2dFunction final : public LayerFunction {
 public:
  Conv2dFunction(Parameter* weight, Parameter* bias, int64_t stride, int64_t padding)
      : weight_(weight), bias_(bias), shape_({{stride, stride}, {padding, padding}}) {}

  at::Tensor Forward(at::Tensor x, const LayerContext&, Tape* tape) override {
    const std::optional<at::Tensor> bias = bias_ == nullptr ? std::nullopt : std::optional<at::Tensor>(bias_->value);
    at::Tensor y = at::convolution(x, weight_->value, bias, shape_.stride, shape_.padding, kOne,
                                   /*transposed=*/false, kZero, /*groups=*/1);
    if (tape != nullptr) tape->Push(std::move(x));
    return y.contiguous();
  }

  at::Tensor Backward(at::Tensor gradient, const LayerContext& context, Tape* tape, GradientSink* sink) override {
    at::Tensor x = tape->Pop();
    at::Tensor dx;
    if (context.input_gradient) {
      dx =
          std::get<0>(at::convolution_backward(gradient, x, weight_->value, std::nullopt, shape_.stride, shape_.padding,
                                               kOne, /*transposed=*/false, kZero, /*groups=*/1, {true, false, false}));
    }
    // Not by the same call: oneDNN would compute the kernel's gradient beside it.
    if (bias_ != nullptr) sink->Add(bias_, gradient.sum({0, 2, 3}));
    sink->Defer(std::make_unique<KernelGradient>(weight_, std::move(x), std::move(gradient), shape_));
    return dx;
  }

 private:
  Parameter* const weight_;
  Parameter* const bias_;
  const ConvolutionShape shape_;
};

struct PoolArgs {
  explicit PoolArgs(PoolShape shape)
      : kernel({shape.kernel, shape.kernel}),
        stride({shape.stride, shape.stride}),
        padding({shape.padding, shape.padding}) {}

  std::array<int64_t, 2> kernel, stride, padding;
};

class MaxPoolFunction final : public LayerFunction {
 public:
  explicit MaxPoolFunction(PoolShape shape) : args_(shape) {}

  at::Tensor Forward(at::Tensor x, const LayerContext&, Tape* tape) override {
    auto [y, indices] = at::max_pool2d_with_indices(x, args_.kernel, args_.stride, args_.padding, kDilation, false);
    if (tape != nullptr) {
      tape->Push(std::move(x));
      tape->Push(std::move(indices));
    }
    return y;
  }

  at::Tensor Backward(at::Tensor gradient, const LayerContext& context, Tape* tape, GradientSink*) override {
    const at::Tensor indices = tape->Pop(), x = tape->Pop();
    if (!context.input_gradient) return {};
    return at::max_pool2d_with_indices_backward(gradient, x, args_.kernel, args_.stride, args_.padding, kDilation,
                                                false, indices);
  }

 private:
  static constexpr std::array<int64_t, 2> kDilation = {1, 1};
  const PoolArgs args_;
};

class AvgPoolFunction final : public LayerFunction {
 public:
  explicit AvgPoolFunction(PoolShape shape) : args_(shape) {}

  at::Tensor Forward(at::Tensor x, const LayerContext&, Tape* tape) override {
    at::Tensor y = IsGlobal(x.sizes())
                       ? x.mean({2, 3}, /*keepdim=*/true)
                       : at::avg_pool2d(x, args_.kernel, args_.stride, args_.padding, false, true, std::nullopt);
    if (tape != nullptr) tape->PushShape(x.sizes().vec());
    return y;
  }

  at::Tensor Backward(at::Tensor gradient, const LayerContext& context, Tape* tape, GradientSink*) override {
    const std::vector<int64_t> shape = tape->PopShape();
    if (!context.input_gradient) return {};
    if (IsGlobal(shape)) {
      return gradient.div(static_cast<double>(shape[2] * shape[3])).expand(shape).contiguous();
    }
    // Only the shape of x is read.
    return at::avg_pool2d_backward(gradient, at::empty(shape, gradient.options()), args_.kernel, args_.stride,
                                   args_.padding, false, true, std::nullopt);
  }

 private:
  // One window over the whole image: a mean, which torch computes many times faster than a pool.
  bool IsGlobal(at::IntArrayRef shape) const {
    return args_.padding[0] == 0 && args_.kernel[0] == shape[2] && args_.kernel[1] == shape[3];
  }

  const PoolArgs args_;
};

class BatchNormFunction final : public LayerFunction {
 public:
  BatchNormFunction(Parameter* weight, Parameter* bias, double eps, BatchStatistics* statistics)
      : weight_(weight), bias_(bias), eps_(eps), statistics_(statistics) {}

  at::Tensor Forward(at::Tensor x, const LayerContext& context, Tape* tape) override {
    if (!context.training) {
      return std::get<0>(at::native_batch_norm(x, weight_->value, bias_->value, statistics_->mean(),
                                               statistics_->variance(), /*training=*/false, /*momentum=*/0, eps_));
    }
    // Moving averages that start at nothing and take everything: the micro-batch's mean and unbiased variance.
    const at::Tensor batch_mean = at::zeros_like(statistics_->mean());
    const at::Tensor batch_variance = at::zeros_like(statistics_->variance());
    auto [y, mean, invstd] = at::native_batch_norm(x, weight_->value, bias_->value, batch_mean, batch_variance,
                                                   /*training=*/true, /*momentum=*/1, eps_);
    if (!context.again) statistics_->Add(context.micro_batch, x.numel() / x.size(1), batch_mean, batch_variance);
    if (tape != nullptr) {
      tape->Push(std::move(x));
      tape->Push(std::move(mean));
      tape->Push(std::move(invstd));
    }
    return y;
  }

  at::Tensor Backward(at::Tensor gradient, const LayerContext& context, Tape* tape, GradientSink* sink) override {
    const at::Tensor invstd = tape->Pop(), mean = tape->Pop(), x = tape->Pop();
    auto [dx, dweight, dbias] =
        at::native_batch_norm_backward(gradient, x, weight_->value, std::nullopt, std::nullopt, mean, invstd,
                                       /*train=*/true, eps_, {context.input_gradient, true, true});
    sink->Add(weight_, std::move(dweight));
    sink->Add(bias_, std::move(dbias));
    return dx;
  }

 private:
  Parameter* const weight_;
  Parameter* const bias_;
  const double eps_;
  BatchStatistics* const statistics_;
};

}  // namespace

LayerFunctionPtr MakeConv2d(Parameter* weight, Parameter* bias, int64_t stride, int64_t padding) {
  return std::make_unique<Conv2dFunction>(weight, bias, stride, padding);
}

LayerFunctionPtr MakeMaxPool(PoolShape shape) { return std::make_unique<MaxPoolFunction>(shape); }

LayerFunctionPtr MakeAvgPool(PoolShape shape) { return std::make_unique<AvgPoolFunction>(shape); }

LayerFunctionPtr MakeBatchNorm(Parameter* weight, Parameter* bias, double eps, BatchStatistics* statistics) {
  return std::make_unique<BatchNormFunction>(weight, bias, eps, statistics);
}

}  // namespace penstock
