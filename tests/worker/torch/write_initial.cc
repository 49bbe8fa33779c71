// Writes the golden jobs' data and initial checkpoints into a folder, for tests/goldens/make_goldens.py.
#include <iostream>

#include "absl/strings/str_cat.h"
#include "common/logging.h"
#include "tests/worker/torch/golden_jobs.h"
#include "tests/worker/torch/pipeline.h"
#include "worker/torch/torch_device.h"

int main(int argc, char** argv) {
  penstock::PrepareTorch();
  CHECK_EQ(argc, 2) << "usage: write_initial FOLDER";
  const std::string folder = argv[1];
  penstock::WriteGoldenText(folder + "/text.txt");
  penstock::WriteGoldenCsv(folder + "/images.csv");
  const std::unique_ptr<penstock::Device> device = penstock::OpenTorchDevice("cpu", 0).value();
  for (const penstock::GoldenJob& job : penstock::GoldenJobs(folder)) {
    penstock::Pipeline pipeline = penstock::Pipeline::Load(device.get(), job.spec, job.cuts).value();
    std::cout << pipeline.Save(absl::StrCat(folder, "/", job.name), 0).value() << "\n";
  }
}
