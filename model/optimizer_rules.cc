#include "model/optimizer_rules.h"

#include "model/name_pattern.h"

namespace penstock {

std::vector<std::string> OptimizerState(const v1::Optimizer& optimizer) {
  std::vector<std::string> tensors;
  switch (optimizer.name()) {
    case v1::Optimizer::ADAM:
    case v1::Optimizer::ADAMW:
      return {"exp_avg", "exp_avg_sq"};
    case v1::Optimizer::LION:
      return {"exp_avg"};
    case v1::Optimizer::RMSPROP:
      tensors.push_back("square_avg");
      break;
    default:
      break;
  }
  if (optimizer.momentum() != 0) tensors.push_back("momentum");
  return tensors;
}

std::optional<int> GroupOf(const v1::Optimizer& optimizer, const std::string& parameter) {
  for (int i = 0; i < optimizer.groups_size(); ++i) {
    if (FitsPattern(optimizer.groups(i).match(), parameter)) return i;
  }
  return std::nullopt;
}

UpdateRule RuleOf(const v1::Optimizer& optimizer, const ParameterSpec& parameter) {
  if (parameter.frozen) return {1, 0, true};
  const bool decoupled = optimizer.name() == v1::Optimizer::ADAMW || optimizer.name() == v1::Optimizer::LION;
  UpdateRule rule;
  if (parameter.decay || !decoupled) rule.weight_decay = optimizer.weight_decay();
  const std::optional<int> index = GroupOf(optimizer, parameter.name);
  if (!index.has_value()) return rule;
  const v1::ParameterGroup& group = optimizer.groups(*index);
  if (group.has_lr_factor()) rule.lr_factor = group.lr_factor();
  if (group.has_lr() && optimizer.lr() > 0) rule.lr_factor = group.lr() / optimizer.lr();
  if (group.has_weight_decay()) rule.weight_decay = group.weight_decay();
  return rule;
}

}  // namespace penstock
