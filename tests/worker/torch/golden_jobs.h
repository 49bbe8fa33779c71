// The jobs whose loss curves plain PyTorch also computes (tests/goldens/make_goldens.py knows these networks). Changing
// one means making the goldens again. Pure but for the data files.
#ifndef PENSTOCK_TESTS_WORKER_TORCH_GOLDEN_JOBS_H_
#define PENSTOCK_TESTS_WORKER_TORCH_GOLDEN_JOBS_H_

#include <cstdint>
#include <fstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"

namespace penstock {

struct GoldenJob {
  std::string name;
  std::string spec;  // v1::JobSpec, text form
  std::vector<int> cuts;
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

// Args: folder: holds text.txt and images.csv.
inline std::vector<GoldenJob> GoldenJobs(const std::string& folder) {
  const std::string text = absl::StrCat("data { train { format: FORMAT_TEXT path: '", folder,
                                        "/text.txt' part_end: 0.9 } eval { format: FORMAT_TEXT path: '", folder,
                                        "/text.txt' part_begin: 0.9 part_end: 1 } seq_len: 32 sequential: true }");
  const std::string csv = absl::StrCat(
      "data { train { format: FORMAT_CSV path: '", folder,
      "/images.csv' part_end: 0.8 target: 'digit' scale: 0.0625 } ", "eval { format: FORMAT_CSV path: '", folder,
      "/images.csv' part_begin: 0.8 part_end: 1 target: 'digit' scale: 0.0625 } sequential: true }");
  return {
      {"gpt",
       absl::StrCat(R"(model { input { dtype: DTYPE_INT64 shape: 32 } loss: LOSS_CROSS_ENTROPY
          layers { name: "wte" embedding { vocab: 256 dim: 48 } }
          layers { name: "wpe" position_embedding { context: 32 } }
          layers { name: "h.0" gpt_block { heads: 4 } } layers { name: "h.1" gpt_block { heads: 4 } }
          layers { name: "ln_f" layer_norm {} } layers { name: "head" lm_head { vocab: 256 } } })",
                    text,
                    R"(pipeline { micro_batches: 4 }
          train { steps: 12 batch_size: 10 threads: 1 precision: "fp32" grad_clip: 0.7 seed: 1
            optimizer { name: ADAMW lr: 0.003 weight_decay: 0.1 beta1: 0.9 beta2: 0.95 eps: 1e-8 }
            lr_schedule { name: COSINE warmup_steps: 3 min_lr: 0.0003 } })"),
       {2, 2, 2}},
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
  };
}

}  // namespace penstock

#endif  // PENSTOCK_TESTS_WORKER_TORCH_GOLDEN_JOBS_H_
