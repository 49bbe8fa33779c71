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

// Over each group's flat buffers, by torch's fused kernels or by operations that are rounded one by one: an element's
// bits depend on that element alone, so neither on the grouping nor on where the model is cut.
class Optimizer {
 public:
  // What its state tensors are called: these, each followed by the parameter's name.
  static std::vector<std::string> StatePrefixes(const v1::Optimizer& options);

  // Borrows `store`.
  Optimizer(const v1::Optimizer& options, const ParameterStore* store);

  const v1::Optimizer& options() const { return options_; }

  // Update number `update`, from 1. Gradients are multiplied by `clip_scale` first, unless it is exactly 1.
  // Args:    lr: the step's; a group's own factor comes to it.
  // REQUIRES: every parameter that is not frozen has a gradient. Leaves gradients' values undefined.
  void Step(uint64_t update, double lr, double clip_scale);

  // Its state, views by name: "optimizer.exp_avg.<parameter>".
  const std::vector<NamedTensor>& state() const { return state_; }

 private:
  // Flat tensors, one for each name of OptimizerState(options_).
  using GroupState = std::vector<at::Tensor>;

  void StepSgd(uint64_t update, double lr, ParameterGroup* group, GroupState* state) const;
  void StepAdam(uint64_t update, double lr, ParameterGroup* group, GroupState* state) const;
  void StepLion(double lr, ParameterGroup* group, GroupState* state) const;
  void StepRmsProp(double lr, ParameterGroup* group, GroupState* state) const;
  void AddState(const std::string& prefix, const ParameterGroup& group, const at::Tensor& flat);

  const v1::Optimizer options_;
  const ParameterStore* const store_;
  std::vector<GroupState> states_;  // beside store_->groups()
  std::vector<NamedTensor> state_;
};

}  // namespace penstock

#endif  // PENSTOCK_WORKER_TORCH_OPTIMIZER_H_
