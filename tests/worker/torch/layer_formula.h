// A layer beside its formula: the formula is written out in plain operators and differentiated by torch's autograd, the
// layer brings its own backward pass. For tests only.
#ifndef PENSTOCK_TESTS_WORKER_TORCH_LAYER_FORMULA_H_
#define PENSTOCK_TESTS_WORKER_TORCH_LAYER_FORMULA_H_

#include <ATen/TensorOperators.h>
#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "common/fake_clock.h"
#include "common/philox.h"
#include "model/layer_kind.h"
#include "model/model_info.h"
#include "worker/torch/gradient_order.h"
#include "worker/torch/layers/build.h"
#include "worker/torch/parameters.h"

namespace penstock {

using Weights = std::map<std::string, at::Tensor>;
using Formula = std::function<at::Tensor(const at::Tensor& x, const Weights& w)>;

inline at::Tensor Random(std::vector<int64_t> shape, const std::string& name) {
  at::Tensor tensor = at::empty(shape, at::kFloat);
  Philox(3, name).Normal(tensor.mutable_data_ptr<float>(), tensor.numel());
  return tensor;
}

// One layer, with parameters that no initialisation would give (so that a bias or a scale cannot hide).
class BuiltLayer {
 public:
  BuiltLayer(const std::string& layer_text, std::vector<int64_t> input_shape, v1::DType dtype) {
    v1::Model model;
    EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(layer_text, model.add_layers())) << layer_text;
    if (dtype == v1::DTYPE_INT64) {
      EXPECT_TRUE(
          google::protobuf::TextFormat::ParseFromString("name: 'after' lm_head { vocab: 9 }", model.add_layers()));
    } else {
      EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString("name: 'after' linear { out: 9 }", model.add_layers()));
    }
    model.mutable_input()->set_dtype(dtype);
    model.mutable_input()->mutable_shape()->Assign(input_shape.begin(), input_shape.end());
    model.set_loss(v1::LOSS_CROSS_ENTROPY);
    FillDefaults(&model);
    // Faults of the made-up second layer or the loss do not matter here.
    Diagnostics diagnostics;
    const ModelInfo info = InferModel(model, &diagnostics);
    layer_ = model.layers(0);
    store_ = std::make_unique<ParameterStore>(std::vector<LayerInfo>{info.layers.at(0)}, v1::Optimizer(), at::kCPU);
    for (const auto& parameter : store_->parameters()) {
      parameter->value.copy_(Random(parameter->value.sizes().vec(), parameter->name).mul_(0.3).add_(0.1));
      parts_.parameters[parameter->name] = parameter.get();
    }
    for (const auto& [name, buffer] : store_->buffers()) parts_.buffers[name] = buffer;
    parts_.clock = &clock_;
    function_ = BuildLayer(layer_, &parts_);
    for (const auto& statistics : parts_.statistics) statistics->Begin(1);
  }

  LayerFunction* function() { return function_.get(); }
  ParameterStore* store() { return store_.get(); }
  LayerParts* parts() { return &parts_; }

 private:
  v1::Layer layer_;
  FakeClock clock_;
  std::unique_ptr<ParameterStore> store_;
  LayerParts parts_;
  LayerFunctionPtr function_;
};

inline void ExpectClose(const at::Tensor& expected, const at::Tensor& actual, const std::string& what) {
  ASSERT_TRUE(actual.defined()) << what;
  ASSERT_EQ(expected.sizes(), actual.sizes()) << what;
  const double distance = (expected - actual).abs().max().item<double>();
  const double size = expected.abs().max().item<double>();
  EXPECT_GT(size, 0) << what << ": nothing to compare";
  EXPECT_LE(distance, 2e-5 * std::max(1.0, size)) << what;
}

// Compares output, input gradient and every parameter's gradient with the formula's.
inline void ExpectLayer(const std::string& layer_text, std::vector<int64_t> shape, const Formula& formula) {
  SCOPED_TRACE(layer_text);
  std::vector<int64_t> sample(shape.begin() + 1, shape.end());
  BuiltLayer layer(layer_text, sample, v1::DTYPE_FLOAT32);
  LayerContext context;
  context.seed = 5;
  context.step = 2;
  context.training = true;
  at::Tensor x = Random(shape, "x").requires_grad_();
  Weights weights;
  for (const auto& parameter : layer.store()->parameters()) {
    weights[parameter->name] = parameter->value.clone().requires_grad_();
  }
  const at::Tensor expected = formula(x, weights);
  const at::Tensor gradient = Random(expected.sizes().vec(), "gradient");
  expected.backward(gradient);

  GradientOrder order;
  order.BeginPass(1);
  Tape tape;
  const at::Tensor kept_x = x.detach().clone(), kept_gradient = gradient.clone();
  const at::Tensor y = layer.function()->Forward(x.detach(), context, &tape);
  ExpectClose(expected.detach(), y, "output");
  order.Open(0);
  const at::Tensor dx = layer.function()->Backward(gradient, context, &tape, &order);
  order.Close();
  order.WeightGradients(0);
  EXPECT_TRUE(tape.empty());
  ExpectClose(x.grad(), dx, "input gradient");
  for (const auto& parameter : layer.store()->parameters()) {
    ASSERT_TRUE(parameter->has_gradient) << parameter->name;
    ExpectClose(weights[parameter->name].grad(), parameter->gradient, parameter->name);
  }
  // What the caller still holds is left alone.
  EXPECT_TRUE(kept_x.equal(x.detach()));
  EXPECT_TRUE(kept_gradient.equal(gradient));
}

inline at::Tensor LayerNorm(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  const at::Tensor centred = x - x.mean(-1, true);
  return centred / (centred.pow(2).mean(-1, true) + 1e-5).sqrt() * weight + bias;
}

inline at::Tensor Linear(const at::Tensor& x, const Weights& w, const std::string& name) {
  const at::Tensor y = at::matmul(x, w.at(name + ".weight").t());
  return w.count(name + ".bias") > 0 ? y + w.at(name + ".bias") : y;
}

}  // namespace penstock

#endif  // PENSTOCK_TESTS_WORKER_TORCH_LAYER_FORMULA_H_
