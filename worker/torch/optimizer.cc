#include "worker/torch/optimizer.h"

#include "absl/strings/str_cat.h"

namespace penstock {

std::vector<std::string> Optimizer::StatePrefixes(const v1::Optimizer& options) {
  if (options.name() != v1::Optimizer::SGD) return {"optimizer.exp_avg.", "optimizer.exp_avg_sq."};
  if (options.momentum() != 0) return {"optimizer.momentum."};
  return {};
}

Optimizer::Optimizer(const v1::Optimizer& options, const ParameterStore* store) : options_(options), store_(store) {
  const std::vector<std::string> prefixes = StatePrefixes(options_);
  for (const auto& group : store_->groups()) {
    GroupState state;
    for (at::Tensor* moment : {&state.first, &state.second}) {
      const size_t index = moment == &state.first ? 0 : 1;
      if (index >= prefixes.size()) continue;
      *moment = at::zeros_like(group->values);
      AddState(prefixes[index], *group, *moment);
    }
    states_.push_back(state);
  }
}

void Optimizer::AddState(const std::string& prefix, const ParameterGroup& group, const at::Tensor& flat) {
  for (size_t i = 0; i < group.parameters.size(); ++i) {
    state_.push_back({absl::StrCat(prefix, group.parameters[i]->name), ParameterStore::Slice(flat, group, i)});
  }
}

void Optimizer::Step(uint64_t step, double lr, double clip_scale) {
  for (size_t i = 0; i < states_.size(); ++i) {
    ParameterGroup* group = store_->groups()[i].get();
    if (clip_scale != 1) group->gradients.mul_(clip_scale);
    if (options_.name() == v1::Optimizer::SGD) {
      StepSgd(step, lr, group, &states_[i]);
    } else {
      StepAdam(step, lr, group, &states_[i]);
    }
  }
}

void Optimizer::StepSgd(uint64_t step, double lr, ParameterGroup* group, GroupState* state) const {
  std::vector<at::Tensor> momentum;
  if (state->first.defined()) momentum.push_back(state->first);
  at::_fused_sgd_({group->values}, {group->gradients}, momentum, options_.weight_decay(), options_.momentum(), lr,
                  /*dampening=*/0, /*nesterov=*/false, /*maximize=*/false, /*is_first_step=*/step == 1);
}

void Optimizer::StepAdam(uint64_t step, double lr, ParameterGroup* group, GroupState* state) const {
  const at::Tensor steps = at::full({}, static_cast<double>(step), group->values.options());
  const double decay = group->decay ? options_.weight_decay() : 0;
  const at::TensorList values = group->values, gradients = group->gradients;
  if (options_.name() == v1::Optimizer::ADAMW) {
    at::_fused_adamw_(values, gradients, state->first, state->second, {}, steps, lr, options_.beta1(), options_.beta2(),
                      decay, options_.eps(), /*amsgrad=*/false, /*maximize=*/false);
  } else {
    at::_fused_adam_(values, gradients, state->first, state->second, {}, steps, lr, options_.beta1(), options_.beta2(),
                     decay, options_.eps(), /*amsgrad=*/false, /*maximize=*/false);
  }
}

}  // namespace penstock
