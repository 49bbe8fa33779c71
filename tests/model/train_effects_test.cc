// What frozen parameters and 16-bit activations change of a model.
#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include <string>

#include "model/layer_kind.h"
#include "model/model_info.h"

namespace penstock {
namespace {

// 16 tokens; two blocks of width 8; `more` are further fields of the model.
ModelInfo Gpt(const std::string& more, const std::string& block_fields = "") {
  v1::Model model;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(R"(
      input { dtype: DTYPE_INT64 shape: 16 } loss: LOSS_CROSS_ENTROPY
      layers { name: "wte" embedding { vocab: 32 dim: 8 } }
      layers { name: "h.0" )" + block_fields + R"( gpt_block { heads: 2 } }
      layers { name: "res" residual { block { name: "res.a" frozen: true linear { out: 8 } }
                                      block { name: "res.b" linear { out: 8 } } } }
      layers { name: "ln_f" layer_norm {} }
      layers { name: "head" lm_head { vocab: 32 } } )" + more,
                                                            &model));
  FillDefaults(&model);
  absl::StatusOr<ModelInfo> info = InferModel(model);
  EXPECT_TRUE(info.ok()) << info.status();
  return info.ok() ? *info : ModelInfo();
}

std::string Frozen(const LayerInfo& layer) {
  std::string names;
  for (const ParameterSpec& parameter : layer.parameters) {
    if (parameter.frozen) names += parameter.name + " ";
  }
  return names;
}

TEST(TrainEffectsTest, MarksWhatAPatternOrALayerFreezes) {
  const ModelInfo info = Gpt("freeze: '*.ln_1.*' freeze: 'head.*'");
  EXPECT_EQ(Frozen(info.layers[0]), "");
  EXPECT_EQ(Frozen(info.layers[1]), "h.0.ln_1.weight h.0.ln_1.bias ");
  EXPECT_EQ(Frozen(info.layers[2]), "res.a.weight res.a.bias ");
  EXPECT_EQ(Frozen(info.layers[4]), "head.weight ");
  EXPECT_EQ(Gpt("", "frozen: true").layers[1].parameters[7].frozen, true);
}

TEST(TrainEffectsTest, NothingBelowTheLowestTrainedParameterNeedsAGradient) {
  const ModelInfo info = Gpt("freeze: 'wte.*' freeze: 'h.*'");
  EXPECT_FALSE(info.layers[0].needs_gradient);
  EXPECT_FALSE(info.layers[1].needs_gradient);
  EXPECT_FALSE(info.layers[2].needs_input_gradient) << "it is trained, what it reads is not";
  EXPECT_TRUE(info.layers[2].needs_gradient);
  EXPECT_TRUE(info.layers[3].needs_input_gradient);
  EXPECT_EQ(info.layers[1].cost.backward_flops, 0);
  EXPECT_EQ(info.layers[1].cost.activation_bytes, 0);
  EXPECT_EQ(info.layers[1].cost.deferred_bytes, 0);
  EXPECT_GT(info.layers[1].cost.forward_flops, 0);
}

TEST(TrainEffectsTest, AFrozenLayerAboveATrainedOnePassesGradientsOnAndComputesNoneOfItsOwn) {
  const ModelInfo trained = Gpt(""), frozen = Gpt("freeze: 'head.*'");
  const LayerCost &before = trained.layers[4].cost, &after = frozen.layers[4].cost;
  EXPECT_TRUE(frozen.layers[4].needs_gradient);
  EXPECT_EQ(after.weight_flops, 0);
  EXPECT_EQ(after.backward_flops, before.backward_flops - before.weight_flops);
  EXPECT_EQ(after.deferred_bytes, 0);
  EXPECT_EQ(after.activation_bytes, before.activation_bytes);
}

TEST(TrainEffectsTest, ActivationsTakeTheTypeThatTheModelComputesIn) {
  const ModelInfo full = Gpt(""), half = Gpt("compute: DTYPE_BFLOAT16");
  EXPECT_EQ(half.layers[0].input.dtype, v1::DTYPE_INT64);
  for (const LayerInfo& layer : half.layers) EXPECT_EQ(layer.output.dtype, v1::DTYPE_BFLOAT16) << layer.name;
  EXPECT_EQ(half.layers[1].output.Bytes(), full.layers[1].output.Bytes() / 2);
  // A norm keeps its input, and two numbers a position in float32; the embedding its tokens.
  EXPECT_EQ(half.layers[3].cost.activation_bytes, 16 * 8 * 2 + 16 * 2 * 4);
  EXPECT_EQ(half.layers[0].cost.activation_bytes, full.layers[0].cost.activation_bytes);
  EXPECT_EQ(half.layers[2].cost.deferred_bytes, full.layers[2].cost.deferred_bytes / 2);
  // The loss is float32: the head's own input alone shrinks.
  EXPECT_EQ(full.layers[4].cost.activation_bytes - half.layers[4].cost.activation_bytes, 16 * 8 * 2);
  EXPECT_EQ(half.layers[4].cost.gradient_bytes, 32 * 8 * 2);
}

}  // namespace
}  // namespace penstock
