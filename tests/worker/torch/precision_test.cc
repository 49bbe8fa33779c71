// Jobs in 16 bits: equal bits under every cut and order, losses close to float32's, one loss scale for all stages.
// Source: docs/training.md, "Precision".
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "tests/common/scratch_dir.h"
#include "tests/worker/torch/pipeline.h"
#include "tests/worker/torch/pipeline_jobs.h"
#include "worker/torch/torch_device.h"

namespace penstock {
namespace {

struct Precision {
  const char* name;
  const char* train;  // instead of precision: "fp32"
  const char* model;
};
constexpr Precision kBf16 = {"bf16", "precision: \"bf16\"", "compute: DTYPE_BFLOAT16"};
constexpr Precision kFp16 = {"fp16", "precision: \"fp16\" loss_scale { initial: 1024 growth_interval: 2 }",
                             "compute: DTYPE_FLOAT16"};

std::string In(const Precision& precision, const std::string& job) {
  return absl::StrReplaceAll(job, {{"precision: \"fp32\"", precision.train},
                                   {"model { input", absl::StrCat("model { ", precision.model, " input")}});
}

// Cuts of a job of so many layers: between all of them, and a few others.
std::vector<std::vector<int>> Cuts(int layers) {
  return {{1, layers - 1}, {3, layers - 3}, {2, layers - 5, 3}, std::vector<int>(layers, 1)};
}

TEST(PrecisionTest, CutsAndOrdersDoNotChangeABit) {
  const ScratchDir dir;
  for (const Precision& precision : {kBf16, kFp16}) {
    for (const auto& [full, layers] : {std::pair{GptJob(TextFile(dir)), 8}, {ConvJob(CsvFile(dir)), 10}}) {
      const std::string job = In(precision, full);
      const Outcome expected = Train(job, {layers}, RunOrder::kGpipe, 4);
      EXPECT_LT(expected.losses[2], expected.losses[0]) << precision.name;
      for (const std::vector<int>& cuts : Cuts(layers)) {
        ExpectSame(expected, Train(job, cuts, RunOrder::kGpipe, 4), absl::StrCat(precision.name, ", ", cuts.size()));
      }
      for (RunOrder order : {RunOrder::kOneFOneB, RunOrder::kReverseBackward, RunOrder::kReverseForward}) {
        ExpectSame(expected, Train(job, {2, layers - 5, 3}, order, 4),
                   absl::StrCat(precision.name, ", order ", static_cast<int>(order)));
      }
    }
  }
}

// The bits differ, the training doesn't: 16-bit rounding is about 2^-8 (bf16) and 2^-11 (fp16) of each number.
TEST(PrecisionTest, LossesStayCloseToThoseOfFloat32) {
  const ScratchDir dir;
  for (const auto& [job, layers] : {std::pair{GptJob(TextFile(dir)), 8}, {ConvJob(CsvFile(dir)), 10}}) {
    const Outcome full = Train(job, {layers}, RunOrder::kGpipe, 4);
    for (const auto& [precision, share] : {std::pair{kBf16, 0.02}, {kFp16, 0.003}}) {
      const Outcome outcome = Train(In(precision, job), {layers}, RunOrder::kGpipe, 4);
      EXPECT_NE(outcome.hash, full.hash);
      for (size_t i = 0; i < full.losses.size(); ++i) {
        EXPECT_NEAR(outcome.losses[i], full.losses[i], share * full.losses[i]) << precision.name << ", step " << i + 1;
        EXPECT_NEAR(outcome.norms[i], full.norms[i], 10 * share * full.norms[i])
            << precision.name << ", step " << i + 1;
      }
    }
  }
}

TEST(PrecisionTest, BoundariesTravelInSixteenBitsAndStateStaysInFloat32) {
  const ScratchDir dir;
  absl::StatusOr<Pipeline> pipeline = Pipeline::Load(Cpu(), In(kBf16, GptJob(TextFile(dir))), {4, 4});
  ASSERT_TRUE(pipeline.ok()) << pipeline.status();
  std::set<std::pair<v1::DType, size_t>> sent;
  pipeline->OnTensor([&sent](const TensorView& view) { sent.insert({view.meta.dtype, view.bytes}); });
  ASSERT_TRUE(pipeline->Step(1).ok());
  // Micro-batches of 3 and 2 samples, 24 positions of width 32.
  EXPECT_EQ(sent, (std::set<std::pair<v1::DType, size_t>>{{v1::DTYPE_BFLOAT16, 3 * 24 * 32 * 2},
                                                          {v1::DTYPE_BFLOAT16, 2 * 24 * 32 * 2}}));
  for (int rank : {0, 1}) {
    const absl::StatusOr<std::vector<v1::TensorHash>> hashes = pipeline->rank(rank)->Hashes();
    ASSERT_TRUE(hashes.ok());
    for (const v1::TensorHash& hash : *hashes) EXPECT_EQ(hash.dtype(), "F32") << hash.name();
  }
}

// A scale so large that the first steps overflow.
std::string Overflowing(const std::string& job) {
  return absl::StrReplaceAll(In(kFp16, job),
                             {{"initial: 1024 growth_interval: 2", "initial: 16777216 growth_interval: 100"}});
}

TEST(PrecisionTest, AnOverflowSkipsTheStepOnEveryStageAndHalvesTheScale) {
  const ScratchDir dir;
  const std::string job = Overflowing(GptJob(TextFile(dir)));
  for (const std::vector<int>& cuts : {std::vector<int>{8}, {3, 5}}) {
    absl::StatusOr<Pipeline> pipeline = Pipeline::Load(Cpu(), job, cuts);
    ASSERT_TRUE(pipeline.ok()) << pipeline.status();
    const std::string initial = pipeline->Hash().value();
    double scale = 16777216;
    int skipped = 0;
    for (int step = 1; step <= 20; ++step) {
      const absl::StatusOr<StepReport> report = pipeline->Step(step);
      ASSERT_TRUE(report.ok()) << report.status();
      EXPECT_EQ(report->loss_scale, scale) << step;
      if (!report->skipped) break;
      ++skipped;
      scale /= 2;
      EXPECT_EQ(pipeline->Hash().value(), initial) << "a skipped step changes nothing";
      EXPECT_EQ(pipeline->rank(0)->Describe().step(), static_cast<uint64_t>(step));
    }
    EXPECT_GT(skipped, 0) << "nothing overflowed";
    EXPECT_LT(skipped, 20) << "the scale never became small enough";
    EXPECT_NE(pipeline->Hash().value(), initial);
  }
}

TEST(PrecisionTest, StepsThatAreSkippedAndResumedEndAtTheSameBits) {
  const ScratchDir dir;
  const std::string job = Overflowing(GptJob(TextFile(dir)));
  constexpr int kSteps = 14;
  absl::StatusOr<Pipeline> whole = Pipeline::Load(Cpu(), job, {8});
  ASSERT_TRUE(whole.ok()) << whole.status();
  int updates = 0;
  for (int step = 1; step <= kSteps; ++step) updates += !whole->Step(step)->skipped;
  EXPECT_GT(updates, 2) << "there is nothing to compare";
  absl::StatusOr<Pipeline> first = Pipeline::Load(Cpu(), job, {4, 4});
  ASSERT_TRUE(first.ok()) << first.status();
  for (int step = 1; step <= kSteps - 2; ++step) ASSERT_TRUE(first->Step(step).ok());
  const absl::StatusOr<std::string> saved = first->Save(dir.path(), kSteps - 2);
  ASSERT_TRUE(saved.ok()) << saved.status();
  absl::StatusOr<Pipeline> second = Pipeline::Load(Cpu(), job, {2, 6}, *saved);
  ASSERT_TRUE(second.ok()) << second.status();
  for (int step = kSteps - 1; step <= kSteps; ++step) ASSERT_TRUE(second->Step(step).ok());
  EXPECT_EQ(second->Hash().value(), whole->Hash().value());
}

TEST(PrecisionTest, AModelAndAPrecisionThatContradictEachOtherAreRefused) {
  const ScratchDir dir;
  const std::string job = absl::StrReplaceAll(GptJob(TextFile(dir)), {{"precision: \"fp32\"", "precision: \"bf16\""}});
  const absl::Status refused = Pipeline::Load(Cpu(), job, {8}).status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kInvalidArgument) << refused;
}

}  // namespace
}  // namespace penstock

int main(int argc, char** argv) {
  penstock::PrepareTorch();
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
