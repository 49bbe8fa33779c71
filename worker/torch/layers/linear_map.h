// y = x W^T + b over rows: the part that linear layers, attention and the blocks share.
#ifndef PENSTOCK_WORKER_TORCH_LAYERS_LINEAR_MAP_H_
#define PENSTOCK_WORKER_TORCH_LAYERS_LINEAR_MAP_H_

#include <memory>
#include <utility>

#include "worker/torch/layers/layer_function.h"

namespace penstock {

// parameter->gradient += a.mm(b), always by the same call: into the sum; of 16-bit factors, a product of their type
// that is added to it.
class ProductGradient final : public PendingGradient {
 public:
  ProductGradient(Parameter* parameter, at::Tensor a, at::Tensor b)
      : parameter_(parameter), a_(std::move(a)), b_(std::move(b)) {}

  void AddUp() override {
    if (a_.scalar_type() != at::kFloat) return parameter_->AddGradient(at::mm(a_, b_));
    if (parameter_->has_gradient) {
      parameter_->gradient.addmm_(a_, b_);
    } else {
      at::mm_out(parameter_->gradient, a_, b_);
    }
    parameter_->has_gradient = true;
  }

 private:
  Parameter* const parameter_;
  const at::Tensor a_;
  const at::Tensor b_;
};

struct LinearMap {
  Parameter* weight = nullptr;  // [out, in]
  Parameter* bias = nullptr;    // [out]; null: none

  // x: [rows, in]. Returns: [rows, out], contiguous.
  at::Tensor Forward(const at::Tensor& x) const {
    if (bias == nullptr) return at::mm(x, weight->value.t());
    return at::addmm(bias->value, x, weight->value.t());
  }

  // gradient: [rows, out]. Returns: of x, [rows, in].
  at::Tensor InputGradient(const at::Tensor& gradient) const { return at::mm(gradient, weight->value); }

  // x, gradient: held until the weight's gradient is computed.
  void AddGradients(const at::Tensor& x, const at::Tensor& gradient, GradientSink* sink) const {
    if (!weight->frozen) sink->Defer(std::make_unique<ProductGradient>(weight, gradient.t(), x));
    if (bias != nullptr && !bias->frozen) sink->Add(bias, gradient.sum(0, /*keepdim=*/false, at::kFloat));
  }
};

}  // namespace penstock

#endif  // PENSTOCK_WORKER_TORCH_LAYERS_LINEAR_MAP_H_
