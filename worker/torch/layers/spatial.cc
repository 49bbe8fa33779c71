#include <algorithm>
#include <utility>
#include <vector>

#include "worker/torch/layers/functions.h"

namespace penstock {
namespace {

// One of the gradients of a convolution: of x, or of the weight.
at::Tensor ConvolutionGradient(const at::Tensor& gradient, const at::Tensor& x, const at::Tensor& weight,
                               const ConvolutionShape& shape, bool of_x) {
  const auto gradients =
      at::convolution_backward(gradient, x, weight, std::nullopt, shape.stride, shape.padding, shape.dilation,
                               shape.transposed, shape.output_padding, shape.groups, {of_x, !of_x, false});
  return of_x ? std::get<0>(gradients) : std::get<1>(gradients);
}

class KernelGradient final : public PendingGradient {
 public:
  KernelGradient(Parameter* weight, at::Tensor x, at::Tensor gradient, ConvolutionShape shape)
      : weight_(weight), x_(std::move(x)), gradient_(std::move(gradient)), shape_(shape) {}

  void AddUp() override {
    weight_->AddGradient(ConvolutionGradient(gradient_, x_, weight_->value, shape_, /*of_x=*/false));
  }

 private:
  Parameter* const weight_;
  const at::Tensor x_;
  const at::Tensor gradient_;
  const ConvolutionShape shape_;
};

class ConvolutionFunction final : public LayerFunction {
 public:
  ConvolutionFunction(Parameter* weight, Parameter* bias, ConvolutionShape shape)
      : weight_(weight), bias_(bias), shape_(shape) {}

  at::Tensor Forward(at::Tensor x, const LayerContext&, Tape* tape) override {
    const std::optional<at::Tensor> bias = bias_ == nullptr ? std::nullopt : std::optional<at::Tensor>(bias_->value);
    at::Tensor y = at::convolution(x, weight_->value, bias, shape_.stride, shape_.padding, shape_.dilation,
                                   shape_.transposed, shape_.output_padding, shape_.groups);
    if (tape != nullptr) tape->Push(std::move(x));
    return y.contiguous();
  }

  at::Tensor Backward(at::Tensor gradient, const LayerContext& context, Tape* tape, GradientSink* sink) override {
    at::Tensor x = tape->Pop();
    at::Tensor dx;
    if (context.input_gradient) dx = ConvolutionGradient(gradient, x, weight_->value, shape_, /*of_x=*/true);
    // Not by the same call: oneDNN would compute the kernel's gradient beside it.
    if (bias_ != nullptr && !bias_->frozen) sink->Add(bias_, gradient.sum({0, 2, 3}, /*keepdim=*/false, at::kFloat));
    if (!weight_->frozen) {
      sink->Defer(std::make_unique<KernelGradient>(weight_, std::move(x), std::move(gradient), shape_));
    }
    return dx;
  }

 private:
  Parameter* const weight_;
  Parameter* const bias_;
  const ConvolutionShape shape_;
};

class MaxPoolFunction final : public LayerFunction {
 public:
  explicit MaxPoolFunction(const Window& window) : window_(window) {}

  at::Tensor Forward(at::Tensor x, const LayerContext&, Tape* tape) override {
    auto [y, indices] =
        at::max_pool2d_with_indices(x, window_.kernel, window_.stride, window_.padding, kDilation, false);
    if (tape != nullptr) {
      tape->Push(std::move(x));
      tape->Push(std::move(indices));
    }
    return y;
  }

  at::Tensor Backward(at::Tensor gradient, const LayerContext& context, Tape* tape, GradientSink*) override {
    const at::Tensor indices = tape->Pop(), x = tape->Pop();
    if (!context.input_gradient) return {};
    return at::max_pool2d_with_indices_backward(gradient, x, window_.kernel, window_.stride, window_.padding, kDilation,
                                                false, indices);
  }

 private:
  static constexpr std::array<int64_t, 2> kDilation = {1, 1};
  const Window window_;
};

class AvgPoolFunction final : public LayerFunction {
 public:
  AvgPoolFunction(const Window& window, bool count_padding) : window_(window), count_padding_(count_padding) {}

  at::Tensor Forward(at::Tensor x, const LayerContext&, Tape* tape) override {
    at::Tensor y = IsGlobal(x.sizes()) ? x.mean({2, 3}, /*keepdim=*/true, at::kFloat).to(x.scalar_type())
                                       : at::avg_pool2d(x, window_.kernel, window_.stride, window_.padding, false,
                                                        count_padding_, std::nullopt);
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
    return at::avg_pool2d_backward(gradient, at::empty(shape, gradient.options()), window_.kernel, window_.stride,
                                   window_.padding, false, count_padding_, std::nullopt);
  }

 private:
  // One window over the whole image: a mean, which torch computes many times faster than a pool.
  bool IsGlobal(at::IntArrayRef shape) const {
    return window_.padding[0] == 0 && window_.kernel[0] == shape[2] && window_.kernel[1] == shape[3];
  }

  const Window window_;
  const bool count_padding_;
};

class UpsampleFunction final : public LayerFunction {
 public:
  explicit UpsampleFunction(int64_t scale) : scale_(scale) {}

  at::Tensor Forward(at::Tensor x, const LayerContext&, Tape*) override {
    const int64_t n = x.size(0), c = x.size(1), h = x.size(2), w = x.size(3);
    return x.view({n, c, h, 1, w, 1}).expand({n, c, h, scale_, w, scale_}).reshape({n, c, h * scale_, w * scale_});
  }

  // Each pixel's copies, added up.
  at::Tensor Backward(at::Tensor gradient, const LayerContext& context, Tape*, GradientSink*) override {
    if (!context.input_gradient) return {};
    const int64_t n = gradient.size(0), c = gradient.size(1), h = gradient.size(2) / scale_;
    return gradient.view({n, c, h, scale_, gradient.size(3) / scale_, scale_}).sum({3, 5});
  }

 private:
  const int64_t scale_;
};

class PadFunction final : public LayerFunction {
 public:
  explicit PadFunction(std::array<int64_t, 4> pads) : pads_(pads) {
    for (size_t i = 0; i < pads.size(); ++i) back_[i] = -pads[i];
  }

  at::Tensor Forward(at::Tensor x, const LayerContext&, Tape*) override { return Padded(x, pads_); }

  // What was added goes, what was taken away had no part in the output.
  at::Tensor Backward(at::Tensor gradient, const LayerContext& context, Tape*, GradientSink*) override {
    return context.input_gradient ? Padded(gradient, back_) : at::Tensor();
  }

 private:
  static at::Tensor Padded(const at::Tensor& x, const std::array<int64_t, 4>& pads) {
    const auto [left, right, top, bottom] = pads;
    at::Tensor y = at::zeros({x.size(0), x.size(1), x.size(2) + top + bottom, x.size(3) + left + right}, x.options());
    Inside(y, top, bottom, left, right).copy_(Inside(x, -top, -bottom, -left, -right));
    return y;
  }

  // The part of the image less what is positive of each margin.
  static at::Tensor Inside(const at::Tensor& image, int64_t top, int64_t bottom, int64_t left, int64_t right) {
    const auto cut = [](const at::Tensor& x, int64_t dim, int64_t before, int64_t after) {
      const int64_t begin = std::max<int64_t>(before, 0);
      return x.narrow(dim, begin, x.size(dim) - begin - std::max<int64_t>(after, 0));
    };
    return cut(cut(image, 2, top, bottom), 3, left, right);
  }

  const std::array<int64_t, 4> pads_;  // left, right, top, bottom
  std::array<int64_t, 4> back_;
};

// Computes in float32 and rounds its output once.
class BatchNormFunction final : public LayerFunction {
 public:
  BatchNormFunction(Parameter* weight, Parameter* bias, double eps, BatchStatistics* statistics)
      : weight_(weight), bias_(bias), eps_(eps), statistics_(statistics) {}

  at::Tensor Forward(at::Tensor x, const LayerContext& context, Tape* tape) override {
    if (!context.training) {
      return std::get<0>(at::native_batch_norm(x.to(at::kFloat), weight_->master, bias_->master, statistics_->mean(),
                                               statistics_->variance(), /*training=*/false, /*momentum=*/0, eps_))
          .to(x.scalar_type());
    }
    // Moving averages that start at nothing and take everything: the micro-batch's mean and unbiased variance.
    const at::Tensor batch_mean = at::zeros_like(statistics_->mean());
    const at::Tensor batch_variance = at::zeros_like(statistics_->variance());
    const at::ScalarType type = x.scalar_type();
    auto [y, mean, invstd] = at::native_batch_norm(x.to(at::kFloat), weight_->master, bias_->master, batch_mean,
                                                   batch_variance, /*training=*/true, /*momentum=*/1, eps_);
    if (!context.again) statistics_->Add(context.micro_batch, x.numel() / x.size(1), batch_mean, batch_variance);
    if (tape != nullptr) {
      tape->Push(std::move(x));
      tape->Push(std::move(mean));
      tape->Push(std::move(invstd));
    }
    return y.to(type);
  }

  at::Tensor Backward(at::Tensor gradient, const LayerContext& context, Tape* tape, GradientSink* sink) override {
    const at::Tensor invstd = tape->Pop(), mean = tape->Pop(), x = tape->Pop();
    auto [dx, dweight, dbias] = at::native_batch_norm_backward(
        gradient.to(at::kFloat), x.to(at::kFloat), weight_->master, std::nullopt, std::nullopt, mean, invstd,
        /*train=*/true, eps_, {context.input_gradient, !weight_->frozen, !bias_->frozen});
    if (dweight.defined()) sink->Add(weight_, std::move(dweight));
    if (dbias.defined()) sink->Add(bias_, std::move(dbias));
    return dx.defined() ? dx.to(x.scalar_type()) : dx;
  }

 private:
  Parameter* const weight_;
  Parameter* const bias_;
  const double eps_;
  BatchStatistics* const statistics_;
};

}  // namespace

LayerFunctionPtr MakeConvolution(Parameter* weight, Parameter* bias, ConvolutionShape shape) {
  return std::make_unique<ConvolutionFunction>(weight, bias, shape);
}

LayerFunctionPtr MakeMaxPool(const Window& window) { return std::make_unique<MaxPoolFunction>(window); }

LayerFunctionPtr MakeAvgPool(const Window& window, bool count_padding) {
  return std::make_unique<AvgPoolFunction>(window, count_padding);
}

LayerFunctionPtr MakeUpsample(int64_t scale) { return std::make_unique<UpsampleFunction>(scale); }

LayerFunctionPtr MakePad(std::array<int64_t, 4> pads) { return std::make_unique<PadFunction>(pads); }

LayerFunctionPtr MakeBatchNorm(Parameter* weight, Parameter* bias, double eps, BatchStatistics* statistics) {
  return std::make_unique<BatchNormFunction>(weight, bias, eps, statistics);
}

}  // namespace penstock
