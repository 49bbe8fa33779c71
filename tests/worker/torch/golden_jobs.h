// The jobs whose loss curves plain PyTorch also computes (tests/goldens/make_goldens.py knows these networks). Changing
// one means making the goldens again. Pure but for the data files.
#ifndef PENSTOCK_TESTS_WORKER_TORCH_GOLDEN_JOBS_H_
#define PENSTOCK_TESTS_WORKER_TORCH_GOLDEN_JOBS_H_

#include <cstdint>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"

namespace penstock {

struct GoldenJob {
  std::string name;
  std::string spec;  // v1::JobSpec, text form
  std::vector<int> cuts;
  double most_spread = 1e-5;  // how far PyTorch may be from itself for its curves to say anything
};

inline constexpr int kGoldenSteps = 12;

// Letters that depend on each other, so that there is something to learn.
inline void WriteGoldenText(const std::string& path) {
  std::ofstream out(path);
  uint32_t state = 7;
  for (int i = 0; i < 6000; ++i) {
    state = state * 1664525 + 1013904223;
    out << static_cast<char>('a' + (i * i + (state >> 30)) % 23);
  }
}

inline void WriteGoldenCsv(const std::string& path) {
  std::ofstream out(path);
  for (int i = 0; i < 64; ++i) out << "p" << i << ",";
  out << "digit\n";
  uint32_t state = 3;
  for (int row = 0; row < 200; ++row) {
    for (int i = 0; i < 64; ++i) {
      state = state * 1664525 + 1013904223;
      out << ((row % 5) * i + (state >> 28)) % 17 << ",";
    }
    out << row % 5 << "\n";
  }
}

inline std::string ResNetLayers() {
  return R"(layers { name: "conv1" conv2d { out: 8 kernel: 3 padding: 1 bias: false } }
      layers { name: "bn1" batch_norm {} } layers { name: "relu" relu {} }
      layers { name: "layer1.0.conv1" conv2d { out: 8 kernel: 3 padding: 1 bias: false } }
      layers { name: "layer1.0.bn1" batch_norm {} } layers { name: "layer1.0.relu1" relu {} }
      layers { name: "layer1.0.conv2" conv2d { out: 8 kernel: 3 padding: 1 bias: false } }
      layers { name: "layer1.0.bn2" batch_norm {} }
      layers { name: "layer1.0.add" from: "layer1.0.bn2" from: "relu" add {} }
      layers { name: "layer1.0.relu" relu {} }
      layers { name: "layer2.0.conv1" conv2d { out: 16 kernel: 3 stride: 2 padding: 1 bias: false } }
      layers { name: "layer2.0.bn1" batch_norm {} } layers { name: "layer2.0.relu1" relu {} }
      layers { name: "layer2.0.conv2" conv2d { out: 16 kernel: 3 padding: 1 bias: false } }
      layers { name: "layer2.0.bn2" batch_norm {} }
      layers { name: "layer2.0.down.0" from: "layer1.0.relu" conv2d { out: 16 kernel: 1 stride: 2 bias: false } }
      layers { name: "layer2.0.down.1" batch_norm {} }
      layers { name: "layer2.0.add" from: "layer2.0.bn2" from: "layer2.0.down.1" add {} }
      layers { name: "layer2.0.relu" relu {} } layers { name: "avg" avg_pool { kernel: 4 } }
      layers { name: "flat" flatten {} } layers { name: "fc" linear { out: 5 } })";
}

inline std::string UNetLayers() {
  return R"(layers { name: "c.0" conv2d { out: 6 kernel: 3 padding: 1 } } layers { name: "bn" batch_norm {} }
      layers { name: "a" relu {} } layers { name: "pool.0" max_pool { kernel: 2 } }
      layers { name: "c.1" conv2d { out: 8 kernel: 3 padding: 1 } } layers { name: "b" relu {} }
      layers { name: "pool.1" max_pool { kernel: 2 } }
      layers { name: "c.2" conv2d { out: 12 kernel: 3 padding: 1 } } layers { name: "c" relu {} }
      layers { name: "up.1" conv_transpose2d { out: 8 kernel: 2 stride: 2 } }
      layers { name: "cat.1" from: "b" from: "up.1" concat {} }
      layers { name: "c.3" conv2d { out: 8 kernel: 3 padding: 1 } } layers { name: "d" relu {} }
      layers { name: "up.0" upsample { scale: 2 } } layers { name: "cat.0" from: "a" from: "up.0" concat {} }
      layers { name: "c.4" conv2d { out: 8 kernel: 3 padding: 1 } } layers { name: "e" relu {} }
      layers { name: "head" conv2d { out: 5 kernel: 1 } } layers { name: "mean" avg_pool { kernel: 8 } }
      layers { name: "flat" flatten {} })";
}

// Cells of what AmoebaNet-D is made of: they read the two outputs before them, and what was wide is made small in two
// parts, one of them a pixel further.
inline std::string CellLayers() {
  const auto block = [](const std::string& name, const std::string& rest) {
    return absl::StrCat("block { name: '", name, "' ", rest, " } ");
  };
  const auto convolve = [&](const std::string& name, const std::string& from, const std::string& options) {
    return block(name + ".relu", absl::StrCat("from: '", from, "' relu {}")) +
           block(name + ".conv", absl::StrCat("conv2d { out: 8 bias: false ", options, " }")) +
           block(name + ".bn", "batch_norm {}");
  };
  const auto normal = [&](const std::string& c, const std::string& before, const std::string& before_that) {
    const auto two = [&](const std::string& a, const std::string& b) {
      return absl::StrCat("from: '", c, a, "' from: '", c, b, "' ");
    };
    return absl::StrCat("layers { name: '", c, "' from: '", before, "' from: '", before_that, "' graph { ",
                        convolve(c + ".r0", "input.0", "kernel: 1"), convolve(c + ".r1", "input.1", "kernel: 1"),
                        convolve(c + ".wide", c + ".r1.bn", "kernel: 1 kernel_width: 5 padding: 0 padding_width: 2"),
                        convolve(c + ".tall", c + ".wide.bn", "kernel: 5 kernel_width: 1 padding: 2 padding_width: 0"),
                        block(c + ".max", "from: '" + c + ".r0.bn' max_pool { kernel: 3 stride: 1 padding: 1 }"),
                        block(c + ".c", two(".tall.bn", ".max") + "add {}"),
                        block(c + ".avg", "avg_pool { kernel: 3 stride: 1 padding: 1 count_padding: false }"),
                        convolve(c + ".part", c + ".r0.bn", "kernel: 3 padding: 2 dilation: 2 groups: 2"),
                        block(c + ".d", two(".avg", ".part.bn") + "add {}"),
                        block(c + ".out", "from: '" + c + ".r0.bn' " + two(".c", ".d") + "concat {}"), "} } ");
  };
  const auto reduced = [&](const std::string& c, const std::string& from) {
    const std::string conv = "conv2d { out: 6 kernel: 1 stride: 2 bias: false }";
    return absl::StrCat("layers { name: '", c, "' from: '", from, "' graph { ", block(c + ".relu", "relu {}"),
                        block(c + ".conv1", conv),
                        block(c + ".shift", "from: '" + c + ".relu' pad { top: -1 left: -1 bottom: 1 right: 1 }"),
                        block(c + ".conv2", conv),
                        block(c + ".cat", absl::StrCat("from: '", c, ".conv1' from: '", c, ".conv2' concat {}")),
                        block(c + ".bn", "batch_norm {}"), "} } ");
  };
  return absl::StrCat("layers { name: 'stem.conv' conv2d { out: 8 kernel: 3 padding: 1 bias: false } } ",
                      "layers { name: 'stem.bn' batch_norm {} } ", normal("cell.0", "stem.bn", "stem.bn"),
                      normal("cell.1", "cell.0", "stem.bn"), reduced("small.0", "cell.0"), reduced("small.1", "cell.1"),
                      "layers { name: 'cat' from: 'small.0' from: 'small.1' concat {} } ",
                      "layers { name: 'mean' avg_pool { kernel: 4 } } layers { name: 'flat' flatten {} } ",
                      "layers { name: 'fc' linear { out: 5 } }");
}

inline GoldenJob GoldenImageJob(const std::string& name, const std::string& layers, std::vector<int> cuts,
                                const std::string& data) {
  return {name,
          absl::StrCat("model { input { dtype: DTYPE_FLOAT32 shape: 1 shape: 8 shape: 8 } loss: LOSS_CROSS_ENTROPY ",
                       layers, " } ", data,
                       R"(pipeline { micro_batches: 4 }
          train { steps: 12 batch_size: 18 threads: 1 precision: "fp32" seed: 4
            optimizer { name: SGD lr: 0.02 momentum: 0.9 weight_decay: 0.001 } lr_schedule { name: CONSTANT } })"),
          std::move(cuts)};
}

// Args: folder: holds text.txt and images.csv.
inline std::vector<GoldenJob> GoldenJobs(const std::string& folder) {
  const std::string text = absl::StrCat("data { train { format: FORMAT_TEXT path: '", folder,
                                        "/text.txt' part_end: 0.9 } eval { format: FORMAT_TEXT path: '", folder,
                                        "/text.txt' part_begin: 0.9 part_end: 1 } seq_len: 32 sequential: true }");
  const std::string csv = absl::StrCat(
      "data { train { format: FORMAT_CSV path: '", folder,
      "/images.csv' part_end: 0.8 target: 'digit' scale: 0.0625 } ", "eval { format: FORMAT_CSV path: '", folder,
      "/images.csv' part_begin: 0.8 part_end: 1 target: 'digit' scale: 0.0625 } sequential: true }");
  const std::string gpt = absl::StrCat(R"(model { input { dtype: DTYPE_INT64 shape: 32 } loss: LOSS_CROSS_ENTROPY
          layers { name: "wte" embedding { vocab: 256 dim: 48 } }
          layers { name: "wpe" position_embedding { context: 32 } }
          layers { name: "h.0" gpt_block { heads: 4 } } layers { name: "h.1" gpt_block { heads: 4 } }
          layers { name: "ln_f" layer_norm {} } layers { name: "head" lm_head { vocab: 256 } } })",
                                       text,
                                       R"(pipeline { micro_batches: 4 }
          train { steps: 12 batch_size: 10 threads: 1 precision: "fp32" grad_clip: 0.7 seed: 1
            optimizer { name: ADAMW lr: 0.003 weight_decay: 0.1 beta1: 0.9 beta2: 0.95 eps: 1e-8 }
            lr_schedule { name: COSINE warmup_steps: 3 min_lr: 0.0003 } })");
  return {
      {"gpt", gpt, {2, 2, 2}},
      {"gpt_bf16",
       absl::StrReplaceAll(gpt, {{"\"fp32\"", "\"bf16\""}, {"model { input", "model { compute: DTYPE_BFLOAT16 input"}}),
       {2, 2, 2},
       0.002},
      {"llama",
       absl::StrCat(R"(model { input { dtype: DTYPE_INT64 shape: 32 } loss: LOSS_CROSS_ENTROPY
          layers { name: "wte" embedding { vocab: 256 dim: 48 } }
          layers { name: "l.0" llama_block { heads: 4 kv_heads: 2 hidden: 96 } }
          layers { name: "l.1" llama_block { heads: 4 kv_heads: 2 hidden: 96 } }
          layers { name: "norm" rms_norm {} } layers { name: "head" lm_head { vocab: 256 } } })",
                    text,
                    R"(pipeline { micro_batches: 4 }
          train { steps: 12 batch_size: 10 threads: 1 precision: "fp32" seed: 2
            optimizer { name: ADAM lr: 0.003 weight_decay: 0.01 beta1: 0.9 beta2: 0.999 eps: 1e-8 }
            lr_schedule { name: LINEAR warmup_steps: 2 min_lr: 0.0001 } })"),
       {2, 3}},
      {"conv",
       absl::StrCat(R"(model { input { dtype: DTYPE_FLOAT32 shape: 1 shape: 8 shape: 8 } loss: LOSS_CROSS_ENTROPY
          layers { name: "c.0" conv2d { out: 8 kernel: 3 padding: 1 } } layers { name: "bn.0" batch_norm {} }
          layers { name: "relu.0" relu {} } layers { name: "pool" max_pool { kernel: 2 } }
          layers { name: "c.1" conv2d { out: 12 kernel: 3 padding: 1 bias: false } } layers { name: "bn.1" batch_norm {} }
          layers { name: "relu.1" relu {} } layers { name: "avg" avg_pool { kernel: 2 } }
          layers { name: "flat" flatten {} } layers { name: "fc" linear { out: 5 } } })",
                    csv,
                    R"(pipeline { micro_batches: 4 }
          train { steps: 12 batch_size: 18 threads: 1 precision: "fp32" seed: 3
            optimizer { name: SGD lr: 0.05 momentum: 0.9 weight_decay: 0.001 } lr_schedule { name: CONSTANT } })"),
       {3, 4, 3}},
      GoldenImageJob("resnet", ResNetLayers(), {5, 5, 4, 8}, csv),
      GoldenImageJob("unet", UNetLayers(), {5, 4, 4, 7}, csv),
      GoldenImageJob("cells", CellLayers(), {2, 1, 3, 4}, csv),
  };
}

}  // namespace penstock

#endif  // PENSTOCK_TESTS_WORKER_TORCH_GOLDEN_JOBS_H_
