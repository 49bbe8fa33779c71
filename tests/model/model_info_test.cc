// Shapes, parameters and initial values of every kind of layer; models as a whole; what is refused.
#include "model/model_info.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <string>

#include "model/layer_kind.h"
#include "tests/model/model_builder.h"

namespace penstock {
namespace {

using Shape = std::vector<int64_t>;

// Infers one layer on an input. A relu keeps it from being the last, whose cost has the loss in it.
LayerInfo InferOne(const std::string& kind, const Shape& input, v1::DType dtype = v1::DTYPE_FLOAT32) {
  Diagnostics diagnostics;
  const ModelInfo info = InferModel(MakeModel(dtype, input, {{"l", kind}, {"last", "relu {}"}}), &diagnostics);
  return info.layers.empty() ? LayerInfo() : info.layers[0];
}

// What is wrong with one layer on an input.
std::string FaultOf(const std::string& kind, const Shape& input, v1::DType dtype = v1::DTYPE_FLOAT32) {
  Diagnostics diagnostics;
  InferModel(MakeModel(dtype, input, {{"l", kind}}), &diagnostics);
  const std::string text(diagnostics.ToStatus().message());
  return text.substr(0, text.find('\n'));
}

TEST(ModelInfoTest, EmbeddingTurnsTokensIntoRows) {
  const LayerInfo info = InferOne("embedding { vocab: 10 dim: 6 }", {4}, v1::DTYPE_INT64);
  EXPECT_EQ(info.output, (TensorType{v1::DTYPE_FLOAT32, {4, 6}}));
  EXPECT_EQ(ParameterText(info), "l.weight [10, 6] normal decay\n");
  EXPECT_EQ(info.parameters[0].init.scale, 0.02);
}

TEST(ModelInfoTest, PositionEmbeddingKeepsTheShape) {
  const LayerInfo info = InferOne("position_embedding { context: 9 init_std: 0.5 }", {4, 6});
  EXPECT_EQ(info.output.shape, (Shape{4, 6}));
  EXPECT_EQ(ParameterText(info), "l.weight [9, 6] normal decay\n");
  EXPECT_EQ(info.parameters[0].init.scale, 0.5);
}

TEST(ModelInfoTest, LinearActsOnTheLastDimension) {
  const LayerInfo info = InferOne("linear { out: 5 }", {2, 3, 16});
  EXPECT_EQ(info.output.shape, (Shape{2, 3, 5}));
  EXPECT_EQ(ParameterText(info), "l.weight [5, 16] uniform decay\nl.bias [5] uniform\n");
  EXPECT_EQ(info.parameters[0].init.scale, 0.25);
  EXPECT_EQ(info.parameters[1].init.scale, 0.25);
  EXPECT_EQ(ParameterText(InferOne("linear { out: 5 bias: false }", {16})), "l.weight [5, 16] uniform decay\n");
}

TEST(ModelInfoTest, Conv2dSlidesItsKernel) {
  const LayerInfo info = InferOne("conv2d { out: 8 kernel: 3 stride: 2 padding: 1 }", {4, 9, 12});
  EXPECT_EQ(info.output.shape, (Shape{8, 5, 6}));
  EXPECT_EQ(ParameterText(info), "l.weight [8, 4, 3, 3] uniform decay\nl.bias [8] uniform\n");
  EXPECT_DOUBLE_EQ(info.parameters[0].init.scale, 1 / 6.0);
}

TEST(ModelInfoTest, PoolsStrideByTheirKernelUnlessToldOtherwise) {
  EXPECT_EQ(InferOne("max_pool { kernel: 2 }", {3, 8, 7}).output.shape, (Shape{3, 4, 3}));
  EXPECT_EQ(InferOne("avg_pool { kernel: 3 stride: 1 padding: 1 }", {3, 8, 7}).output.shape, (Shape{3, 8, 7}));
  EXPECT_TRUE(InferOne("max_pool { kernel: 2 }", {3, 8, 7}).parameters.empty());
}

TEST(ModelInfoTest, BatchNormHasMovingAverages) {
  const LayerInfo info = InferOne("batch_norm {}", {3, 8, 8});
  EXPECT_EQ(ParameterText(info), "l.weight [3] ones\nl.bias [3] zeros\n");
  ASSERT_EQ(info.buffers.size(), 2u);
  EXPECT_EQ(info.buffers[0].name, "l.running_mean");
  EXPECT_EQ(info.buffers[0].value, 0);
  EXPECT_EQ(info.buffers[1].name, "l.running_var");
  EXPECT_EQ(info.buffers[1].value, 1);
  EXPECT_EQ(InferOne("batch_norm {}", {7}).parameters[0].shape, (Shape{7}));
}

TEST(ModelInfoTest, NormsHaveAWeightForEachFeature) {
  EXPECT_EQ(ParameterText(InferOne("layer_norm {}", {4, 6})), "l.weight [6] ones\nl.bias [6] zeros\n");
  EXPECT_EQ(ParameterText(InferOne("layer_norm { bias: false }", {4, 6})), "l.weight [6] ones\n");
  EXPECT_EQ(ParameterText(InferOne("rms_norm {}", {4, 6})), "l.weight [6] ones\n");
}

TEST(ModelInfoTest, ElementwiseKindsKeepTheShapeAndHaveNoParameters) {
  for (const std::string kind : {"relu {}", "gelu {}", "gelu { exact: true }", "silu {}", "tanh {}", "sigmoid {}",
                                 "dropout { p: 0.5 }", "delay { forward_us: 5 }"}) {
    const LayerInfo info = InferOne(kind, {2, 3, 4});
    EXPECT_EQ(info.output.shape, (Shape{2, 3, 4})) << kind;
    EXPECT_TRUE(info.parameters.empty()) << kind;
  }
  EXPECT_EQ(InferOne("flatten {}", {2, 3, 4}).output.shape, (Shape{24}));
}

TEST(ModelInfoTest, ResidualHasTheParametersOfItsBlock) {
  const LayerInfo info = InferOne(
      "residual { block { name: 'l.a' linear { out: 9 } } block { name: 'l.b' linear { out: 6 bias: false } } }",
      {4, 6});
  EXPECT_EQ(info.output.shape, (Shape{4, 6}));
  EXPECT_EQ(ParameterText(info),
            "l.a.weight [9, 6] uniform decay\nl.a.bias [9] uniform\nl.b.weight [6, 9] uniform decay\n");
}

TEST(ModelInfoTest, AttentionHasJointOrGroupedProjections) {
  EXPECT_EQ(ParameterText(InferOne("attention { heads: 4 }", {5, 8})),
            "l.qkv.weight [24, 8] normal decay\nl.qkv.bias [24] zeros\n"
            "l.proj.weight [8, 8] normal decay\nl.proj.bias [8] zeros\n");
  EXPECT_EQ(ParameterText(InferOne("attention { heads: 4 kv_heads: 2 bias: false rotary: true }", {5, 8})),
            "l.q.weight [8, 8] normal decay\nl.kv.weight [8, 8] normal decay\nl.proj.weight [8, 8] normal decay\n");
}

TEST(ModelInfoTest, GptBlockHasTwoNormsAndFourMatrices) {
  const LayerInfo info = InferOne("gpt_block { heads: 2 }", {5, 8});
  EXPECT_EQ(info.output.shape, (Shape{5, 8}));
  EXPECT_EQ(ParameterText(info),
            "l.ln_1.weight [8] ones\nl.ln_1.bias [8] zeros\n"
            "l.attn.qkv.weight [24, 8] normal decay\nl.attn.qkv.bias [24] zeros\n"
            "l.attn.proj.weight [8, 8] normal decay\nl.attn.proj.bias [8] zeros\n"
            "l.ln_2.weight [8] ones\nl.ln_2.bias [8] zeros\n"
            "l.mlp.fc.weight [32, 8] normal decay\nl.mlp.fc.bias [32] zeros\n"
            "l.mlp.proj.weight [8, 32] normal decay\nl.mlp.proj.bias [8] zeros\n");
}

TEST(ModelInfoTest, LlamaBlockHasNoBiases) {
  EXPECT_EQ(ParameterText(InferOne("llama_block { heads: 4 kv_heads: 2 hidden: 20 }", {5, 8})),
            "l.ln_1.weight [8] ones\n"
            "l.attn.q.weight [8, 8] normal decay\nl.attn.k.weight [4, 8] normal decay\n"
            "l.attn.v.weight [4, 8] normal decay\nl.attn.o.weight [8, 8] normal decay\n"
            "l.ln_2.weight [8] ones\n"
            "l.mlp.gate.weight [20, 8] normal decay\nl.mlp.up.weight [20, 8] normal decay\n"
            "l.mlp.down.weight [8, 20] normal decay\n");
}

TEST(ModelInfoTest, LlamaHiddenIsEightThirdsRoundedUpToThirtyTwo) {
  EXPECT_EQ(DefaultLlamaHidden(96), 256);
  EXPECT_EQ(DefaultLlamaHidden(12), 32);  // 8/3 of 12 is 32 sharp
  EXPECT_EQ(DefaultLlamaHidden(13), 64);  // 34.7
  EXPECT_EQ(DefaultLlamaHidden(4096), 10944);
}

TEST(ModelInfoTest, OutputProjectionsStartSmallerTheMoreBlocksThereAre) {
  const ModelInfo info = InferModel(MakeModel(v1::DTYPE_INT64, {5},
                                              {{"e", "embedding { vocab: 256 dim: 8 }"},
                                               {"h.0", "gpt_block { heads: 2 }"},
                                               {"r", "residual { block { name: 'r.b' llama_block { heads: 2 } } }"},
                                               {"head", "lm_head { vocab: 256 }"}}))
                             .value();
  std::map<std::string, double> scale;
  for (const LayerInfo& layer : info.layers) {
    for (const ParameterSpec& parameter : layer.parameters) scale[parameter.name] = parameter.init.scale;
  }
  EXPECT_EQ(scale["h.0.attn.qkv.weight"], 0.02);
  EXPECT_EQ(scale["h.0.mlp.fc.weight"], 0.02);
  for (const char* name : {"h.0.attn.proj.weight", "h.0.mlp.proj.weight", "r.b.attn.o.weight", "r.b.mlp.down.weight"}) {
    EXPECT_DOUBLE_EQ(scale[name], 0.02 / std::sqrt(4.0)) << name;  // two blocks
  }
  EXPECT_EQ(scale["head.weight"], 0.02);
}

TEST(ModelInfoTest, LmHeadHasABiasOnlyIfAsked) {
  EXPECT_EQ(ParameterText(InferOne("lm_head { vocab: 9 }", {5, 8})), "l.weight [9, 8] normal decay\n");
  EXPECT_EQ(ParameterText(InferOne("lm_head { vocab: 9 bias: true }", {5, 8})),
            "l.weight [9, 8] normal decay\nl.bias [9] zeros\n");
}

// GPT-2's smallest model has 124,439,808 parameters with a tied head; this one's head is its own.
TEST(ModelInfoTest, CountsTheParametersOfGpt2) {
  std::vector<NamedKind> layers = {{"wte", "embedding { vocab: 50257 dim: 768 }"},
                                   {"wpe", "position_embedding { context: 1024 }"}};
  for (int i = 0; i < 12; ++i) layers.push_back({"h." + std::to_string(i), "gpt_block { heads: 12 }"});
  layers.push_back({"ln_f", "layer_norm {}"});
  layers.push_back({"lm_head", "lm_head { vocab: 50257 }"});
  const ModelInfo info = InferModel(MakeModel(v1::DTYPE_INT64, {1024}, layers)).value();
  EXPECT_EQ(info.ParameterElements(), 124'439'808 + 50257 * 768);
  EXPECT_EQ(info.layers[2].ParameterElements(), 7'087'872);
  EXPECT_EQ(info.vocab, 50257);
  EXPECT_EQ(info.classes, 50257);
}

TEST(ModelInfoTest, EveryKindHasARule) {
  for (const std::string& kind : KindNames()) {
    EXPECT_EQ(FaultOf(kind + " {}", {4, 4}).find("does not know"), std::string::npos) << kind;
  }
  EXPECT_EQ(KindNames().size(), 28u);
}

TEST(ModelInfoTest, RefusesWhatDoesNotFitAKind) {
  EXPECT_EQ(FaultOf("linear { out: 0 }", {4}),
            "error: layer 'l' (linear): out is 0: it must be between 1 and 2147483647");
  EXPECT_EQ(
      FaultOf("linear { out: 4 }", {4}, v1::DTYPE_INT64),
      "error: layer 'l' (linear): needs numbers as input, but gets tokens [4]: an embedding layer must come first");
  EXPECT_EQ(FaultOf("embedding { vocab: 4 dim: 4 }", {4}),
            "error: layer 'l' (embedding): needs tokens as input, but gets numbers [4]");
  EXPECT_EQ(
      FaultOf("position_embedding { context: 3 }", {4, 6}),
      "error: layer 'l' (position_embedding): context is 3, but a sequence has 4 positions: context must be at least "
      "data.seq_len");
  EXPECT_EQ(FaultOf("conv2d { out: 4 kernel: 3 }", {4}),
            "error: layer 'l' (conv2d): needs an input of the form [channels, height, width], but gets [4]");
  EXPECT_EQ(FaultOf("conv2d { out: 4 kernel: 5 }", {1, 4, 9}),
            "error: layer 'l' (conv2d): a kernel of 5 does not fit into [1, 4, 9] with padding 0");
  EXPECT_EQ(FaultOf("max_pool { kernel: 2 padding: 2 }", {1, 4, 4}),
            "error: layer 'l' (max_pool): padding is 2: at most half of the kernel, 1, is allowed");
  EXPECT_EQ(
      FaultOf("batch_norm {}", {4, 4}),
      "error: layer 'l' (batch_norm): needs an input of the form [channels, height, width] or [features], but gets "
      "[4, 4]");
  EXPECT_EQ(FaultOf("batch_norm { momentum: 2 }", {4}),
            "error: layer 'l' (batch_norm): momentum is 2: it must be between 0 and 1");
  EXPECT_EQ(FaultOf("layer_norm { eps: 0 }", {4}), "error: layer 'l' (layer_norm): eps is 0: it must be above 0");
  EXPECT_EQ(FaultOf("dropout { p: 1 }", {4}), "error: layer 'l' (dropout): p is 1: it must be at least 0 and below 1");
  EXPECT_EQ(FaultOf("residual {}", {4}), "error: layer 'l' (residual): block is empty: it needs at least one layer");
  EXPECT_EQ(FaultOf("residual { block { name: 'l.a' linear { out: 3 } } }", {4}),
            "error: layer 'l' (residual): block turns [4] into [3]: a residual block must keep the shape of its input");
  EXPECT_EQ(FaultOf("attention { heads: 3 }", {4, 8}),
            "error: layer 'l' (attention): heads is 3, which does not divide the width 8");
  EXPECT_EQ(FaultOf("attention { heads: 4 kv_heads: 3 }", {4, 8}),
            "error: layer 'l' (attention): kv_heads is 3, which does not divide heads, 4");
  EXPECT_EQ(FaultOf("llama_block { heads: 8 }", {4, 8}),
            "error: layer 'l' (llama_block): rotary positions need an even width per head, but 8 / 8 is 1");
  EXPECT_EQ(FaultOf("delay { forward_us: -1 }", {4}), "error: layer 'l' (delay): a duration is below 0");
  EXPECT_EQ(FaultOf("", {4}), "error: layer 'l': has no kind");
}

std::string FaultsOf(const v1::Model& model) {
  Diagnostics diagnostics;
  InferModel(model, &diagnostics);
  return std::string(diagnostics.ToStatus().message());
}

TEST(ModelInfoTest, ChecksTheLossAgainstTheOutput) {
  EXPECT_EQ(FaultsOf(MakeModel(v1::DTYPE_INT64, {5}, {{"e", "embedding { vocab: 9 dim: 8 }"}, {"f", "flatten {}"}})),
            "error: layer 'f': cross_entropy of tokens [5] needs the form [5, vocabulary] from the last layer, but its "
            "output is [40]");
  EXPECT_EQ(FaultsOf(MakeModel(v1::DTYPE_FLOAT32, {2, 5}, {{"r", "relu {}"}})),
            "error: layer 'r': cross_entropy needs the form [classes] from the last layer, but its output is [2, 5]");
  EXPECT_EQ(
      FaultsOf(MakeModel(v1::DTYPE_FLOAT32, {5}, {{"r", "relu {}"}}, v1::LOSS_MSE)),
      "error: layer 'r': mse compares with one target column, so the last layer must give [1], but its output is [5]");
  EXPECT_EQ(
      FaultsOf(MakeModel(v1::DTYPE_INT64, {5}, {{"e", "embedding { vocab: 9 dim: 1 }"}}, v1::LOSS_MSE)),
      "error: layer 'e': mse compares numbers, and the data are tokens: use cross_entropy, but its output is [5, 1]");
  EXPECT_EQ(FaultsOf(MakeModel(v1::DTYPE_FLOAT32, {5}, {{"r", "relu {}"}}, v1::LOSS_UNSPECIFIED)),
            "error: model.loss is missing: cross_entropy or mse");
  EXPECT_EQ(FaultsOf(MakeModel(v1::DTYPE_INT64, {5}, {{"d", "delay {}"}})),
            "error: layer 'd': the loss needs numbers, but its output is [5]");
}

TEST(ModelInfoTest, ChecksNames) {
  EXPECT_EQ(FaultsOf(MakeModel(v1::DTYPE_FLOAT32, {5},
                               {{"a", "relu {}"}, {"a", "relu {}"}, {"b c", "relu {}"}, {"optimizer.x", "relu {}"}})),
            "error: two layers have the name 'a'\n"
            "error: layer name 'b c' is not made of letters, digits, '_', '-' and single dots\n"
            "error: layer name 'optimizer.x' is taken: checkpoints keep the optimizer's state under it");
  EXPECT_EQ(
      FaultsOf(MakeModel(
          v1::DTYPE_INT64, {5},
          {{"e", "embedding { vocab: 9 dim: 8 }"}, {"h", "gpt_block { heads: 2 }"}, {"h.ln_1", "layer_norm {}"}})),
      "error: layer 'h.ln_1': another layer already has a parameter 'h.ln_1.weight'\n"
      "error: layer 'h.ln_1': another layer already has a parameter 'h.ln_1.bias'");
}

TEST(ModelInfoTest, GoesOnAfterAFaultWhereTheShapeIsKnown) {
  EXPECT_EQ(FaultsOf(MakeModel(v1::DTYPE_FLOAT32, {5},
                               {{"a", "dropout { p: 3 }"},
                                {"b", "layer_norm { eps: -1 }"},
                                {"c", "linear { out: 0 }"},
                                {"d", "dropout { p: 4 }"}})),
            "error: layer 'a' (dropout): p is 3: it must be at least 0 and below 1\n"
            "error: layer 'b' (layer_norm): eps is -1: it must be above 0\n"
            "error: layer 'c' (linear): out is 0: it must be between 1 and 2147483647");
}

TEST(ModelInfoTest, SaysNothingOfLayersThatAreReportedAlready) {
  const v1::Model model =
      MakeModel(v1::DTYPE_FLOAT32, {5}, {{"a", "dropout { p: 3 }"}, {"c", "linear {}"}, {"d", "tanh {}"}});
  Diagnostics diagnostics;
  InferModel(model, &diagnostics, {"a", "c"});
  EXPECT_TRUE(diagnostics.ok()) << diagnostics.ToStatus();
}

TEST(ModelInfoTest, RefusesModelsThatNothingCouldHold) {
  EXPECT_EQ(FaultsOf(MakeModel(v1::DTYPE_FLOAT32, {5},
                               {{"a", "linear { out: 2147483647 }"}, {"b", "linear { out: 2147483647 }"}})),
            "error: the model has more than 2^40 parameters");
  EXPECT_EQ(FaultsOf(MakeModel(v1::DTYPE_FLOAT32, {2147483647, 2147483647}, {{"a", "relu {}"}})),
            "error: model.input: more than 2^40 elements a sample");
  EXPECT_EQ(FaultsOf(MakeModel(v1::DTYPE_FLOAT32, {1048576, 2}, {{"a", "linear { out: 2147483647 }"}})),
            "error: layer 'a' (linear): its output [1048576, 2147483647] has more than 2^40 elements a sample");
  EXPECT_EQ(FaultsOf(MakeModel(v1::DTYPE_FLOAT32, {0}, {{"a", "relu {}"}})),
            "error: model.input: the shape [0] has a size that is not between 1 and 2147483647");
  EXPECT_EQ(FaultsOf(v1::Model()), "error: the model has no layers");
}

TEST(ModelInfoTest, FillsInDefaultsThatWereNotGiven) {
  v1::Model model = MakeModel(v1::DTYPE_INT64, {5},
                              {{"e", "embedding { vocab: 9 dim: 96 init_std: 0.5 }"},
                               {"r", "residual { block { name: 'r.b' llama_block { heads: 2 } } }"},
                               {"h", "lm_head { vocab: 9 }"}});
  FillDefaults(&model);
  EXPECT_EQ(model.layers(0).embedding().init_std(), 0.5);
  const v1::LlamaBlock& block = model.layers(1).residual().block(0).llama_block();
  EXPECT_EQ(block.kv_heads(), 2);
  EXPECT_EQ(block.hidden(), 256);
  EXPECT_EQ(block.rotary_base(), 10000);
  EXPECT_TRUE(model.layers(2).lm_head().has_bias());
}

}  // namespace
}  // namespace penstock
