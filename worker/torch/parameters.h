// A rank's parameters and buffers. Parameters of one group lie in one flat buffer, their gradients in another, each
// slice aligned to limits::kTensorAlignment and padded to it, so that an optimizer's update is one call and no element
// is in the tail of a vector loop, wherever the model is cut. Thread-compatible.
#ifndef PENSTOCK_WORKER_TORCH_PARAMETERS_H_
#define PENSTOCK_WORKER_TORCH_PARAMETERS_H_

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "model/model_info.h"
#include "model/optimizer_rules.h"
#include "worker/torch/layers/layer_function.h"
#include "worker/torch/torch.h"

namespace penstock {

// Parameters that get the same update.
struct ParameterGroup {
  UpdateRule rule;
  int64_t elements = 0;  // padding included
  at::Tensor values;     // [elements] float32
  at::Tensor copies;     // [elements] of the type that layers compute in; undefined where that is float32
  at::Tensor gradients;  // [elements] float32; padding is 0; undefined where the group is frozen
  std::vector<Parameter*> parameters;
  std::vector<int64_t> offsets;  // of each parameter
};

class ParameterStore {
 public:
  // Parameters with the same rule are of one group. Values and gradients are zeros.
  // Args: compute: the type that layers compute in.
  ParameterStore(const std::vector<LayerInfo>& layers, const v1::Optimizer& optimizer, at::Device device,
                 at::ScalarType compute = at::kFloat);

  // In model order. Pointers stay valid.
  const std::vector<std::unique_ptr<Parameter>>& parameters() const { return parameters_; }
  const std::vector<std::unique_ptr<ParameterGroup>>& groups() const { return groups_; }
  // By global name; BatchNorm's.
  const std::map<std::string, at::Tensor>& buffers() const { return buffers_; }

  // The slice of `flat` ([group.elements]) that belongs to parameter `index` of the group, in its shape.
  static at::Tensor Slice(const at::Tensor& flat, const ParameterGroup& group, size_t index);

  // Writes each parameter's and buffer's initial value. Depends on (seed, names) alone.
  void Initialise(uint64_t seed);

  // Rounds the values to what layers compute with; due whenever they have changed.
  void RefreshCopies();

 private:
  std::vector<std::unique_ptr<Parameter>> parameters_;
  std::vector<Init> inits_;  // beside parameters_
  std::vector<std::unique_ptr<ParameterGroup>> groups_;
  std::map<std::string, at::Tensor> buffers_;
  std::map<std::string, double> buffer_inits_;
};

// Sum of the squares of a parameter's gradient, in float64. The same bits wherever the gradient lies; not finite
// exactly when an element isn't.
double SquaredNorm(const at::Tensor& gradient);

}  // namespace penstock

#endif  // PENSTOCK_WORKER_TORCH_PARAMETERS_H_
