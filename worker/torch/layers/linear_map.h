// y = x W^T + b over rows: the part that linear layers, attention and the blocks share.
#ifndef PENSTOCK_WORKER_TORCH_LAYERS_LINEAR_MAP_H_
#define PENSTOCK_WORKER_TORCH_LAYERS_LINEAR_MAP_H_

#include "worker/torch/layers/layer_function.h"

namespace penstock {

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

  void AddGradients(const at::Tensor& x, const at::Tensor& gradient, GradientSink* sink) const {
    sink->AddProduct(weight, gradient.t(), x);
    if (bias != nullptr) sink->Add(bias, gradient.sum(0));
  }
};

}  // namespace penstock

#endif  // PENSTOCK_WORKER_TORCH_LAYERS_LINEAR_MAP_H_
