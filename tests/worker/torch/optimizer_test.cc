// Sums and updates: their bits depend neither on the order of arrival nor on an element's neighbours.
#include "worker/torch/optimizer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/philox.h"
#include "worker/torch/gradient_order.h"
#include "worker/torch/parameters.h"

namespace penstock {
namespace {

at::Tensor Random(std::vector<int64_t> shape, const std::string& name) {
  at::Tensor tensor = at::empty(shape, at::kFloat);
  Philox(3, name).Normal(tensor.mutable_data_ptr<float>(), tensor.numel());
  return tensor;
}

// An element's update must not depend on its neighbours: the same parameters in one group, in many, and alone.
TEST(OptimizerTest, GroupingDoesNotChangeABit) {
  for (v1::Optimizer::Name name : {v1::Optimizer::SGD, v1::Optimizer::ADAM, v1::Optimizer::ADAMW}) {
    v1::Optimizer options;
    options.set_name(name);
    options.set_momentum(0.9);
    options.set_weight_decay(0.1);
    options.set_beta1(0.9);
    options.set_beta2(0.95);
    options.set_eps(1e-8);
    std::vector<LayerInfo> layers(9);
    for (int i = 0; i < 9; ++i)
      layers[i].parameters = {{absl::StrCat("p", i), {2 * i + 1, 7}, {Init::Kind::kNormal, 1}, true}};
    const auto train = [&](const std::vector<LayerInfo>& some) {
      ParameterStore store(some, Optimizer::SplitsByDecay(options), at::kCPU);
      store.Initialise(4);
      Optimizer optimizer(options, &store);
      for (int step = 1; step <= 3; ++step) {
        for (const auto& parameter : store.parameters()) {
          parameter->gradient.copy_(Random(parameter->value.sizes().vec(), absl::StrCat(parameter->name, step)));
        }
        optimizer.Step(step, 0.01, step == 2 ? 0.5 : 1);
      }
      std::map<std::string, at::Tensor> result;
      for (const auto& parameter : store.parameters()) result[parameter->name] = parameter->value.clone();
      for (const NamedTensor& state : optimizer.state()) result[state.name] = state.tensor.clone();
      return result;
    };
    const std::map<std::string, at::Tensor> together = train(layers);
    EXPECT_EQ(together.size(), 9u * (name == v1::Optimizer::SGD ? 2 : 3));
    for (const LayerInfo& layer : layers) {
      for (const auto& [tensor, value] : train({layer})) EXPECT_TRUE(together.at(tensor).equal(value)) << tensor;
    }
  }
}

TEST(GradientOrderTest, OrderOfArrivalChangesNoBitAndTheFirstTermIsCopied) {
  std::vector<at::Tensor> sums;
  for (const std::vector<int>& order : {std::vector<int>{0, 1, 2, 3}, {3, 1, 2, 0}, {1, 0, 3, 2}}) {
    Parameter parameter;
    parameter.gradient = at::full({33, 17}, NAN);
    GradientOrder gradients;
    gradients.BeginPass(4);
    for (int m : order) {
      gradients.Open(m);
      gradients.AddProduct(&parameter, Random({33, 29}, absl::StrCat("a", m)), Random({29, 17}, absl::StrCat("b", m)));
      gradients.Add(&parameter, Random({33, 17}, absl::StrCat("c", m)));
      gradients.Close();
    }
    EXPECT_TRUE(gradients.complete());
    sums.push_back(parameter.gradient);
  }
  EXPECT_TRUE(sums[0].equal(sums[1]));
  EXPECT_TRUE(sums[0].equal(sums[2]));

  Parameter parameter;
  parameter.gradient = at::zeros({1}, at::kFloat);
  GradientOrder gradients;
  gradients.BeginPass(1);
  gradients.Open(0);
  gradients.Add(&parameter, at::full({1}, -0.0f));
  EXPECT_TRUE(std::signbit(parameter.gradient.item<float>()));
}

}  // namespace
}  // namespace penstock
