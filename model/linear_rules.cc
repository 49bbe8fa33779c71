// Rules of the kinds that multiply rows by a matrix: linear, lm_head.
#include "model/layer_rules.h"

namespace penstock {
namespace {

// x @ weight^T (+ bias) over the last dimension: 2 FLOPs a weight and position forward, twice that backward.
void Project(const RuleContext& context, int64_t out, bool bias, Init init, Init bias_init) {
  const int64_t in = context.Width();
  context.AddParameter("weight", {out, in}, init, true);
  if (bias) context.AddParameter("bias", {out}, bias_init, false);
  std::vector<int64_t> shape = context.input().shape;
  shape.back() = out;
  context.SetOutput(shape);
  context.info->cost.forward_flops = 2.0 * context.Positions() * in * out;
  SetKernelCost(context);
}

}  // namespace

void SetKernelCost(const RuleContext& context) {
  LayerCost& cost = context.info->cost;
  const int64_t input = context.input().Bytes(), output = context.info->output.Bytes();
  cost.backward_flops = 2 * cost.forward_flops;
  cost.weight_flops = cost.forward_flops;
  cost.activation_bytes = input;
  context.info->ends.keeps_input = true;
  cost.deferred_bytes = input + output;
  cost.working_bytes = input;  // its gradient
}

bool LinearRule(const RuleContext& context) {
  const v1::Linear& linear = context.layer.linear();
  if (!context.Positive("out", linear.out()) || !context.FloatInput()) return false;
  const Init init = FanInInit(context.Width());
  Project(context, linear.out(), linear.bias(), init, init);
  return true;
}

bool LmHeadRule(const RuleContext& context) {
  const v1::LmHead& head = context.layer.lm_head();
  if (!context.Positive("vocab", head.vocab()) || !context.FloatInput(2, "[positions, width]")) return false;
  Project(context, head.vocab(), head.bias(), NormalInit(0.02), kInitZeros);
  return true;
}

}  // namespace penstock
