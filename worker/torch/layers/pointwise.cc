#include <string>
#include <utility>

#include "common/philox.h"
#include "worker/torch/layers/functions.h"

namespace penstock {
namespace {

class ActivationFunction final : public LayerFunction {
 public:
  explicit ActivationFunction(Activation activation) : activation_(activation) {}

  at::Tensor Forward(at::Tensor x, const LayerContext&, Tape* tape) override {
    at::Tensor y = Apply(x);
    if (tape != nullptr) tape->Push(KeepsOutput() ? y : std::move(x));
    return y;
  }

  at::Tensor Backward(at::Tensor gradient, const LayerContext& context, Tape* tape, GradientSink*) override {
    const at::Tensor kept = tape->Pop();
    if (!context.input_gradient) return {};
    at::Tensor out = IsSole(gradient) ? gradient : at::empty_like(gradient);
    switch (activation_) {
      case Activation::kRelu:
        at::threshold_backward_out(out, gradient, kept, 0);
        break;
      case Activation::kGeluTanh:
        at::gelu_backward_out(out, gradient, kept, "tanh");
        break;
      case Activation::kGeluExact:
        at::gelu_backward_out(out, gradient, kept, "none");
        break;
      case Activation::kSilu:
        at::silu_backward_out(out, gradient, kept);
        break;
      case Activation::kTanh:
        at::tanh_backward_out(out, gradient, kept);
        break;
      case Activation::kSigmoid:
        at::sigmoid_backward_out(out, gradient, kept);
        break;
    }
    return out;
  }

 private:
  bool KeepsOutput() const {
    return activation_ == Activation::kRelu || activation_ == Activation::kTanh || activation_ == Activation::kSigmoid;
  }

  at::Tensor Apply(const at::Tensor& x) const {
    switch (activation_) {
      case Activation::kRelu:
        return at::relu(x);
      case Activation::kGeluTanh:
        return at::gelu(x, "tanh");
      case Activation::kGeluExact:
        return at::gelu(x, "none");
      case Activation::kSilu:
        return at::silu(x);
      case Activation::kTanh:
        return at::tanh(x);
      case Activation::kSigmoid:
        return at::sigmoid(x);
    }
    return x;
  }

  const Activation activation_;
};

// The mask follows from (seed, name, step, micro-batch) alone, so that every plan drops the same elements.
class DropoutFunction final : public LayerFunction {
 public:
  DropoutFunction(std::string name, double p) : name_(std::move(name)), p_(p) {}

  at::Tensor Forward(at::Tensor x, const LayerContext& context, Tape* tape) override {
    if (!context.training || p_ == 0) return x;
    at::Tensor mask = at::empty(x.sizes(), at::kFloat);
    Philox(context.seed, name_, context.step, context.micro_batch)
        .DropoutMask(mask.mutable_data_ptr<float>(), mask.numel(), p_);
    mask = mask.to(x.device());
    // In 16 bits a mask of 1 / (1 - p) would be rounded, the same way everywhere: there it holds ones.
    if (x.scalar_type() != at::kFloat) mask = mask.ne(0).to(x.scalar_type());
    at::Tensor y = Drop(x, mask);
    if (tape != nullptr) tape->Push(std::move(mask));
    return y;
  }

  at::Tensor Backward(at::Tensor gradient, const LayerContext& context, Tape* tape, GradientSink*) override {
    if (!context.training || p_ == 0) return gradient;
    return Drop(gradient, tape->Pop());
  }

 private:
  at::Tensor Drop(const at::Tensor& x, const at::Tensor& mask) const {
    at::Tensor y = at::mul(x, mask);
    if (x.scalar_type() != at::kFloat) y.mul_(1 / (1 - p_));
    return y;
  }

  const std::string name_;
  const double p_;
};

class FlattenFunction final : public LayerFunction {
 public:
  at::Tensor Forward(at::Tensor x, const LayerContext&, Tape* tape) override {
    if (tape != nullptr) tape->PushShape(x.sizes().vec());
    return x.view({x.size(0), -1});
  }

  at::Tensor Backward(at::Tensor gradient, const LayerContext&, Tape* tape, GradientSink*) override {
    return gradient.view(tape->PopShape());
  }
};

// The part of a delay that stands for weight gradients.
class DelayGradient final : public PendingGradient {
 public:
  DelayGradient(Clock* clock, absl::Duration duration) : clock_(clock), duration_(duration) {}

  void AddUp() override { clock_->Sleep(duration_); }

 private:
  Clock* const clock_;
  const absl::Duration duration_;
};

// Stands for a network's compute when the runtime itself is measured.
class DelayFunction final : public LayerFunction {
 public:
  DelayFunction(Clock* clock, DelayTimes times) : clock_(clock), times_(times) {}

  at::Tensor Forward(at::Tensor x, const LayerContext&, Tape*) override {
    clock_->Sleep(times_.forward);
    return x;
  }

  at::Tensor Backward(at::Tensor gradient, const LayerContext&, Tape*, GradientSink* sink) override {
    clock_->Sleep(times_.input_gradient);
    sink->Defer(std::make_unique<DelayGradient>(clock_, times_.weight_gradient));
    return gradient;
  }

 private:
  Clock* const clock_;
  const DelayTimes times_;
};

}  // namespace

LayerFunctionPtr MakeActivation(Activation activation) { return std::make_unique<ActivationFunction>(activation); }

LayerFunctionPtr MakeDropout(std::string name, double p) {
  return std::make_unique<DropoutFunction>(std::move(name), p);
}

LayerFunctionPtr MakeFlatten() { return std::make_unique<FlattenFunction>(); }

LayerFunctionPtr MakeDelay(Clock* clock, DelayTimes times) { return std::make_unique<DelayFunction>(clock, times); }

}  // namespace penstock
