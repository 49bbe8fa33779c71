// What an optimizer keeps for a parameter, and which rule a parameter is updated by. Pure.
// Source: docs/training.md, "Optimizers" and "Parameter groups".
#ifndef PENSTOCK_MODEL_OPTIMIZER_RULES_H_
#define PENSTOCK_MODEL_OPTIMIZER_RULES_H_

#include <compare>
#include <optional>
#include <string>
#include <vector>

#include "model/model_info.h"
#include "proto/job.pb.h"

namespace penstock {

// The tensors of state that it keeps, each float32 of the parameter's shape: "momentum", "exp_avg". A checkpoint has
// them as "optimizer.<tensor>.<parameter>".
std::vector<std::string> OptimizerState(const v1::Optimizer& optimizer);

// The index of the first group that takes the parameter; nullopt: none does.
std::optional<int> GroupOf(const v1::Optimizer& optimizer, const std::string& parameter);

// What differs between the parameters of a job.
struct UpdateRule {
  double lr_factor = 1;  // of the step's learning rate
  double weight_decay = 0;
  bool frozen = false;  // there is no update

  friend auto operator<=>(const UpdateRule&, const UpdateRule&) = default;
};

// The optimizer's own values, where the parameter's group does not give others. adamw and lion spare biases and norms,
// unless a group gives them a weight decay.
UpdateRule RuleOf(const v1::Optimizer& optimizer, const ParameterSpec& parameter);

}  // namespace penstock

#endif  // PENSTOCK_MODEL_OPTIMIZER_RULES_H_
