#include <utility>

#include "worker/torch/layers/functions.h"

namespace penstock {
namespace {

class SequenceFunction final : public LayerFunction {
 public:
  explicit SequenceFunction(std::vector<LayerFunctionPtr> parts) : parts_(std::move(parts)) {}

  at::Tensor Forward(at::Tensor x, const LayerContext& context, Tape* tape) override {
    for (const LayerFunctionPtr& part : parts_) x = part->Forward(std::move(x), context, tape);
    return x;
  }

  at::Tensor Backward(at::Tensor gradient, const LayerContext& context, Tape* tape, GradientSink* sink) override {
    LayerContext inner = context;
    for (size_t i = parts_.size(); i-- > 0;) {
      inner.input_gradient = i > 0 || context.input_gradient;
      gradient = parts_[i]->Backward(std::move(gradient), inner, tape, sink);
    }
    return gradient;
  }

 private:
  const std::vector<LayerFunctionPtr> parts_;
};

class ResidualFunction final : public LayerFunction {
 public:
  explicit ResidualFunction(LayerFunctionPtr block) : block_(std::move(block)) {}

  at::Tensor Forward(at::Tensor x, const LayerContext& context, Tape* tape) override {
    return AddInto(block_->Forward(x, context, tape), x);
  }

  at::Tensor Backward(at::Tensor gradient, const LayerContext& context, Tape* tape, GradientSink* sink) override {
    at::Tensor through = block_->Backward(gradient, context, tape, sink);
    if (!through.defined()) return context.input_gradient ? gradient : at::Tensor();
    return AddInto(std::move(through), gradient);
  }

 private:
  const LayerFunctionPtr block_;
};

class SwiGluFunction final : public LayerFunction {
 public:
  SwiGluFunction(LinearMap gate, LinearMap up, LinearMap down) : gate_(gate), up_(up), down_(down) {}

  at::Tensor Forward(at::Tensor x, const LayerContext&, Tape* tape) override {
    const at::Tensor rows = AsRows(x);
    at::Tensor gate = gate_.Forward(rows), up = up_.Forward(rows);
    const at::Tensor y = down_.Forward(at::silu(gate).mul_(up));
    std::vector<int64_t> shape = x.sizes().vec();
    if (tape != nullptr) {
      tape->Push(std::move(x));
      tape->Push(std::move(gate));
      tape->Push(std::move(up));
    }
    return y.view(shape);
  }

  at::Tensor Backward(at::Tensor gradient, const LayerContext& context, Tape* tape, GradientSink* sink) override {
    at::Tensor up = tape->Pop(), gate = tape->Pop();
    const at::Tensor x = tape->Pop(), rows = AsRows(gradient), input = AsRows(x);
    at::Tensor activated = at::silu(gate);
    at::Tensor hidden_gradient = down_.InputGradient(rows);
    down_.AddGradients(at::mul(activated, up), rows, sink);
    const at::Tensor up_gradient = activated.mul_(hidden_gradient);
    at::Tensor gate_gradient = hidden_gradient.mul_(up);
    up.reset();
    at::silu_backward_out(gate_gradient, gate_gradient, gate);
    gate.reset();
    gate_.AddGradients(input, gate_gradient, sink);
    up_.AddGradients(input, up_gradient, sink);
    if (!context.input_gradient) return {};
    at::Tensor dx = gate_.InputGradient(gate_gradient);
    dx.add_(up_.InputGradient(up_gradient));
    return dx.view(x.sizes());
  }

 private:
  const LinearMap gate_;
  const LinearMap up_;
  const LinearMap down_;
};

}  // namespace

LayerFunctionPtr MakeSequence(std::vector<LayerFunctionPtr> parts) {
  return std::make_unique<SequenceFunction>(std::move(parts));
}

LayerFunctionPtr MakeResidual(LayerFunctionPtr block) { return std::make_unique<ResidualFunction>(std::move(block)); }

LayerFunctionPtr MakeSwiGlu(LinearMap gate, LinearMap up, LinearMap down) {
  return std::make_unique<SwiGluFunction>(gate, up, down);
}

}  // namespace penstock
