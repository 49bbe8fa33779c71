// Costs per sample, against figures worked out by hand beside them.
#include <gtest/gtest.h>

#include <string>

#include "model/model_info.h"
#include "tests/model/model_builder.h"

namespace penstock {
namespace {

LayerCost CostOf(const std::string& kind, const std::vector<int64_t>& input, v1::DType dtype = v1::DTYPE_FLOAT32) {
  Diagnostics diagnostics;
  const ModelInfo info = InferModel(MakeModel(dtype, input, {{"l", kind}, {"last", "relu {}"}}), &diagnostics);
  return info.layers.empty() ? LayerCost() : info.layers[0].cost;
}

TEST(LayerCostTest, LinearIsTwoOperationsAWeightAndPosition) {
  const LayerCost cost = CostOf("linear { out: 5 }", {3, 7});
  EXPECT_EQ(cost.forward_flops, 2 * 3 * 7 * 5);
  EXPECT_EQ(cost.backward_flops, 2 * cost.forward_flops);
  EXPECT_EQ(cost.weight_flops, cost.forward_flops);
  EXPECT_EQ(cost.activation_bytes, 3 * 7 * 4);            // its input
  EXPECT_EQ(cost.deferred_bytes, 3 * 7 * 4 + 3 * 5 * 4);  // with its output's gradient
  EXPECT_EQ(cost.gradient_bytes, 0);                      // the product goes straight into the sum
}

TEST(LayerCostTest, Conv2dIsTwoOperationsAKernelWeightAndPixel) {
  const LayerCost cost = CostOf("conv2d { out: 8 kernel: 3 padding: 1 }", {4, 5, 6});
  EXPECT_EQ(cost.forward_flops, 2 * (8 * 5 * 6) * (4 * 3 * 3));
  EXPECT_EQ(cost.weight_flops, cost.forward_flops);
  EXPECT_EQ(cost.activation_bytes, 4 * 5 * 6 * 4);
  EXPECT_EQ(cost.deferred_bytes, 4 * 5 * 6 * 4 + 8 * 5 * 6 * 4);
  EXPECT_EQ(cost.gradient_bytes, 8 * 4 * 3 * 3 * 4);  // a kernel's own, before it is added
}

TEST(LayerCostTest, EmbeddingKeepsItsTokens) {
  const LayerCost cost = CostOf("embedding { vocab: 10 dim: 6 }", {4}, v1::DTYPE_INT64);
  EXPECT_EQ(cost.forward_flops, 0);
  EXPECT_EQ(cost.activation_bytes, 4 * 8);
  EXPECT_EQ(cost.deferred_bytes, 4 * 8 + 4 * 6 * 4);    // with its output's gradient
  EXPECT_EQ(cost.memory_bytes, 4 * 8 + 2 * 4 * 6 * 4);  // tokens; rows read, rows written
}

TEST(LayerCostTest, NormsAndPoolsKeepWhatTheirGradientsNeed) {
  EXPECT_EQ(CostOf("layer_norm {}", {3, 8}).activation_bytes, 3 * 8 * 4 + 3 * 2 * 4);  // input, mean, 1/deviation
  EXPECT_EQ(CostOf("rms_norm {}", {3, 8}).activation_bytes, 3 * 8 * 4 + 3 * 4);        // input, 1/rms
  EXPECT_EQ(CostOf("batch_norm {}", {3, 8, 8}).activation_bytes, 3 * 8 * 8 * 4);       // input
  EXPECT_EQ(CostOf("max_pool { kernel: 2 }", {3, 8, 8}).activation_bytes, 3 * 64 * 4 + 3 * 16 * 8);  // input, indices
  EXPECT_EQ(CostOf("avg_pool { kernel: 2 }", {3, 8, 8}).activation_bytes, 0);                        // a shape
  EXPECT_EQ(CostOf("dropout { p: 0.1 }", {8}).activation_bytes, 8 * 4);                              // mask
  EXPECT_EQ(CostOf("dropout { p: 0 }", {8}).activation_bytes, 0);
  EXPECT_EQ(CostOf("position_embedding { context: 9 }", {3, 8}).activation_bytes, 0);
  EXPECT_EQ(CostOf("flatten {}", {8, 2}).activation_bytes, 0);  // a view
}

TEST(LayerCostTest, GptBlockAgreesWithItsTermsOneByOne) {
  constexpr int64_t kT = 6, kD = 8, kH = 2;
  const LayerCost cost = CostOf("gpt_block { heads: 2 }", {kT, kD});
  const int64_t matrices = kD * 3 * kD + kD * kD + kD * 4 * kD + 4 * kD * kD;  // qkv, proj, fc, proj
  const int64_t scores = 2 * kT * kT * kD;                                     // q·k and scores·v, all heads
  EXPECT_EQ(cost.forward_flops, 2 * kT * matrices + 2 * scores);
  EXPECT_EQ(cost.backward_flops, 2 * cost.forward_flops);
  EXPECT_EQ(cost.weight_flops, 2 * kT * matrices);  // attention's scores have no weights
  // Inputs and output gradients of qkv (1 + 3 rows), proj (1 + 1), fc (1 + 4), proj (4 + 1).
  EXPECT_EQ(cost.deferred_bytes, 4 * 16 * kT * kD);
  // x, ln_1, q, k, v, attention's output, x + attention, ln_2, fc (4 wide), gelu (4 wide): 16 rows of the width;
  // the logarithm of each row's sum; mean and deviation of two norms.
  EXPECT_EQ(cost.activation_bytes, 4 * (16 * kT * kD + kT * kH + 4 * kT));
  EXPECT_EQ(CostOf("gpt_block { heads: 2 dropout: 0.1 }", {kT, kD}).activation_bytes - cost.activation_bytes,
            2 * 4 * kT * kD);  // two masks
}

TEST(LayerCostTest, LlamaBlockAgreesWithItsTermsOneByOne) {
  constexpr int64_t kT = 6, kD = 8, kH = 2, kF = 32;
  const LayerCost cost = CostOf("llama_block { heads: 2 hidden: 32 }", {kT, kD});
  EXPECT_EQ(cost.forward_flops, 2 * kT * (4 * kD * kD + 3 * kD * kF) + 4 * kT * kT * kD);
  EXPECT_EQ(cost.weight_flops, 2 * kT * (4 * kD * kD + 3 * kD * kF));
  // Inputs and output gradients: q, k, v share one (1 + 3 rows), o (1 + 1), gate and up share one (1, 2 wide), down.
  EXPECT_EQ(cost.deferred_bytes, 4 * (8 * kT * kD + 3 * kT * kF));
  // x, ln_1; q, k, v, output; x + attention, ln_2; gate, up; sums; 1/rms twice.
  EXPECT_EQ(cost.activation_bytes, 4 * (8 * kT * kD + 2 * kT * kF + kT * kH + 2 * kT));
  // Keys and values of grouped heads are repeated to all: they take as much.
  EXPECT_EQ(CostOf("llama_block { heads: 2 kv_heads: 1 hidden: 32 }", {kT, kD}).activation_bytes,
            cost.activation_bytes);
}

TEST(LayerCostTest, AttentionKeepsRotatedAndRepeatedCopies) {
  constexpr int64_t kT = 6, kD = 8, kRow = 4 * kT * kD, kSums = 4 * kT * 4;
  EXPECT_EQ(CostOf("attention { heads: 4 }", {kT, kD}).activation_bytes, 5 * kRow + kSums);  // x, q, k, v, output
  // Rotated queries and keys stand beside the joint projection, whose buffer the values keep.
  EXPECT_EQ(CostOf("attention { heads: 4 rotary: true }", {kT, kD}).activation_bytes, 7 * kRow + kSums);
  // Keys and values of half the width, repeated to all heads; the originals go.
  EXPECT_EQ(CostOf("attention { heads: 4 kv_heads: 2 }", {kT, kD}).activation_bytes, 5 * kRow + kSums);
}

TEST(LayerCostTest, ResidualAddsUpItsBlock) {
  const LayerCost linear = CostOf("linear { out: 8 }", {3, 8}), relu = CostOf("relu {}", {3, 8});
  const LayerCost cost =
      CostOf("residual { block { name: 'l.a' linear { out: 8 } } block { name: 'l.b' relu {} } }", {3, 8});
  EXPECT_EQ(cost.forward_flops, linear.forward_flops);
  EXPECT_EQ(cost.activation_bytes, linear.activation_bytes + relu.activation_bytes);
  EXPECT_EQ(cost.memory_bytes, relu.memory_bytes + 3 * 3 * 8 * 4);
  EXPECT_EQ(cost.weight_flops, linear.weight_flops);
  EXPECT_EQ(cost.deferred_bytes, linear.deferred_bytes);
  // The other way round, relu's output is linear's input: one tensor.
  const LayerCost joined =
      CostOf("residual { block { name: 'l.a' relu {} } block { name: 'l.b' linear { out: 8 } } }", {3, 8});
  EXPECT_EQ(joined.activation_bytes, relu.activation_bytes);
}

TEST(LayerCostTest, ATensorThatTwoLayersKeepIsNamedWithTheLayerThatMadeIt) {
  const ModelInfo info = InferModel(MakeModel(v1::DTYPE_FLOAT32, {2, 4, 4},
                                              {{"bn", "batch_norm {}"},
                                               {"relu", "relu {}"},
                                               {"flat", "flatten {}"},
                                               {"drop", "dropout { p: 0 }"},
                                               {"fc", "linear { out: 8 }"},
                                               {"gelu", "gelu {}"},
                                               {"last", "linear { out: 3 }"}}))
                             .value();
  std::vector<int64_t> shared;
  for (const LayerInfo& layer : info.layers) shared.push_back(layer.cost.shared_bytes);
  // fc keeps what relu made, through two views; gelu keeps its input, so that the last layer's is its own.
  EXPECT_EQ(shared, (std::vector<int64_t>{0, 0, 0, 0, 2 * 4 * 4 * 4, 0, 0}));
  EXPECT_EQ(info.layers[4].cost.shared_from, 1);
}

TEST(LayerCostTest, DelayTakesItsTimeWhateverTheSample) {
  const LayerCost cost = CostOf("delay { forward_us: 10 input_grad_us: 3 weight_grad_us: 4 }", {1000});
  EXPECT_EQ(cost.fixed_forward_us, 10);
  EXPECT_EQ(cost.fixed_backward_us, 7);
  EXPECT_EQ(cost.fixed_weight_us, 4);
  EXPECT_EQ(cost.forward_flops, 0);
  EXPECT_EQ(cost.activation_bytes, 0);
}

TEST(LayerCostTest, LastLayerPaysForTheLoss) {
  const std::vector<NamedKind> layers = {{"e", "embedding { vocab: 9 dim: 8 }"}, {"h", "lm_head { vocab: 9 }"}};
  const ModelInfo info = InferModel(MakeModel(v1::DTYPE_INT64, {5}, layers)).value();
  const int64_t logits = 5 * 9 * 4;
  EXPECT_EQ(info.layers[1].cost.activation_bytes, 5 * 8 * 4 + logits + 5 * 8);  // input; log-probabilities, classes
}

}  // namespace
}  // namespace penstock
