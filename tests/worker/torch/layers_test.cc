// Every layer kind beside its formula: the formula is written out in plain operators here and differentiated by torch's
// autograd, the layer brings its own backward pass.
#include <ATen/TensorOperators.h>
#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/fake_clock.h"
#include "common/philox.h"
#include "model/layer_kind.h"
#include "model/model_info.h"
#include "worker/torch/gradient_order.h"
#include "worker/torch/layers/build.h"
#include "worker/torch/parameters.h"
#include "worker/torch/torch_device.h"

namespace penstock {
namespace {

using Weights = std::map<std::string, at::Tensor>;
using Formula = std::function<at::Tensor(const at::Tensor& x, const Weights& w)>;

at::Tensor Random(std::vector<int64_t> shape, const std::string& name) {
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
    store_ = std::make_unique<ParameterStore>(std::vector<LayerInfo>{info.layers.at(0)}, false, at::kCPU);
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

void ExpectClose(const at::Tensor& expected, const at::Tensor& actual, const std::string& what) {
  ASSERT_TRUE(actual.defined()) << what;
  ASSERT_EQ(expected.sizes(), actual.sizes()) << what;
  const double distance = (expected - actual).abs().max().item<double>();
  const double size = expected.abs().max().item<double>();
  EXPECT_GT(size, 0) << what << ": nothing to compare";
  EXPECT_LE(distance, 2e-5 * std::max(1.0, size)) << what;
}

// Compares output, input gradient and every parameter's gradient with the formula's.
void ExpectLayer(const std::string& layer_text, std::vector<int64_t> shape, const Formula& formula) {
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

at::Tensor LayerNorm(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  const at::Tensor centred = x - x.mean(-1, true);
  return centred / (centred.pow(2).mean(-1, true) + 1e-5).sqrt() * weight + bias;
}

at::Tensor RmsNorm(const at::Tensor& x, const at::Tensor& weight) {
  return x / (x.pow(2).mean(-1, true) + 1e-5).sqrt() * weight;
}

at::Tensor Linear(const at::Tensor& x, const Weights& w, const std::string& name) {
  const at::Tensor y = at::matmul(x, w.at(name + ".weight").t());
  return w.count(name + ".bias") > 0 ? y + w.at(name + ".bias") : y;
}

at::Tensor GeluTanh(const at::Tensor& x) {
  return x * 0.5 * (1 + (std::sqrt(2 / M_PI) * (x + 0.044715 * x.pow(3))).tanh());
}

at::Tensor Heads(const at::Tensor& x, int64_t heads) {
  return x.reshape({x.size(0), x.size(1), heads, -1}).transpose(1, 2);
}

at::Tensor Rotate(const at::Tensor& x) {
  const int64_t half = x.size(-1) / 2;
  std::vector<at::Tensor> turned;
  for (int64_t t = 0; t < x.size(2); ++t) {
    at::Tensor angle = at::empty({half}, at::kFloat);
    for (int64_t i = 0; i < half; ++i) angle.mutable_data_ptr<float>()[i] = t * std::pow(10000.0, -1.0 * i / half);
    const at::Tensor a = x.select(2, t).narrow(-1, 0, half), b = x.select(2, t).narrow(-1, half, half);
    turned.push_back(at::cat({a * angle.cos() - b * angle.sin(), b * angle.cos() + a * angle.sin()}, -1).unsqueeze(2));
  }
  return at::cat(turned, 2);
}

// Key and value heads each serve heads / kv_heads query heads.
at::Tensor Attend(at::Tensor q, at::Tensor k, at::Tensor v, bool rotary) {
  if (rotary) {
    q = Rotate(q);
    k = Rotate(k);
  }
  const int64_t repeats = q.size(1) / k.size(1), time = q.size(2);
  std::vector<at::Tensor> outputs;
  for (int64_t head = 0; head < q.size(1); ++head) {
    const at::Tensor qh = q.select(1, head), kh = k.select(1, head / repeats), vh = v.select(1, head / repeats);
    const at::Tensor scores = at::matmul(qh, kh.transpose(-2, -1)) / std::sqrt(static_cast<double>(q.size(-1)));
    const at::Tensor future = at::ones({time, time}, at::kBool).triu(1);
    outputs.push_back(at::matmul(at::_softmax(scores.masked_fill(future, -INFINITY), -1, false), vh));
  }
  return at::cat(outputs, -1);
}

at::Tensor Dropped(const at::Tensor& x, const std::string& name, double p) {
  at::Tensor mask = at::empty(x.sizes(), at::kFloat);
  Philox(5, name, 2, 0).DropoutMask(mask.mutable_data_ptr<float>(), mask.numel(), p);
  return x * mask;
}

TEST(LayersTest, PointwiseKindsFollowTheirFormulas) {
  ExpectLayer("name: 'l' relu {}", {3, 37}, [](const at::Tensor& x, const Weights&) { return x * (x > 0); });
  ExpectLayer("name: 'l' gelu {}", {3, 37}, [](const at::Tensor& x, const Weights&) { return GeluTanh(x); });
  ExpectLayer("name: 'l' gelu { exact: true }", {3, 37},
              [](const at::Tensor& x, const Weights&) { return x * 0.5 * (1 + (x / std::sqrt(2.0)).erf()); });
  ExpectLayer("name: 'l' silu {}", {3, 37}, [](const at::Tensor& x, const Weights&) { return x / (1 + (-x).exp()); });
  ExpectLayer("name: 'l' tanh {}", {3, 37},
              [](const at::Tensor& x, const Weights&) { return 1 - 2 / ((2 * x).exp() + 1); });
  ExpectLayer("name: 'l' sigmoid {}", {3, 37},
              [](const at::Tensor& x, const Weights&) { return 1 / (1 + (-x).exp()); });
  ExpectLayer("name: 'l' flatten {}", {3, 2, 5, 7}, [](const at::Tensor& x, const Weights&) {
    return x.reshape({3, 70});
  });
  ExpectLayer("name: 'l' dropout { p: 0.3 }", {4, 50},
              [](const at::Tensor& x, const Weights&) { return Dropped(x, "l", 0.3); });
}

TEST(LayersTest, NormsAndLinearLayersFollowTheirFormulas) {
  ExpectLayer("name: 'l' linear { out: 11 }", {3, 5, 13},
              [](const at::Tensor& x, const Weights& w) { return Linear(x, w, "l"); });
  ExpectLayer("name: 'l' lm_head { vocab: 19 }", {3, 5, 13},
              [](const at::Tensor& x, const Weights& w) { return Linear(x, w, "l"); });
  ExpectLayer("name: 'l' position_embedding { context: 9 }", {3, 5, 13},
              [](const at::Tensor& x, const Weights& w) { return x + w.at("l.weight").narrow(0, 0, 5); });
  ExpectLayer("name: 'l' layer_norm {}", {3, 5, 13},
              [](const at::Tensor& x, const Weights& w) { return LayerNorm(x, w.at("l.weight"), w.at("l.bias")); });
  ExpectLayer("name: 'l' rms_norm {}", {3, 5, 13},
              [](const at::Tensor& x, const Weights& w) { return RmsNorm(x, w.at("l.weight")); });
  ExpectLayer("name: 'l' residual { block { name: 'l.a' linear { out: 13 } } block { name: 'l.b' tanh {} } }",
              {3, 5, 13}, [](const at::Tensor& x, const Weights& w) { return x + Linear(x, w, "l.a").tanh(); });
}

// The kernel's window at each place, by unfolding.
at::Tensor Windows(const at::Tensor& x, int64_t kernel, int64_t stride) {
  return x.unfold(2, kernel, stride).unfold(3, kernel, stride);
}

at::Tensor PaddedBy1(const at::Tensor& x) {
  const at::Tensor rows = at::zeros({x.size(0), x.size(1), 1, x.size(3)}, at::kFloat);
  const at::Tensor tall = at::cat({rows, x, rows}, 2);
  const at::Tensor columns = at::zeros({x.size(0), x.size(1), tall.size(2), 1}, at::kFloat);
  return at::cat({columns, tall, columns}, 3);
}

TEST(LayersTest, ImageKindsFollowTheirFormulas) {
  const auto convolve = [](const at::Tensor& padded, const Weights& w, int64_t stride) {
    const at::Tensor windows = Windows(padded, 3, stride).permute({0, 2, 3, 1, 4, 5});
    const at::Tensor flat = windows.reshape({windows.size(0), windows.size(1), windows.size(2), -1});
    return at::matmul(flat, w.at("l.weight").reshape({w.at("l.weight").size(0), -1}).t()).permute({0, 3, 1, 2});
  };
  ExpectLayer("name: 'l' conv2d { out: 5 kernel: 3 padding: 1 }", {2, 3, 7, 6},
              [&](const at::Tensor& x, const Weights& w) {
                return convolve(PaddedBy1(x), w, 1) + w.at("l.bias").reshape({1, -1, 1, 1});
              });
  ExpectLayer("name: 'l' conv2d { out: 5 kernel: 3 stride: 2 bias: false }", {2, 3, 7, 7},
              [&](const at::Tensor& x, const Weights& w) { return convolve(x, w, 2); });
  ExpectLayer("name: 'l' max_pool { kernel: 2 }", {2, 3, 6, 8}, [](const at::Tensor& x, const Weights&) {
    return std::get<0>(Windows(x, 2, 2).reshape({2, 3, 3, 4, 4}).max(-1));
  });
  ExpectLayer("name: 'l' avg_pool { kernel: 3 stride: 2 padding: 1 }", {2, 3, 7, 7},
              [](const at::Tensor& x, const Weights&) {
                return Windows(PaddedBy1(x), 3, 2).mean({-2, -1});
              });
  ExpectLayer("name: 'l' avg_pool { kernel: 6 }", {2, 3, 6, 6}, [](const at::Tensor& x, const Weights&) {
    return x.mean({-2, -1}, true);
  });
  const auto batch_norm = [](const at::Tensor& x, const Weights& w, std::vector<int64_t> dims,
                             std::vector<int64_t> shape) {
    const at::Tensor centred = x - x.mean(dims, true);
    const at::Tensor normal = centred / (centred.pow(2).mean(dims, true) + 1e-5).sqrt();
    return normal * w.at("l.weight").reshape(shape) + w.at("l.bias").reshape(shape);
  };
  ExpectLayer("name: 'l' batch_norm {}", {4, 3, 5, 5}, [&](const at::Tensor& x, const Weights& w) {
    return batch_norm(x, w, {0, 2, 3}, {1, -1, 1, 1});
  });
  ExpectLayer("name: 'l' batch_norm {}", {6, 13}, [&](const at::Tensor& x, const Weights& w) {
    return batch_norm(x, w, {0}, {1, -1});
  });
}

TEST(LayersTest, AttentionAndBlocksFollowTheirFormulas) {
  ExpectLayer("name: 'l' attention { heads: 3 dropout: 0.2 }", {2, 7, 24}, [](const at::Tensor& x, const Weights& w) {
    const auto parts = Linear(x, w, "l.qkv").chunk(3, -1);
    const at::Tensor y = Attend(Heads(parts[0], 3), Heads(parts[1], 3), Heads(parts[2], 3), false);
    return Dropped(Linear(y, w, "l.proj"), "l.dropout", 0.2);
  });
  ExpectLayer("name: 'l' attention { heads: 4 kv_heads: 2 rotary: true bias: false }", {2, 7, 32},
              [](const at::Tensor& x, const Weights& w) {
                const auto kv = Linear(x, w, "l.kv").chunk(2, -1);
                return Linear(Attend(Heads(Linear(x, w, "l.q"), 4), Heads(kv[0], 2), Heads(kv[1], 2), true), w,
                              "l.proj");
              });
  ExpectLayer("name: 'l' gpt_block { heads: 2 dropout: 0.1 }", {2, 7, 16}, [](const at::Tensor& x, const Weights& w) {
    const auto parts = Linear(LayerNorm(x, w.at("l.ln_1.weight"), w.at("l.ln_1.bias")), w, "l.attn.qkv").chunk(3, -1);
    const at::Tensor y = Attend(Heads(parts[0], 2), Heads(parts[1], 2), Heads(parts[2], 2), false);
    const at::Tensor middle = x + Dropped(Linear(y, w, "l.attn.proj"), "l.attn.dropout", 0.1);
    const at::Tensor hidden =
        GeluTanh(Linear(LayerNorm(middle, w.at("l.ln_2.weight"), w.at("l.ln_2.bias")), w, "l.mlp.fc"));
    return middle + Dropped(Linear(hidden, w, "l.mlp.proj"), "l.mlp.dropout", 0.1);
  });
  ExpectLayer("name: 'l' llama_block { heads: 4 kv_heads: 2 hidden: 24 }", {2, 7, 16},
              [](const at::Tensor& x, const Weights& w) {
                const at::Tensor n = RmsNorm(x, w.at("l.ln_1.weight"));
                const at::Tensor y = Attend(Heads(Linear(n, w, "l.attn.q"), 4), Heads(Linear(n, w, "l.attn.k"), 2),
                                            Heads(Linear(n, w, "l.attn.v"), 2), true);
                const at::Tensor middle = x + Linear(y, w, "l.attn.o");
                const at::Tensor m = RmsNorm(middle, w.at("l.ln_2.weight"));
                const at::Tensor gate = Linear(m, w, "l.mlp.gate");
                return middle + Linear(gate / (1 + (-gate).exp()) * Linear(m, w, "l.mlp.up"), w, "l.mlp.down");
              });
}

TEST(LayersTest, AnEmbeddingSumsTheGradientsOfEachToken) {
  BuiltLayer layer("name: 'l' embedding { vocab: 6 dim: 3 }", {4}, v1::DTYPE_INT64);
  const at::Tensor tokens = at::empty({1, 4}, at::kLong);
  for (int i = 0; i < 4; ++i) tokens.mutable_data_ptr<int64_t>()[i] = std::vector<int64_t>{2, 5, 2, 0}[i];
  Parameter* weight = layer.store()->parameters()[0].get();
  LayerContext context;
  context.training = true;
  Tape tape;
  GradientOrder order;
  order.BeginPass(1);
  const at::Tensor y = layer.function()->Forward(tokens, context, &tape);
  EXPECT_TRUE(y.select(1, 1).squeeze(0).equal(weight->value.select(0, 5)));
  const at::Tensor gradient = Random({1, 4, 3}, "gradient");
  EXPECT_FALSE(layer.function()->Backward(gradient, context, &tape, &order).defined());
  order.Close();
  order.WeightGradients(0);
  EXPECT_TRUE(weight->gradient.select(0, 2).allclose(gradient[0][0] + gradient[0][2]));
  EXPECT_TRUE(weight->gradient.select(0, 1).equal(at::zeros({3}, at::kFloat)));
}

TEST(LayersTest, DropoutAndBatchNormAreFixedFunctionsOutsideOfTraining) {
  LayerContext evaluation;
  const at::Tensor x = Random({8, 4}, "x");
  BuiltLayer dropout("name: 'l' dropout { p: 0.5 }", {4}, v1::DTYPE_FLOAT32);
  EXPECT_TRUE(dropout.function()->Forward(x, evaluation, nullptr).equal(x));
  BuiltLayer norm("name: 'l' batch_norm {}", {4}, v1::DTYPE_FLOAT32);
  norm.parts()->buffers["l.running_mean"].fill_(2);
  norm.parts()->buffers["l.running_var"].fill_(4 - 1e-5);
  const auto& parameters = norm.store()->parameters();
  ExpectClose((x - 2) / 2 * parameters[0]->value + parameters[1]->value,
              norm.function()->Forward(x, evaluation, nullptr), "y");
}

TEST(LayersTest, BatchNormCommitsTheMiniBatchsStatisticsOnce) {
  const at::Tensor x = Random({10, 3}, "x"), mean = at::zeros({3}, at::kFloat), variance = at::ones({3}, at::kFloat);
  BatchStatistics statistics(mean, variance, 0.1);
  statistics.Begin(3);
  // Out of order, and of different sizes.
  for (const auto& [micro_batch, begin, size] : {std::tuple{2, 7, 3}, {0, 0, 4}, {1, 4, 3}}) {
    const at::Tensor part = x.narrow(0, begin, size);
    statistics.Add(micro_batch, size, part.mean(0), part.var(0));
  }
  EXPECT_TRUE(mean.equal(at::zeros({3}, at::kFloat))) << "before the commit nothing changes";
  statistics.Commit();
  ExpectClose(0.1 * x.mean(0), mean, "mean");
  ExpectClose(0.9 + 0.1 * x.var(0), variance, "unbiased variance");
}

}  // namespace
}  // namespace penstock

int main(int argc, char** argv) {
  penstock::PrepareTorch();
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
