// Image kinds and those that join tensors beside their formulas.
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "tests/worker/torch/layer_formula.h"

namespace penstock {
namespace {

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

TEST(ImageLayersTest, ImageKindsFollowTheirFormulas) {
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

// A convolution over windows [n, c, h, w, kh, kw].
at::Tensor Multiply(const at::Tensor& windows, const at::Tensor& weight) {
  const at::Tensor pixels = windows.permute({0, 2, 3, 1, 4, 5});
  const at::Tensor rows = pixels.reshape({pixels.size(0), pixels.size(1), pixels.size(2), -1});
  return at::matmul(rows, weight.reshape({weight.size(0), -1}).t()).permute({0, 3, 1, 2});
}

TEST(ImageLayersTest, ConvolutionsInGroupsWithHolesAndOfTwoSidesFollowTheirFormulas) {
  ExpectLayer("name: 'l' conv2d { out: 6 kernel: 3 groups: 2 bias: false }", {2, 4, 7, 6},
              [](const at::Tensor& x, const Weights& w) {
                const at::Tensor& weight = w.at("l.weight");
                return at::cat({Multiply(Windows(x.narrow(1, 0, 2), 3, 1), weight.narrow(0, 0, 3)),
                                Multiply(Windows(x.narrow(1, 2, 2), 3, 1), weight.narrow(0, 3, 3))},
                               1);
              });
  ExpectLayer("name: 'l' conv2d { out: 5 kernel: 3 dilation: 2 bias: false }", {2, 3, 9, 8},
              [](const at::Tensor& x, const Weights& w) {
                return Multiply(Windows(x, 5, 1).slice(4, 0, 5, 2).slice(5, 0, 5, 2), w.at("l.weight"));
              });
  ExpectLayer("name: 'l' conv2d { out: 5 kernel: 1 kernel_width: 5 stride_width: 2 bias: false }", {2, 3, 4, 9},
              [](const at::Tensor& x, const Weights& w) {
                return Multiply(x.unfold(2, 1, 1).unfold(3, 5, 2), w.at("l.weight"));
              });
}

TEST(ImageLayersTest, KindsThatMakeImagesLargerFollowTheirFormulas) {
  // Each pixel becomes a square of 2 x 2.
  ExpectLayer("name: 'l' conv_transpose2d { out: 5 kernel: 2 stride: 2 }", {2, 3, 4, 6},
              [](const at::Tensor& x, const Weights& w) {
                const at::Tensor squares = at::matmul(x.permute({0, 2, 3, 1}), w.at("l.weight").reshape({3, 20}));
                const at::Tensor y = squares.reshape({2, 4, 6, 5, 2, 2}).permute({0, 3, 1, 4, 2, 5});
                return y.reshape({2, 5, 8, 12}) + w.at("l.bias").reshape({1, -1, 1, 1});
              });
  // A convolution with the kernel turned around, over the pixels with zeros between them.
  ExpectLayer("name: 'l' conv_transpose2d { out: 5 kernel: 3 stride: 2 padding: 1 bias: false }", {2, 3, 4, 4},
              [](const at::Tensor& x, const Weights& w) {
                const at::Tensor zeros = at::zeros({2, 3, 4, 1, 4, 1}, at::kFloat);
                const at::Tensor tall = at::cat({x.reshape({2, 3, 4, 1, 4, 1}), zeros}, 3);
                const at::Tensor wide = at::cat({tall, at::zeros({2, 3, 4, 2, 4, 1}, at::kFloat)}, 5);
                const at::Tensor spread = wide.reshape({2, 3, 8, 8}).narrow(2, 0, 7).narrow(3, 0, 7);
                const at::Tensor turned = w.at("l.weight").flip({2, 3}).permute({1, 0, 2, 3});
                return Multiply(Windows(PaddedBy1(spread), 3, 1), turned);
              });
  ExpectLayer("name: 'l' upsample { scale: 3 }", {2, 3, 4, 5},
              [](const at::Tensor& x, const Weights&) { return x.repeat_interleave(3, 2).repeat_interleave(3, 3); });
  ExpectLayer("name: 'l' pad { top: -1 left: -1 bottom: 1 right: 2 }", {2, 3, 4, 5},
              [](const at::Tensor& x, const Weights&) {
                const at::Tensor inner = x.narrow(2, 1, 3).narrow(3, 1, 4);
                const at::Tensor tall = at::cat({inner, at::zeros({2, 3, 1, 4}, at::kFloat)}, 2);
                return at::cat({tall, at::zeros({2, 3, 4, 2}, at::kFloat)}, 3);
              });
  ExpectLayer("name: 'l' avg_pool { kernel: 3 stride: 1 padding: 1 count_padding: false }", {2, 3, 5, 5},
              [](const at::Tensor& x, const Weights&) {
                const at::Tensor count = Windows(PaddedBy1(at::ones(x.sizes(), at::kFloat)), 3, 1).sum({-2, -1});
                return Windows(PaddedBy1(x), 3, 1).sum({-2, -1}) / count;
              });
}

TEST(ImageLayersTest, GraphsAddAndJoinWhatTheirLayersRead) {
  ExpectLayer(
      "name: 'l' graph { block { name: 'l.a' linear { out: 13 } } block { name: 'l.b' tanh {} }"
      " block { name: 'l.s' from: 'l.b' from: 'input' from: 'l.a' from: 'l.b' add {} }"
      " block { name: 'l.n' from: 'input' layer_norm {} }"
      " block { name: 'l.c' from: 'l.s' from: 'l.b' from: 'l.n' concat { dim: 1 } } }",
      {3, 5, 13}, [](const at::Tensor& x, const Weights& w) {
        const at::Tensor a = Linear(x, w, "l.a"), b = a.tanh();
        return at::cat({b + x + a + b, b, LayerNorm(x, w.at("l.n.weight"), w.at("l.n.bias"))}, -1);
      });
}

// Both readers of a tensor in a chain of their own: the sum of their gradients, in one fixed order.
TEST(ImageLayersTest, AnAddAndAConcatGiveEachOfTheirInputsItsGradient) {
  LayerContext context;
  context.training = true;
  const at::Tensor a = Random({2, 3, 4}, "a"), b = Random({2, 5, 4}, "b"), gradient = Random({2, 8, 4}, "gradient");
  const LayerFunctionPtr concat = MakeConcat(0), add = MakeAdd();
  Tape tape;
  EXPECT_TRUE(concat->ForwardAll({a, b}, context, &tape).equal(at::cat({a, b}, 1)));
  std::vector<at::Tensor> gradients = concat->BackwardAll(gradient, 2, context, &tape, nullptr);
  EXPECT_TRUE(gradients[0].equal(gradient.narrow(1, 0, 3)));
  EXPECT_TRUE(gradients[1].equal(gradient.narrow(1, 3, 5)));
  EXPECT_FALSE(gradients[0].is_alias_of(gradient)) << "a slice has no alignment of its own";
  EXPECT_TRUE(tape.empty());
  EXPECT_TRUE(add->ForwardAll({a, a, a}, context, &tape).equal(a + a + a));
  gradients = add->BackwardAll(a, 3, context, &tape, nullptr);
  for (const at::Tensor& of_input : gradients) EXPECT_TRUE(of_input.equal(a));
}

TEST(ImageLayersTest, BatchNormCommitsTheMiniBatchsStatisticsOnce) {
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
