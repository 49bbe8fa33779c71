#include "worker/torch/optimizer.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "model/optimizer_rules.h"

namespace penstock {
namespace {

// Elements that the spelled-out optimizers work on at a time: 1 MiB a tensor, so that temporaries stay in the cache
// and out of the memory's peak.
constexpr int64_t kChunk = int64_t{1} << 18;

// The part of a group that is updated at a time.
struct Chunk {
  Chunk(const ParameterGroup& group, const std::vector<at::Tensor>& state, int64_t begin) {
    const int64_t size = std::min(kChunk, group.elements - begin);
    value = group.values.narrow(0, begin, size);
    gradient = group.gradients.narrow(0, begin, size);
    for (const at::Tensor& tensor : state) tensors.push_back(tensor.narrow(0, begin, size));
  }

  at::Tensor value, gradient;
  std::vector<at::Tensor> tensors;  // of the optimizer's state
};

// average = average * keep + term * (1 - keep). Each operation is rounded by itself: a fused multiply-add, which torch
// uses in whole vectors alone, would make an element's bits depend on its place.
void Average(const at::Tensor& average, double keep, const at::Tensor& term) {
  average.mul_(keep).add_(at::mul(term, 1 - keep));
}

}  // namespace

std::vector<std::string> Optimizer::StatePrefixes(const v1::Optimizer& options) {
  std::vector<std::string> prefixes;
  for (const std::string& tensor : OptimizerState(options)) prefixes.push_back(absl::StrCat("optimizer.", tensor, "."));
  return prefixes;
}

Optimizer::Optimizer(const v1::Optimizer& options, const ParameterStore* store) : options_(options), store_(store) {
  const std::vector<std::string> prefixes = StatePrefixes(options_);
  for (const auto& group : store_->groups()) {
    GroupState state;
    for (const std::string& prefix : prefixes) {
      if (group->rule.frozen) break;
      state.push_back(at::zeros_like(group->values));
      // TensorFlow's mean of squares begins at one.
      if (options_.tensorflow() && state.size() == 1) state.back().fill_(1);
      AddState(prefix, *group, state.back());
    }
    states_.push_back(std::move(state));
  }
}

void Optimizer::AddState(const std::string& prefix, const ParameterGroup& group, const at::Tensor& flat) {
  for (size_t i = 0; i < group.parameters.size(); ++i) {
    state_.push_back({absl::StrCat(prefix, group.parameters[i]->name), ParameterStore::Slice(flat, group, i)});
  }
}

void Optimizer::Step(uint64_t update, double lr, double clip_scale) {
  for (size_t i = 0; i < states_.size(); ++i) {
    ParameterGroup* group = store_->groups()[i].get();
    if (group->rule.frozen) continue;
    const double group_lr = lr * group->rule.lr_factor;
    if (clip_scale != 1) group->gradients.mul_(clip_scale);
    switch (options_.name()) {
      case v1::Optimizer::SGD:
        StepSgd(update, group_lr, group, &states_[i]);
        break;
      case v1::Optimizer::LION:
        StepLion(group_lr, group, &states_[i]);
        break;
      case v1::Optimizer::RMSPROP:
        StepRmsProp(group_lr, group, &states_[i]);
        break;
      default:
        StepAdam(update, group_lr, group, &states_[i]);
        break;
    }
  }
}

void Optimizer::StepSgd(uint64_t update, double lr, ParameterGroup* group, GroupState* state) const {
  at::_fused_sgd_({group->values}, {group->gradients}, *state, group->rule.weight_decay, options_.momentum(), lr,
                  /*dampening=*/0, /*nesterov=*/false, /*maximize=*/false, /*is_first_step=*/update == 1);
}

void Optimizer::StepAdam(uint64_t update, double lr, ParameterGroup* group, GroupState* state) const {
  const at::Tensor updates = at::full({}, static_cast<double>(update), group->values.options());
  const double decay = group->rule.weight_decay;
  const at::TensorList values = group->values, gradients = group->gradients;
  const at::TensorList first = (*state)[0], second = (*state)[1];
  if (options_.name() == v1::Optimizer::ADAMW) {
    at::_fused_adamw_(values, gradients, first, second, {}, updates, lr, options_.beta1(), options_.beta2(), decay,
                      options_.eps(), /*amsgrad=*/false, /*maximize=*/false);
  } else {
    at::_fused_adam_(values, gradients, first, second, {}, updates, lr, options_.beta1(), options_.beta2(), decay,
                     options_.eps(), /*amsgrad=*/false, /*maximize=*/false);
  }
}

// Chen et al., "Symbolic Discovery of Optimization Algorithms" (2023), Algorithm 2.
void Optimizer::StepLion(double lr, ParameterGroup* group, GroupState* state) const {
  for (int64_t begin = 0; begin < group->elements; begin += kChunk) {
    const Chunk chunk(*group, *state, begin);
    const at::Tensor& average = chunk.tensors[0];
    const at::Tensor update =
        at::mul(average, options_.beta1()).add_(at::mul(chunk.gradient, 1 - options_.beta1())).sign_();
    if (group->rule.weight_decay != 0) chunk.value.mul_(1 - lr * group->rule.weight_decay);
    chunk.value.sub_(update.mul_(lr));
    Average(average, options_.beta2(), chunk.gradient);
  }
}

// torch.optim.RMSprop's rule, and tf.compat.v1.train.RMSPropOptimizer's.
void Optimizer::StepRmsProp(double lr, ParameterGroup* group, GroupState* state) const {
  for (int64_t begin = 0; begin < group->elements; begin += kChunk) {
    const Chunk chunk(*group, *state, begin);
    const at::Tensor &gradient = chunk.gradient, &squares = chunk.tensors[0];
    if (group->rule.weight_decay != 0) gradient.add_(at::mul(chunk.value, group->rule.weight_decay));
    Average(squares, options_.alpha(), at::mul(gradient, gradient));
    if (options_.tensorflow()) {
      gradient.mul_(lr).div_(at::add(squares, options_.eps()).sqrt_());
    } else {
      gradient.div_(squares.sqrt().add_(options_.eps()));
    }
    const bool has_momentum = chunk.tensors.size() > 1;
    if (has_momentum) chunk.tensors[1].mul_(options_.momentum()).add_(gradient);
    const at::Tensor& step = has_momentum ? chunk.tensors[1] : gradient;
    chunk.value.sub_(options_.tensorflow() ? step : at::mul(step, lr));
  }
}

}  // namespace penstock
