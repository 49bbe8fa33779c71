// Sums and updates: their bits depend neither on the order of arrival nor on an element's neighbours.
#include "worker/torch/optimizer.h"

#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/philox.h"
#include "model/optimizer_rules.h"
#include "tests/common/scratch_dir.h"
#include "worker/torch/gradient_order.h"
#include "worker/torch/layers/linear_map.h"
#include "worker/torch/parameters.h"

namespace penstock {
namespace {

at::Tensor Random(std::vector<int64_t> shape, const std::string& name) {
  at::Tensor tensor = at::empty(shape, at::kFloat);
  Philox(3, name).Normal(tensor.mutable_data_ptr<float>(), tensor.numel());
  return tensor;
}

v1::Optimizer Options(const std::string& text) {
  v1::Optimizer options;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &options)) << text;
  return options;
}

using Values = std::map<std::string, std::vector<float>>;

// tests/goldens/make_optimizer_goldens.py made them.
TEST(OptimizerTest, EveryOptimizerEndsWherePyTorchsOrThePapersFormulaDoes) {
  const nlohmann::json goldens = nlohmann::json::parse(Slurp("tests/goldens/optimizers.json"));
  const Values start = goldens["start"];
  ASSERT_GE(goldens["cases"].size(), 9u);
  for (const nlohmann::json& golden : goldens["cases"]) {
    SCOPED_TRACE(golden["name"]);
    v1::Optimizer options = Options(golden["options"]);
    options.set_lr(goldens["lr"]);
    LayerInfo layer;
    layer.parameters = {{"a.weight", {5, 7}, {}, true}, {"b.bias", {7}, {}, false}};
    ParameterStore store({layer}, options, at::kCPU);
    Optimizer optimizer(options, &store);
    const auto write = [](const Values& values, const std::string& name, at::Tensor* to) {
      std::copy_n(values.at(name).begin(), to->numel(), to->mutable_data_ptr<float>());
    };
    for (const auto& parameter : store.parameters()) write(start, parameter->name, &parameter->value);
    uint64_t update = 0;
    for (const Values gradients : goldens["gradients"]) {
      for (const auto& parameter : store.parameters()) write(gradients, parameter->name, &parameter->gradient);
      optimizer.Step(++update, options.lr(), 1);
    }
    const Values end = golden["end"];
    size_t moved = 0;
    for (const auto& parameter : store.parameters()) {
      const std::vector<float>& expected = end.at(parameter->name);
      const float *value = parameter->value.const_data_ptr<float>(), *began = start.at(parameter->name).data();
      for (size_t i = 0; i < expected.size(); ++i) {
        EXPECT_NEAR(value[i], expected[i], 2e-6 * std::max(1.0f, std::abs(expected[i]))) << parameter->name << " " << i;
        moved += value[i] != began[i];
      }
    }
    // Lion's steps forth and back may end where they began.
    EXPECT_GT(moved, 35u) << "nothing was updated";
  }
}

// An element's update must not depend on its neighbours: the same parameters in one group, in many, and alone.
TEST(OptimizerTest, GroupingDoesNotChangeABit) {
  for (const char* name : {"SGD", "ADAM", "ADAMW", "RMSPROP", "RMSPROP tensorflow: true", "LION"}) {
    const v1::Optimizer options = Options(
        absl::StrCat("momentum: 0.9 weight_decay: 0.1 beta1: 0.9 beta2: 0.95 eps: 1e-8 alpha: 0.99 name: ", name));
    std::vector<LayerInfo> layers(9);
    for (int i = 0; i < 9; ++i)
      layers[i].parameters = {{absl::StrCat("p", i), {2 * i + 1, 7}, {Init::Kind::kNormal, 1}, true}};
    const auto train = [&](const std::vector<LayerInfo>& some) {
      ParameterStore store(some, options, at::kCPU);
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
    EXPECT_EQ(together.size(), 9u * (1 + OptimizerState(options).size()));
    for (const LayerInfo& layer : layers) {
      for (const auto& [tensor, value] : train({layer})) EXPECT_TRUE(together.at(tensor).equal(value)) << tensor;
    }
  }
}

// The sums of two parameters after four micro-batches, whose input and weight gradients come in these orders.
std::pair<at::Tensor, at::Tensor> SumsInOrder(const std::vector<int>& inputs, const std::vector<int>& weights) {
  Parameter weight, bias;
  weight.gradient = at::full({33, 17}, NAN);
  bias.gradient = at::full({33}, NAN);
  GradientOrder gradients;
  gradients.BeginPass(4);
  for (int m : inputs) {
    gradients.Open(m);
    gradients.Defer(std::make_unique<ProductGradient>(&weight, Random({33, 29}, absl::StrCat("a", m)),
                                                      Random({29, 17}, absl::StrCat("b", m))));
    gradients.Add(&bias, Random({33}, absl::StrCat("c", m)));
    gradients.Close();
  }
  EXPECT_FALSE(weight.has_gradient) << "a product is computed by the weight gradient alone";
  EXPECT_FALSE(gradients.complete());
  for (int m : weights) {
    EXPECT_TRUE(gradients.waits(m));
    gradients.WeightGradients(m);
    EXPECT_FALSE(gradients.waits(m));
  }
  EXPECT_TRUE(gradients.complete());
  return {weight.gradient, bias.gradient};
}

TEST(GradientOrderTest, OrderOfArrivalChangesNoBit) {
  const auto expected = SumsInOrder({0, 1, 2, 3}, {0, 1, 2, 3});
  for (const std::vector<int>& inputs : {std::vector<int>{0, 1, 2, 3}, {3, 2, 1, 0}, {1, 0, 3, 2}}) {
    for (const std::vector<int>& weights : {std::vector<int>{0, 1, 2, 3}, {3, 1, 2, 0}, {2, 3, 0, 1}}) {
      const auto sums = SumsInOrder(inputs, weights);
      EXPECT_TRUE(sums.first.equal(expected.first));
      EXPECT_TRUE(sums.second.equal(expected.second));
    }
  }
}

TEST(GradientOrderTest, FactorsAreFreedByTheirTurnAndHeldUntilIt) {
  Parameter weight;
  weight.gradient = at::zeros({3, 3}, at::kFloat);
  GradientOrder gradients;
  gradients.BeginPass(2);
  std::vector<at::Tensor> factors;
  for (int m : {0, 1}) {
    factors.push_back(Random({3, 3}, absl::StrCat("a", m)));
    gradients.Open(m);
    gradients.Defer(std::make_unique<ProductGradient>(&weight, factors[m], Random({3, 3}, "b")));
    gradients.Close();
  }
  gradients.WeightGradients(1);
  EXPECT_EQ(factors[1].use_count(), 2) << "before its turn";
  gradients.WeightGradients(0);
  EXPECT_EQ(factors[0].use_count(), 1);
  EXPECT_EQ(factors[1].use_count(), 1);
}

TEST(GradientOrderTest, TheFirstTermIsCopied) {
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
