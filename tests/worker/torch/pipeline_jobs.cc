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
