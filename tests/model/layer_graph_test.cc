// Lists whose layers read others than the one before: what they read, what crosses a cut, what is refused.
#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "model/boundary.h"
#include "model/layer_kind.h"
#include "model/model_info.h"
#include "tests/model/model_builder.h"

namespace penstock {
namespace {

// A small U-Net: `a` is read by `pool` and by `cat`.
std::vector<NamedKind> UNet() {
  return {{"a", "conv2d { out: 4 kernel: 3 padding: 1 }"},
          {"pool", "max_pool { kernel: 2 }"},
          {"b", "conv2d { out: 6 kernel: 3 padding: 1 }"},
          {"up", "conv_transpose2d { out: 4 kernel: 2 stride: 2 }"},
          {"cat", "from: 'a' from: 'up' concat {}"},
          {"flat", "flatten {}"},
          {"fc", "linear { out: 5 }"}};
}

std::string ReadsText(const ModelInfo& info) {
  std::vector<std::string> lines;
  for (const LayerInfo& layer : info.layers) {
    lines.push_back(absl::StrCat(layer.name, ": ", absl::StrJoin(layer.reads, ",")));
  }
  return absl::StrJoin(lines, "; ");
}

// "a [4, 8, 8] <-, b [6, 4, 4] <-": `<-` where a gradient comes back.
std::string AcrossText(const ModelInfo& info, int cut) {
  std::vector<std::string> tensors;
  for (const BoundaryTensor& tensor : TensorsAcross(info, cut)) {
    tensors.push_back(
        absl::StrCat(tensor.name, " [", absl::StrJoin(tensor.type.shape, ", "), "]", tensor.has_gradient ? " <-" : ""));
  }
  return absl::StrJoin(tensors, ", ");
}

TEST(LayerGraphTest, ALayerReadsTheOneBeforeItOrThoseItNames) {
  const ModelInfo info = InferModel(MakeModel(v1::DTYPE_FLOAT32, {1, 8, 8}, UNet())).value();
  EXPECT_EQ(ReadsText(info), "a: -1; pool: 0; b: 1; up: 2; cat: 0,3; flat: 4; fc: 5");
  EXPECT_EQ(info.layers[3].output.shape, (std::vector<int64_t>{4, 8, 8}));
  EXPECT_EQ(info.layers[4].output.shape, (std::vector<int64_t>{8, 8, 8}));
}

TEST(LayerGraphTest, WhatWasMadeBeforeACutAndIsReadBehindItCrosses) {
  const ModelInfo info = InferModel(MakeModel(v1::DTYPE_FLOAT32, {1, 8, 8}, UNet())).value();
  EXPECT_EQ(AcrossText(info, 0), "x [1, 8, 8]");
  EXPECT_EQ(AcrossText(info, 1), "x [4, 8, 8] <-");  // both readers are behind the cut: it crosses once
  EXPECT_EQ(AcrossText(info, 2), "a [4, 8, 8] <-, pool [4, 4, 4] <-");
  EXPECT_EQ(AcrossText(info, 4), "a [4, 8, 8] <-, up [4, 8, 8] <-");
  EXPECT_EQ(AcrossText(info, 5), "x [8, 8, 8] <-");
  EXPECT_EQ(AcrossText(info, 7), "x [5] <-");
}

TEST(LayerGraphTest, TokensAndTheModelsInputCrossWithoutAGradient) {
  const ModelInfo tokens = InferModel(MakeModel(v1::DTYPE_INT64, {6},
                                                {{"wte", "embedding { vocab: 9 dim: 4 }"},
                                                 {"norm", "layer_norm {}"},
                                                 {"again", "from: 'input' embedding { vocab: 9 dim: 4 }"},
                                                 {"sum", "from: 'norm' from: 'again' add {}"},
                                                 {"head", "lm_head { vocab: 9 }"}}))
                               .value();
  EXPECT_EQ(AcrossText(tokens, 1), "input [6], wte [6, 4] <-");
  EXPECT_EQ(AcrossText(tokens, 3), "norm [6, 4] <-, again [6, 4] <-");
  EXPECT_TRUE(tokens.layers[2].ReadsModelInputOnly());
  EXPECT_FALSE(tokens.layers[3].ReadsModelInputOnly());
}

// Brute force: walks the layers one by one, with every tensor that is there.
TEST(LayerGraphTest, StagesOfAnyCutHandEachOtherWhatLaterOnesRead) {
  std::mt19937 random(3);
  for (int trial = 0; trial < 200; ++trial) {
    const int count = 2 + static_cast<int>(random() % 9);
    std::vector<NamedKind> kinds = {{"l0", "relu {}"}};
    std::set<int> unread = {0};
    for (int i = 1; i < count; ++i) {
      std::set<int> from = {i - 1};
      while (random() % 3 != 0) from.insert(static_cast<int>(random() % (i + 1)) - 1);
      if (i + 1 == count) from.insert(unread.begin(), unread.end());
      std::string names;
      for (const int f : from) absl::StrAppend(&names, "from: '", f < 0 ? "input" : absl::StrCat("l", f), "' ");
      for (const int f : from) unread.erase(f);
      unread.insert(i);
      kinds.push_back({absl::StrCat("l", i), names + (from.size() > 1 ? "add {}" : "relu {}")});
    }
    const ModelInfo info = InferModel(MakeModel(v1::DTYPE_FLOAT32, {3}, kinds)).value();
    const int cut = 1 + static_cast<int>(random() % (count - 1));
    std::set<int> wanted;
    for (int i = cut; i < count; ++i) {
      for (const int source : info.layers[i].reads) {
        if (source < cut) wanted.insert(source);
      }
    }
    std::vector<int> across;
    for (const BoundaryTensor& tensor : TensorsAcross(info, cut)) across.push_back(tensor.source);
    EXPECT_EQ(across, std::vector<int>(wanted.begin(), wanted.end())) << ReadsText(info) << ", cut " << cut;

    // Slots, spelled out as sources, are the layers' reads.
    const int begin = static_cast<int>(random() % cut);
    const Wiring wiring = WiringOf(info, begin, cut);
    std::vector<int> source;
    for (const BoundaryTensor& tensor : TensorsAcross(info, begin)) source.push_back(tensor.source);
    for (int i = begin; i < cut; ++i) source.push_back(i);
    for (int i = begin; i < cut; ++i) {
      std::vector<int> reads;
      for (const int slot : wiring.reads[i - begin]) reads.push_back(source[slot]);
      EXPECT_EQ(reads, info.layers[i].reads);
    }
    std::vector<int> leaving;
    for (const int slot : wiring.outputs) leaving.push_back(source[slot]);
    EXPECT_EQ(leaving, across);
  }
}

TEST(LayerGraphTest, AGraphIsOneLayerThatReadsSeveral) {
  const v1::Model model = MakeModel(v1::DTYPE_FLOAT32, {4, 6, 6},
                                    {{"a", "conv2d { out: 8 kernel: 1 }"},
                                     {"cell",
                                      "from: 'a' from: 'input' graph {"
                                      "  block { name: 'cell.n' batch_norm {} }"
                                      "  block { name: 'cell.w' from: 'input.1' conv2d { out: 8 kernel: 1 } }"
                                      "  block { name: 'cell.s' from: 'cell.n' from: 'cell.w' add {} } }"},
                                     {"flat", "flatten {}"},
                                     {"fc", "linear { out: 5 }"}});
  const ModelInfo info = InferModel(model).value();
  EXPECT_EQ(ReadsText(info), "a: -1; cell: 0,-1; flat: 1; fc: 2");
  EXPECT_EQ(ParameterText(info.layers[1]),
            "cell.n.weight [8] ones\ncell.n.bias [8] zeros\n"
            "cell.w.weight [8, 4, 1, 1] uniform decay\ncell.w.bias [8] uniform\n");
  EXPECT_EQ(info.layers[1].output.shape, (std::vector<int64_t>{8, 6, 6}));
  const Wiring wiring = WiringOfGraph(model.layers(1));
  EXPECT_EQ(wiring.inputs, 2);
  EXPECT_EQ(wiring.reads, (std::vector<std::vector<int>>{{0}, {1}, {2, 3}}));
  EXPECT_EQ(wiring.outputs, std::vector<int>{4});
}

TEST(LayerGraphTest, ATensorThatTwoLayersKeepCountsOnceInAStageOfBoth) {
  const ModelInfo info = InferModel(MakeModel(v1::DTYPE_FLOAT32, {4, 8, 8},
                                              {{"r", "relu {}"},
                                               {"one", "conv2d { out: 4 kernel: 1 }"},
                                               {"two", "from: 'r' conv2d { out: 4 kernel: 1 }"},
                                               {"sum", "from: 'one' from: 'two' from: 'r' add {}"},
                                               {"flat", "flatten {}"},
                                               {"fc", "linear { out: 5 }"}}))
                             .value();
  const int64_t image = 4 * 8 * 8 * 4;
  EXPECT_EQ(info.layers[1].cost.shared_bytes, image);
  EXPECT_EQ(info.layers[1].cost.shared_from, 0);
  EXPECT_EQ(info.layers[2].cost.shared_bytes, image);
  EXPECT_EQ(info.layers[2].cost.shared_from, 1);
  EXPECT_EQ(info.layers[3].cost.activation_bytes, 0);
  // While `two` runs, the output of `one` and `r` pass by, on their way to `sum`: `r` is kept anyway, and going
  // backward the gradient of `sum` is that of both.
  const ModelInfo alone =
      InferModel(
          MakeModel(v1::DTYPE_FLOAT32, {4, 8, 8},
                    {{"two", "conv2d { out: 4 kernel: 1 }"}, {"flat", "flatten {}"}, {"fc", "linear { out: 5 }"}}))
          .value();
  EXPECT_EQ(info.layers[2].cost.working_bytes, alone.layers[0].cost.working_bytes + image);
}

std::string FaultsOf(const std::vector<NamedKind>& layers, const std::vector<int64_t>& input = {4}) {
  v1::Model model = MakeModel(v1::DTYPE_FLOAT32, input, layers);
  for (int i = 0; i < model.layers_size(); ++i) model.mutable_layers(i)->mutable_at()->set_line(i + 1);
  for (v1::Layer& layer : *model.mutable_layers()) layer.mutable_at()->set_column(7);
  for (v1::Layer& layer : *model.mutable_layers()) layer.mutable_at()->set_file("f");
  Diagnostics diagnostics(Diagnostics::Source::kHidden);
  InferModel(model, &diagnostics);
  return std::string(diagnostics.ToStatus().message());
}

TEST(LayerGraphTest, WhatCannotBeReadIsRefusedWithItsLine) {
  const auto with = [](const std::string& kind) {
    return FaultsOf({{"first", "relu {}"}, {"second", kind}, {"third", "linear { out: 3 }"}});
  };
  EXPECT_EQ(with("from: 'firs' relu {}"),
            "f:2:7: error: layer 'second' (relu): reads 'firs', which is no layer of its list; did you mean 'first'?");
  EXPECT_EQ(with("from: 'third' relu {}"),
            "f:2:7: error: layer 'second' (relu): reads 'third', which comes after it: a layer reads those before it");
  EXPECT_EQ(with("from: 'second' relu {}"),
            "f:2:7: error: layer 'second' (relu): reads itself: a layer reads those before it");
  EXPECT_EQ(with("from: 'input' relu {}"),
            "f:1:7: error: layer 'first' (relu): no layer reads its output: name it in the `from` of a later layer, or "
            "leave it out");
  EXPECT_EQ(
      with("from: 'first' from: 'input' relu {}"),
      "f:2:7: error: layer 'second' (relu): reads one tensor, but `from` names 2: put an add or a concat before it");
  EXPECT_EQ(with("add {}"),
            "f:2:7: error: layer 'second' (add): reads one tensor, the layer before it: name two or more "
            "in `from`");
  EXPECT_EQ(with("from: 'first' concat {}"),
            "f:2:7: error: layer 'second' (concat): reads one tensor: name two or more in `from`");
  EXPECT_EQ(
      with("from: 'first' from: 'input.1' add {}"),
      "f:2:7: error: layer 'second' (add): reads 'input.1', which is no layer of its list; did you mean 'input'?");
  EXPECT_EQ(FaultsOf({{"input", "linear { out: 3 }"}}),
            "f:1:7: error: layer name 'input' is taken: `from` calls the input so");
}

TEST(LayerGraphTest, TensorsThatDoNotFitAreRefused) {
  const auto join = [](const std::string& second, const std::string& kind) {
    return FaultsOf({{"a", "conv2d { out: 4 kernel: 1 }"},
                     {"b", "from: 'input' " + second},
                     {"j", "from: 'a' from: 'b' " + kind},
                     {"flat", "flatten {}"},
                     {"fc", "linear { out: 3 }"}},
                    {2, 6, 6});
  };
  EXPECT_EQ(join("conv2d { out: 3 kernel: 1 }", "add {}"),
            "f:3:7: error: layer 'j' (add): adds tensors of different shapes: 'a' is [4, 6, 6], 'b' [3, 6, 6]");
  EXPECT_EQ(join("conv2d { out: 3 kernel: 1 }", "concat {}"), "");
  EXPECT_EQ(
      join("max_pool { kernel: 2 }", "concat {}"),
      "f:3:7: error: layer 'j' (concat): joins tensors along dimension 0 that differ in another: 'a' is [4, 6, 6], "
      "'b' [2, 3, 3]");
  EXPECT_EQ(join("conv2d { out: 4 kernel: 1 }", "concat { dim: 3 }"),
            "f:3:7: error: layer 'j' (concat): dim is 3: what it reads has dimensions 0 to 2");
  EXPECT_EQ(FaultsOf({{"g", "graph {}"}}),
            "f:1:7: error: layer 'g' (graph): block is empty: it needs at least one layer");
  EXPECT_EQ(FaultsOf({{"a", "relu {}"}, {"g", "from: 'a' from: 'input' graph { block { name: 'g.x' relu {} } }"}}),
            "error: layer 'g.x' (relu): begins a list of which no layer reads 'input.1'");
  EXPECT_EQ(FaultsOf({{"a", "relu {}"}, {"g", "graph { block { name: 'g.x' from: 'a' linear { out: 3 } } }"}}),
            "error: layer 'g.x' (linear): reads 'a', which is no layer of its list");
  EXPECT_EQ(FaultsOf({{"r", "residual { block { name: 'r.x' from: 'input' relu {} } }"}}),
            "error: layer 'r.x' (relu): has a `from`: in a residual each layer reads the one before it; a graph has "
            "them all");
}

TEST(LayerGraphTest, ImageKindsSayWhichShapesTheyMake) {
  const auto shape = [](const std::string& kind, const std::vector<int64_t>& input) {
    const v1::Model model =
        MakeModel(v1::DTYPE_FLOAT32, input, {{"l", kind}, {"flat", "flatten {}"}, {"fc", "linear { out: 3 }"}});
    Diagnostics diagnostics;
    const ModelInfo info = InferModel(model, &diagnostics);
    return info.layers.empty() ? std::string(diagnostics.ToStatus().message())
                               : absl::StrJoin(info.layers[0].output.shape, " ");
  };
  EXPECT_EQ(shape("conv2d { out: 6 kernel: 1 kernel_width: 7 padding_width: 3 stride_width: 2 }", {4, 9, 9}), "6 9 5");
  EXPECT_EQ(shape("conv2d { out: 6 kernel: 3 dilation: 2 groups: 2 }", {4, 9, 9}), "6 5 5");
  EXPECT_EQ(
      shape("conv2d { out: 6 kernel: 3 groups: 4 }", {4, 9, 9}),
      "error: layer 'l' (conv2d): groups is 4, which must divide the channels that come, 4, and those that go, 6");
  EXPECT_EQ(shape("conv2d { out: 6 kernel: 5 dilation: 3 }", {4, 9, 9}),
            "error: layer 'l' (conv2d): a kernel of 13 does not fit into [4, 9, 9] with padding 0");
  EXPECT_EQ(shape("conv_transpose2d { out: 6 kernel: 3 stride: 2 padding: 1 output_padding: 1 }", {4, 5, 7}),
            "6 10 14");
  EXPECT_EQ(shape("conv_transpose2d { out: 6 kernel: 3 output_padding: 1 }", {4, 5, 7}),
            "error: layer 'l' (conv_transpose2d): output_padding is 1: it must be below the stride, 1");
  EXPECT_EQ(shape("upsample { scale: 3 }", {4, 5, 7}), "4 15 21");
  EXPECT_EQ(shape("pad { top: -1 left: -1 bottom: 1 right: 2 }", {4, 5, 7}), "4 5 8");
  EXPECT_EQ(shape("pad { top: -5 bottom: 9 }", {4, 5, 7}), "error: layer 'l' (pad): takes away all of [4, 5, 7]");
  EXPECT_EQ(
      shape("max_pool { kernel: 2 count_padding: true }", {4, 5, 7}),
      "error: layer 'l' (max_pool): has count_padding, which belongs to avg_pool: no maximum lies in the padding");
}

}  // namespace
}  // namespace penstock
