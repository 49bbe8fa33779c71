#include "tests/worker/torch/pipeline_jobs.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <memory>

#include "absl/strings/str_cat.h"
#include "worker/torch/torch_device.h"

namespace penstock {

Device* Cpu() {
  static Device* const device = [] {
    absl::StatusOr<std::unique_ptr<Device>> opened = OpenTorchDevice("cpu", 0);
    if (!opened.ok()) std::abort();
    return opened->release();
  }();
  return device;
}

std::string TextFile(const ScratchDir& dir) {
  const std::string path = absl::StrCat(dir.path(), "/text.txt");
  std::ofstream out(path);
  uint32_t state = 7;
  for (int i = 0; i < 3000; ++i) {
    state = state * 1664525 + 1013904223;
    out << static_cast<char>('a' + (i * i + (state >> 30)) % 23);
  }
  return path;
}

std::string CsvFile(const ScratchDir& dir) {
  const std::string path = absl::StrCat(dir.path(), "/images.csv");
  std::ofstream out(path);
  for (int i = 0; i < 64; ++i) out << "p" << i << ",";
  out << "digit\n";
  uint32_t state = 3;
  for (int row = 0; row < 90; ++row) {
    for (int i = 0; i < 64; ++i) {
      state = state * 1664525 + 1013904223;
      out << ((row % 5) * i + (state >> 28)) % 17 << ",";
    }
    out << row % 5 << "\n";
  }
  return path;
}

std::string GptJob(const std::string& data) {
  return absl::StrCat(R"(
    model { input { dtype: DTYPE_INT64 shape: 24 } loss: LOSS_CROSS_ENTROPY
      layers { name: "wte" embedding { vocab: 256 dim: 32 } }
      layers { name: "wpe" position_embedding { context: 24 } }
      layers { name: "drop" dropout { p: 0.1 } }
      layers { name: "h.0" gpt_block { heads: 4 dropout: 0.2 } }
      layers { name: "h.1" gpt_block { heads: 2 } }
      layers { name: "l.0" llama_block { heads: 4 kv_heads: 2 hidden: 64 } }
      layers { name: "ln_f" layer_norm {} }
      layers { name: "head" lm_head { vocab: 256 } } }
    data { train { format: FORMAT_TEXT path: ")",
                      data, R"(" part_end: 0.9 }
           eval { format: FORMAT_TEXT path: ")",
                      data, R"(" part_begin: 0.9 part_end: 1 } seq_len: 24 }
    pipeline { micro_batches: 3 }
    train { steps: 4 batch_size: 7 threads: 1 precision: "fp32" grad_clip: 0.5 seed: 11
      optimizer { name: ADAMW lr: 0.01 weight_decay: 0.1 beta1: 0.9 beta2: 0.95 eps: 1e-8 }
      lr_schedule { name: COSINE warmup_steps: 2 min_lr: 0.001 } })");
}

std::string ConvJob(const std::string& data) {
  return absl::StrCat(R"(
    model { input { dtype: DTYPE_FLOAT32 shape: 1 shape: 8 shape: 8 } loss: LOSS_CROSS_ENTROPY
      layers { name: "c.0" conv2d { out: 6 kernel: 3 padding: 1 } }
      layers { name: "bn.0" batch_norm {} }
      layers { name: "relu.0" relu {} }
      layers { name: "pool" max_pool { kernel: 2 } }
      layers { name: "res" residual {
        block { name: "res.c" conv2d { out: 6 kernel: 3 padding: 1 bias: false } }
        block { name: "res.bn" batch_norm {} } block { name: "res.silu" silu {} } } }
      layers { name: "avg" avg_pool { kernel: 2 } }
      layers { name: "flat" flatten {} }
      layers { name: "fc.0" linear { out: 16 } }
      layers { name: "bn.1" batch_norm {} }
      layers { name: "fc.1" linear { out: 5 } } }
    data { train { format: FORMAT_CSV path: ")",
                      data, R"(" part_end: 0.8 target: "digit" scale: 0.0625 }
           eval { format: FORMAT_CSV path: ")",
                      data, R"(" part_begin: 0.8 part_end: 1 target: "digit" scale: 0.0625 } }
    pipeline { micro_batches: 4 }
    train { steps: 4 batch_size: 18 threads: 1 precision: "fp32" seed: 5
      optimizer { name: SGD lr: 0.05 momentum: 0.9 weight_decay: 0.001 } lr_schedule { name: CONSTANT } })");
}

namespace {

// Data and training of ConvJob, for another network of the same images.
std::string ImageJob(const std::string& layers, const std::string& data) {
  const std::string conv = ConvJob(data);
  return absl::StrCat("model { input { dtype: DTYPE_FLOAT32 shape: 1 shape: 8 shape: 8 } loss: LOSS_CROSS_ENTROPY ",
                      layers, " } ", conv.substr(conv.find("data {")));
}

}  // namespace

std::string UNetJob(const std::string& data) {
  return ImageJob(R"(
      layers { name: "c.0" conv2d { out: 4 kernel: 3 padding: 1 } }
      layers { name: "bn.0" batch_norm {} }
      layers { name: "relu.0" relu {} }
      layers { name: "pool.0" max_pool { kernel: 2 } }
      layers { name: "c.1" conv2d { out: 8 kernel: 3 padding: 1 } }
      layers { name: "relu.1" relu {} }
      layers { name: "pool.1" max_pool { kernel: 2 } }
      layers { name: "c.2" conv2d { out: 8 kernel: 3 padding: 1 } }
      layers { name: "silu" silu {} }
      layers { name: "drop" dropout { p: 0.1 } }
      layers { name: "up.1" conv_transpose2d { out: 8 kernel: 2 stride: 2 } }
      layers { name: "cat.1" from: "relu.1" from: "up.1" concat {} }
      layers { name: "c.3" conv2d { out: 6 kernel: 3 padding: 1 } }
      layers { name: "up.0" upsample { scale: 2 } }
      layers { name: "cat.0" from: "relu.0" from: "up.0" concat {} }
      layers { name: "c.4" conv2d { out: 4 kernel: 3 padding: 1 } }
      layers { name: "sum" from: "c.4" from: "relu.0" from: "c.0" add {} }
      layers { name: "avg" avg_pool { kernel: 8 } }
      layers { name: "flat" flatten {} }
      layers { name: "raw" from: "input" flatten {} }
      layers { name: "both" from: "flat" from: "raw" concat {} }
      layers { name: "fc" linear { out: 5 } })",
                  data);
}

std::string CellJob(const std::string& data) {
  std::string layers = R"(
      layers { name: "stem" conv2d { out: 8 kernel: 3 padding: 1 } }
      layers { name: "bn" batch_norm {} } )";
  std::vector<std::string> names = {"stem", "bn"};
  for (int i = 0; i < 5; ++i) {
    const std::string cell = absl::StrCat("cell.", i);
    const auto inner = [&](const std::string& name, const std::string& rest) {
      return absl::StrCat("block { name: '", cell, ".", name, "' ", rest, " } ");
    };
    absl::StrAppend(&layers, "layers { name: '", cell, "' from: '", names[i + 1], "' from: '", names[i], "' graph { ",
                    inner("relu", "relu {}"), inner("point", "conv2d { out: 8 kernel: 1 bias: false }"),
                    inner("bn", "batch_norm {}"),
                    inner("deep", "from: 'input.1' conv2d { out: 8 kernel: 3 padding: 1 groups: 4 }"),
                    inner("sum", absl::StrCat("from: '", cell, ".deep' from: '", cell, ".bn' from: 'input.1' add {}")),
                    inner("pool", "from: 'input' avg_pool { kernel: 3 stride: 1 padding: 1 count_padding: false }"),
                    inner("cat", absl::StrCat("from: '", cell, ".pool' from: '", cell, ".sum' concat {}")),
                    inner("out", "conv2d { out: 8 kernel: 1 }"), "} } ");
    names.push_back(cell);
  }
  return ImageJob(absl::StrCat(layers, R"(layers { name: "avg" avg_pool { kernel: 8 } }
      layers { name: "flat" flatten {} }
      layers { name: "fc" linear { out: 5 } })"),
                  data);
}

std::string TokenSkipJob(const std::string& data) {
  const std::string gpt = GptJob(data);
  return absl::StrCat(R"(
    model { input { dtype: DTYPE_INT64 shape: 24 } loss: LOSS_CROSS_ENTROPY
      layers { name: "wte" embedding { vocab: 256 dim: 32 } }
      layers { name: "wpe" position_embedding { context: 24 } }
      layers { name: "h.0" gpt_block { heads: 4 dropout: 0.1 } }
      layers { name: "h.1" llama_block { heads: 4 kv_heads: 2 hidden: 64 } }
      layers { name: "again" from: "input" embedding { vocab: 256 dim: 32 } }
      layers { name: "mix" from: "h.1" from: "again" from: "wpe" add {} }
      layers { name: "h.2" gpt_block { heads: 2 } }
      layers { name: "wide" from: "h.2" from: "h.0" concat { dim: 1 } }
      layers { name: "ln_f" layer_norm {} }
      layers { name: "head" lm_head { vocab: 256 } } } )",
                      gpt.substr(gpt.find("data {")));
}

Outcome Train(Pipeline* pipeline, int steps, const std::function<absl::StatusOr<StepReport>(uint64_t)>& step) {
  Outcome outcome;
  for (int i = 1; i <= steps; ++i) {
    const absl::StatusOr<StepReport> report = step(i);
    EXPECT_TRUE(report.ok()) << report.status();
    if (!report.ok()) return outcome;
    EXPECT_TRUE(report->finite);
    outcome.losses.push_back(report->loss);
    outcome.norms.push_back(report->grad_norm);
  }
  const absl::StatusOr<v1::EvalSums> sums = pipeline->Evaluate(0);
  EXPECT_TRUE(sums.ok()) << sums.status();
  if (sums.ok()) outcome.eval_loss = sums->loss_sum() / static_cast<double>(sums->targets());
  outcome.hash = pipeline->Hash().value();
  return outcome;
}

Outcome Train(const std::string& job, const std::vector<int>& cuts, RunOrder order, int steps) {
  absl::StatusOr<Pipeline> pipeline = Pipeline::Load(Cpu(), job, cuts);
  EXPECT_TRUE(pipeline.ok()) << pipeline.status();
  if (!pipeline.ok()) return {};
  return Train(&*pipeline, steps, [&](uint64_t step) { return pipeline->Step(step, order); });
}

Outcome Train(const std::string& job, const PipelineLayout& layout, int steps) {
  absl::StatusOr<Pipeline> pipeline = Pipeline::LoadLayout(Cpu(), job, layout);
  EXPECT_TRUE(pipeline.ok()) << pipeline.status();
  if (!pipeline.ok()) return {};
  return Train(&*pipeline, steps, [&](uint64_t step) { return pipeline->Step(step); });
}

void ExpectSame(const Outcome& expected, const Outcome& outcome, const std::string& what) {
  EXPECT_EQ(expected.hash, outcome.hash) << what;
  EXPECT_EQ(expected.losses, outcome.losses) << what;
  EXPECT_EQ(expected.norms, outcome.norms) << what;
  EXPECT_EQ(expected.eval_loss, outcome.eval_loss) << what;
}

}  // namespace penstock
