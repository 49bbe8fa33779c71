// Small jobs with everything in them that could depend on a plan, and their training in one process. For tests.
#ifndef PENSTOCK_TESTS_WORKER_TORCH_PIPELINE_JOBS_H_
#define PENSTOCK_TESTS_WORKER_TORCH_PIPELINE_JOBS_H_

#include <functional>
#include <string>
#include <vector>

#include "tests/common/scratch_dir.h"
#include "tests/worker/torch/pipeline.h"

namespace penstock {

// The process's CPU, without a memory limit.
Device* Cpu();

// A text whose letters depend on each other, so that there is something to learn; returns its path.
std::string TextFile(const ScratchDir& dir);
// Images of 8 x 8 numbers in five classes.
std::string CsvFile(const ScratchDir& dir);

// 8 layers; dropout inside the blocks and as a layer, an uneven tail (7 samples in 3 micro-batches), clipping that
// bites. Args: data: a TextFile.
std::string GptJob(const std::string& data);
// 10 layers with BatchNorm, inside a residual too; 18 samples in 4 micro-batches. Args: data: a CsvFile.
std::string ConvJob(const std::string& data);

// 22 layers: a U-Net of two levels, with a tensor that three layers read, a long skip and one from the model's input.
// Args: data: a CsvFile.
std::string UNetJob(const std::string& data);
inline constexpr int kUNetLayers = 22;
// 10 layers: five cells that read the two layers before them. Args: data: a CsvFile.
std::string CellJob(const std::string& data);
inline constexpr int kCellLayers = 10;
// 10 layers: tokens that a late layer reads once more, a sum of three, two skips. Args: data: a TextFile.
std::string TokenSkipJob(const std::string& data);
inline constexpr int kTokenSkipLayers = 10;

struct Outcome {
  std::string hash;
  std::vector<double> losses;
  std::vector<double> norms;
  double eval_loss = 0;
};

// Trains from the start, then evaluates one batch. Fails the test where a step does not end well.
Outcome Train(Pipeline* pipeline, int steps, const std::function<absl::StatusOr<StepReport>(uint64_t)>& step);
// The same with a rank for each stage, in one of the orders; and by the layout's own table.
Outcome Train(const std::string& job, const std::vector<int>& cuts, RunOrder order, int steps);
Outcome Train(const std::string& job, const PipelineLayout& layout, int steps);

void ExpectSame(const Outcome& expected, const Outcome& outcome, const std::string& what);

}  // namespace penstock

#endif  // PENSTOCK_TESTS_WORKER_TORCH_PIPELINE_JOBS_H_
