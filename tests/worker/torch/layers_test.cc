// Layer kinds beside their formulas; those of images stand in image_layers_test.cc.
#include <cmath>
#include <string>
#include <vector>

#include "tests/worker/torch/layer_formula.h"
#include "worker/torch/torch_device.h"

namespace penstock {
namespace {

at::Tensor RmsNorm(const at::Tensor& x, const at::Tensor& weight) {
  return x / (x.pow(2).mean(-1, true) + 1e-5).sqrt() * weight;
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

}  // namespace
}  // namespace penstock

int main(int argc, char** argv) {
  penstock::PrepareTorch();
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
