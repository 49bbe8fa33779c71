// Parameters that are not trained. Source: docs/training.md, "Frozen parameters".
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "tests/common/scratch_dir.h"
#include "tests/worker/torch/pipeline.h"
#include "tests/worker/torch/pipeline_jobs.h"
#include "worker/torch/torch_device.h"

namespace penstock {
namespace {

std::string Freezing(const std::string& job, const std::string& patterns) {
  return absl::StrReplaceAll(job, {{"model { input", absl::StrCat("model { ", patterns, " input")}});
}

// Hashes of the state's tensors, by name.
std::map<std::string, std::string> Tensors(Pipeline* pipeline) {
  std::map<std::string, std::string> tensors;
  for (int rank = 0; rank < pipeline->ranks(); ++rank) {
    const std::vector<v1::TensorHash> hashes = *pipeline->rank(rank)->Hashes();
    for (const v1::TensorHash& tensor : hashes) tensors[tensor.name()] = tensor.sha256();
  }
  return tensors;
}

TEST(FrozenTest, CutsAndOrdersDoNotChangeABit) {
  const ScratchDir dir;
  // Below all that is trained; and in the middle, where gradients must pass.
  for (const char* patterns :
       {"freeze: 'wte.*' freeze: 'wpe.*' freeze: 'h.0.*'", "freeze: 'h.1.*' freeze: '*.ln_2.*'"}) {
    const std::string job = Freezing(GptJob(TextFile(dir)), patterns);
    const Outcome expected = Train(job, {8}, RunOrder::kGpipe, 3);
    for (const std::vector<int>& cuts : {std::vector<int>{2, 6}, {4, 4}, {6, 2}, {1, 1, 1, 1, 1, 1, 1, 1}}) {
      ExpectSame(expected, Train(job, cuts, RunOrder::kOneFOneB, 3), absl::StrCat(patterns, ", ", cuts[0]));
    }
    ExpectSame(expected, Train(job, {2, 3, 3}, RunOrder::kReverseBackward, 3), patterns);
  }
  const std::string conv = Freezing(ConvJob(CsvFile(dir)), "freeze: 'c.0.*' freeze: 'bn.0.*' freeze: 'res.bn.*'");
  const Outcome expected = Train(conv, {10}, RunOrder::kGpipe, 3);
  for (int cut = 1; cut < 10; ++cut) ExpectSame(expected, Train(conv, {cut, 10 - cut}, RunOrder::kGpipe, 3), "conv");
}

TEST(FrozenTest, KeepsItsValuesAndHasNoStateOfTheOptimizers) {
  const ScratchDir dir;
  const std::string job = Freezing(GptJob(TextFile(dir)), "freeze: 'h.0.*' freeze: 'wte.*'");
  absl::StatusOr<Pipeline> pipeline = Pipeline::Load(Cpu(), job, {4, 4});
  ASSERT_TRUE(pipeline.ok()) << pipeline.status();
  const std::map<std::string, std::string> before = Tensors(&*pipeline);
  for (int step = 1; step <= 2; ++step) ASSERT_TRUE(pipeline->Step(step).ok());
  int frozen = 0;
  for (const auto& [name, hash] : Tensors(&*pipeline)) {
    const bool is_frozen = absl::StartsWith(name, "h.0.") || absl::StartsWith(name, "wte.");
    frozen += is_frozen;
    EXPECT_EQ(hash == before.at(name), is_frozen) << name;
    EXPECT_FALSE(absl::StrContains(name, "exp_avg.h.0.")) << name;
  }
  EXPECT_EQ(frozen, 13);
}

// A learning rate of nothing computes every gradient and uses none of the frozen ones: the others must be the same.
TEST(FrozenTest, TheOthersAreTrainedAsIfAllGradientsWereComputed) {
  const ScratchDir dir;
  const std::string plain =
      absl::StrReplaceAll(GptJob(TextFile(dir)), {{"grad_clip: 0.5", ""}, {"weight_decay: 0.1", "weight_decay: 0"}});
  for (const char* layer : {"wte.*", "h.1.*", "ln_f.*"}) {
    const auto still = absl::StrReplaceAll(
        plain, {{"name: ADAMW", absl::StrCat("name: ADAMW groups { match: '", layer, "' lr_factor: 0 }")}});
    absl::StatusOr<Pipeline> frozen =
        Pipeline::Load(Cpu(), Freezing(plain, absl::StrCat("freeze: '", layer, "'")), {8});
    absl::StatusOr<Pipeline> moved = Pipeline::Load(Cpu(), still, {8});
    ASSERT_TRUE(frozen.ok() && moved.ok()) << frozen.status() << moved.status();
    for (int step = 1; step <= 3; ++step) ASSERT_TRUE(frozen->Step(step).ok() && moved->Step(step).ok());
    const std::map<std::string, std::string> expected = Tensors(&*moved);
    for (const auto& [name, hash] : Tensors(&*frozen)) EXPECT_EQ(hash, expected.at(name)) << name;
  }
}

TEST(FrozenTest, BelowTheLowestTrainedParameterNothingComesBack) {
  const ScratchDir dir;
  const std::string job = Freezing(GptJob(TextFile(dir)), "freeze: 'w?e.*' freeze: 'h.0.*'");
  for (const auto& [cuts, tensors] : {std::pair{std::vector<int>{4, 4}, 3}, {{5, 3}, 6}}) {
    absl::StatusOr<Pipeline> pipeline = Pipeline::Load(Cpu(), job, cuts);
    ASSERT_TRUE(pipeline.ok()) << pipeline.status();
    int sent = 0;
    pipeline->OnTensor([&sent](const TensorView&) { ++sent; });
    ASSERT_TRUE(pipeline->Step(1).ok());
    EXPECT_EQ(sent, tensors) << "three micro-batches forward; and back, where something below is trained";
  }
}

TEST(FrozenTest, ACheckpointGoesOnWithMoreFrozen) {
  const ScratchDir dir;
  const std::string job = GptJob(TextFile(dir));
  absl::StatusOr<Pipeline> first = Pipeline::Load(Cpu(), job, {8});
  ASSERT_TRUE(first.ok()) << first.status();
  ASSERT_TRUE(first->Step(1).ok());
  const absl::StatusOr<std::string> saved = first->Save(dir.path(), 1);
  ASSERT_TRUE(saved.ok()) << saved.status();
  absl::StatusOr<Pipeline> second = Pipeline::Load(Cpu(), Freezing(job, "freeze: 'wte.*'"), {4, 4}, *saved);
  ASSERT_TRUE(second.ok()) << second.status();
  EXPECT_TRUE(second->Step(2).ok());
}

}  // namespace
}  // namespace penstock

int main(int argc, char** argv) {
  penstock::PrepareTorch();
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
