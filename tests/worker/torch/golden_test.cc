// Loss curves beside plain PyTorch's on the same weights and batches (tests/goldens/make_goldens.py made them).
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/common/scratch_dir.h"
#include "tests/worker/torch/golden_jobs.h"
#include "tests/worker/torch/pipeline.h"
#include "worker/torch/torch_device.h"

namespace penstock {
namespace {

// `spread` is how far PyTorch is from itself where only rounding differs. Twice it, since both curves are rounded.
void ExpectNear(const nlohmann::json& golden, const std::string& curve, double most_spread,
                const std::vector<double>& ours) {
  const std::vector<double> torch = golden[curve];
  ASSERT_EQ(torch.size(), ours.size());
  double spread = 0;
  for (const nlohmann::json& other : golden[curve + "_others"]) {
    for (size_t i = 0; i < torch.size(); ++i) spread = std::max(spread, std::abs(torch[i] - other[i].get<double>()));
  }
  EXPECT_GT(spread, 0) << "the golden compares a run with itself";
  EXPECT_LT(spread, most_spread) << "the golden's own spread says nothing";
  for (size_t i = 0; i < torch.size(); ++i) EXPECT_NEAR(torch[i], ours[i], 2 * spread) << curve << " of step " << i + 1;
}

TEST(GoldenTest, LossesAndNormsAgreeWithPlainPyTorchWithinRounding) {
  const ScratchDir dir;
  WriteGoldenText(dir / "text.txt");
  WriteGoldenCsv(dir / "images.csv");
  const std::unique_ptr<Device> device = OpenTorchDevice("cpu", 0).value();
  for (const GoldenJob& job : GoldenJobs(dir.path())) {
    SCOPED_TRACE(job.name);
    const nlohmann::json golden = nlohmann::json::parse(Slurp(absl::StrCat("tests/goldens/", job.name, ".json")));
    absl::StatusOr<Pipeline> pipeline = Pipeline::Load(device.get(), job.spec, job.cuts);
    ASSERT_TRUE(pipeline.ok()) << pipeline.status();
    std::vector<double> losses, norms;
    for (int step = 1; step <= kGoldenSteps; ++step) {
      const absl::StatusOr<StepReport> report = pipeline->Step(step, RunOrder::kOneFOneB);
      ASSERT_TRUE(report.ok()) << report.status();
      losses.push_back(report->loss);
      norms.push_back(report->grad_norm);
    }
    ExpectNear(golden, "loss", job.most_spread, losses);
    ExpectNear(golden, "grad_norm", job.most_spread, norms);
    const v1::EvalSums sums = pipeline->Evaluate(0).value();
    ExpectNear(golden, "eval_loss", job.most_spread, {sums.loss_sum() / static_cast<double>(sums.targets())});
    const double targets = static_cast<double>(sums.targets());
    EXPECT_NEAR(golden["eval_correct"].get<double>(), static_cast<double>(sums.correct()), job.most_spread * targets);
  }
}

}  // namespace
}  // namespace penstock

int main(int argc, char** argv) {
  penstock::PrepareTorch();
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
