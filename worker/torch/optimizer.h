// Updates a rank's parameters from their gradients. Thread-compatible.
// Source: docs/training.md, "Optimizers".
#ifndef PENSTOCK_WORKER_TORCH_OPTIMIZER_H_
#define PENSTOCK_WORKER_TORCH_OPTIMIZER_H_

#include <cstdint>
#include <string>
#include <vector>

#include "proto/job.pb.h"
#include "worker/torch/parameters.h"

namespace penstock {

struct NamedTensor {
  std::string name;
  at::Tensor tensor;
};

// Torch's fused kernels over each group's flat buffers: an element's bits depend on that element alone, so neither on
// the grouping nor on where the model is cut.
class Optimizer {
 public:
  // Whether parameters with and without weight decay need groups of their own.
  static bool SplitsByDecay(const v1::Optimizer& options) { return options.name() == v1::Optimizer::ADAMW; }

  // What its state tensors are called: these, each followed by the parameter's name.
  static std::vector<std::string> StatePrefixes(const v1::Optimizer& options);

  // Borrows `store`.
  Optimizer(const v1::Optimizer& options, const ParameterStore* store);

  const v1::Optimizer& options() const { return options_; }

  // Completed update `step` (from 1). Gradients are multiplied by `clip_scale` first, unless it is exactly 1.
  // REQUIRES: every parameter has a gradient. Leaves gradients' values undefined.
  void Step(uint64_t step, double lr, double clip_scale);

  // Its state, views by name: "optimizer.exp_avg.<parameter>".
  const std::vector<NamedTensor>& state() const { return state_; }

 private:
  struct GroupState {
    at::Tensor first;   // exp_avg, or momentum
    at::Tensor second;  // exp_avg_sq
  };

  void StepSgd(uint64_t step, double lr, ParameterGroup* group, GroupState* state) const;
  void StepAdam(uint64_t step, double lr, ParameterGroup* group, GroupState* state) const;
  void AddState(const std::string& prefix, const ParameterGroup& group, const at::Tensor& flat);

  const v1::Optimizer options_;
  const ParameterStore* const store_;
  std::vector<GroupState> states_;  // beside store_->groups()
  std::vector<NamedTensor> state_;
};

}  // namespace penstock

#endif  // PENSTOCK_WORKER_TORCH_OPTIMIZER_H_
