// Times training steps of a GPT in one process, without a network: what worker/torch costs by itself.
// Prints "ready", then for each line on stdin runs a step and prints its seconds; with --layers N it runs N steps at
// once and prints the time of each layer's forward and backward pass and of the update instead.
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <iostream>
#include <map>
#include <string>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/clock.h"
#include "common/logging.h"
#include "common/process.h"
#include "tests/worker/torch/pipeline.h"
#include "worker/torch/torch_device.h"

namespace penstock {
namespace {

constexpr int kBlocks = 8;
constexpr int kLayers = kBlocks + 4;
constexpr int kMicroBatches = 8;

// Random tokens: only the time counts here.
std::string WriteTokens() {
  const std::string path = absl::StrCat("/tmp/penstock-step-", getpid(), ".bin");
  std::ofstream out(path, std::ios::binary);
  uint32_t state = 1;
  for (int i = 0; i < 200000; ++i) {
    state = state * 1664525 + 1013904223;
    const uint16_t token = (state >> 16) % 1024;
    out.write(reinterpret_cast<const char*>(&token), sizeof(token));
  }
  return path;
}

std::string Spec(const std::string& path) {
  std::string layers = R"(layers { name: "wte" embedding { vocab: 1024 dim: 256 } }
                          layers { name: "wpe" position_embedding { context: 128 } })";
  for (int i = 0; i < kBlocks; ++i) absl::StrAppend(&layers, "layers { name: 'h.", i, "' gpt_block { heads: 4 } }");
  absl::StrAppend(&layers, "layers { name: 'ln_f' layer_norm {} } layers { name: 'head' lm_head { vocab: 1024 } }");
  return absl::StrCat("model { input { dtype: DTYPE_INT64 shape: 128 } loss: LOSS_CROSS_ENTROPY ", layers, " } ",
                      "data { train { format: FORMAT_TOKENS path: '", path, "' part_end: 1 } seq_len: 128 } ",
                      "pipeline { micro_batches: ", kMicroBatches, " } ",
                      "train { steps: 1000 batch_size: 32 threads: 1 precision: 'fp32' seed: 1 ",
                      "optimizer { name: ADAMW lr: 1e-3 weight_decay: 0.01 beta1: 0.9 beta2: 0.999 eps: 1e-8 } ",
                      "lr_schedule { name: CONSTANT } }");
}

// Each layer is a stage of its own: the same computations, cut everywhere.
void TimeLayers(Pipeline* pipeline, int steps) {
  const std::vector<const char*> parts = {"forward", "input gradient", "weight gradient", "end", "update"};
  std::map<std::string, std::vector<absl::Duration>> spent;  // "forward": by stage
  for (const char* part : parts) spent[part].resize(pipeline->stages());
  for (int step = 1; step <= steps; ++step) {
    CHECK(pipeline
              ->Step(step, RunOrder::kOneFOneB,
                     [&](const char* part, int stage, absl::Duration took) {
                       if (step > 1) spent[part][stage] += took;
                     })
              .ok());
  }
  absl::PrintF("%-8s", "layer");
  for (const char* part : parts) absl::PrintF(" %16s", part);
  absl::PrintF("   ms a step\n");
  for (int stage = 0; stage < pipeline->stages(); ++stage) {
    absl::PrintF("%-8d", stage);
    for (const char* part : parts) {
      absl::PrintF(" %16.2f", absl::ToDoubleMilliseconds(spent[part][stage]) / (steps - 1));
    }
    absl::PrintF("\n");
  }
}

int Main(int argc, char** argv) {
  KeepPages();
  PrepareTorch();
  StartLogging(argv[0]);
  int layer_steps = 0;
  if (argc == 3 && std::string(argv[1]) == "--layers") CHECK(absl::SimpleAtoi(argv[2], &layer_steps));
  const std::unique_ptr<Device> device = OpenTorchDevice("cpu", 0).value();
  const std::string path = WriteTokens();
  const std::vector<int> cuts = layer_steps > 0 ? std::vector<int>(kLayers, 1) : std::vector<int>{kLayers};
  Pipeline pipeline = Pipeline::Load(device.get(), Spec(path), cuts).value();
  if (layer_steps > 0) {
    TimeLayers(&pipeline, layer_steps);
  } else {
    std::cout << "ready" << std::endl;
    std::string line;
    for (int step = 1; std::getline(std::cin, line); ++step) {
      const absl::Duration start = Clock::Real()->Monotonic();
      const StepReport report = pipeline.Step(step, RunOrder::kOneFOneB).value();
      CHECK(report.finite);
      std::cout << absl::ToDoubleSeconds(Clock::Real()->Monotonic() - start) << std::endl;
    }
  }
  unlink(path.c_str());
  return 0;
}

}  // namespace
}  // namespace penstock

int main(int argc, char** argv) { return penstock::Main(argc, argv); }
