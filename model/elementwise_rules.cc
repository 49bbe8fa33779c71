// Rules of the kinds that keep every element in its place: activations, dropout, flatten, delay.
#include "absl/strings/str_cat.h"
#include "model/layer_rules.h"

namespace penstock {

// Keeps its input, or its output, which is as large.
bool ActivationRule(const RuleContext& context) {
  if (!context.FloatInput()) return false;
  context.SetOutput(context.input().shape);
  const bool keeps_input =
      context.layer.kind_case() == v1::Layer::kGelu || context.layer.kind_case() == v1::Layer::kSilu;
  context.info->ends = {.keeps_input = keeps_input, .keeps_output = !keeps_input};
  context.info->cost.activation_bytes = context.input().Bytes();
  context.info->cost.working_bytes = context.input().Bytes();  // the other end; the gradient turns in place
  context.info->cost.memory_bytes = 2.0 * context.input().Bytes();
  return true;
}

// Keeps its mask.
bool DropoutRule(const RuleContext& context) {
  if (!context.Probability("p", context.layer.dropout().p()) || !context.FloatInput()) return false;
  const bool drops = context.layer.dropout().p() > 0;
  context.SetOutput(context.input().shape);
  context.info->ends.passes_input = !drops;
  context.info->cost.activation_bytes = drops ? context.input().Bytes() : 0;
  context.info->cost.working_bytes = (drops ? 2 : 1) * context.input().Bytes();
  context.info->cost.memory_bytes = drops ? 3.0 * context.input().Bytes() : 0;
  return true;
}

// A view of its input: nothing is computed, nothing more is kept.
bool FlattenRule(const RuleContext& context) {
  if (!context.FloatInput()) return false;
  context.SetOutput({context.input().Elements()});
  context.info->ends.passes_input = true;
  context.info->cost.working_bytes = context.input().Bytes();
  return true;
}

// Passes its input on, and keeps nothing.
bool DelayRule(const RuleContext& context) {
  const v1::Delay& delay = context.layer.delay();
  if (delay.forward_us() < 0 || delay.input_grad_us() < 0 || delay.weight_grad_us() < 0) {
    return context.Fail("a duration is below 0");
  }
  context.info->output = context.input();
  context.info->ends.passes_input = true;
  LayerCost& cost = context.info->cost;
  cost.working_bytes = context.input().Bytes();
  cost.fixed_forward_us = static_cast<double>(delay.forward_us());
  cost.fixed_backward_us = static_cast<double>(delay.input_grad_us()) + static_cast<double>(delay.weight_grad_us());
  cost.fixed_weight_us = static_cast<double>(delay.weight_grad_us());
  return true;
}

}  // namespace penstock
