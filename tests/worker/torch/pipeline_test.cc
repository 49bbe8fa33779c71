// The same job under every cut and order: equal bits. Source: docs/exactness.md.
#include "tests/worker/torch/pipeline.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "tests/common/scratch_dir.h"
#include "tests/worker/torch/pipeline_jobs.h"
#include "worker/torch/torch_device.h"

namespace penstock {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

void ExpectSameUnderEveryCutAndOrder(const std::string& job, int layers) {
  const Outcome expected = Train(job, {layers}, RunOrder::kGpipe, 3);
  EXPECT_LT(expected.losses.back(), expected.losses.front());
  EXPECT_GT(expected.eval_loss, 0);
  for (int cut = 1; cut < layers; ++cut) {
    ExpectSame(expected, Train(job, {cut, layers - cut}, RunOrder::kGpipe, 3), absl::StrCat("cut after layer ", cut));
  }
  ExpectSame(expected, Train(job, std::vector<int>(layers, 1), RunOrder::kGpipe, 3), "a stage for each layer");
  for (RunOrder order : {RunOrder::kOneFOneB, RunOrder::kReverseBackward, RunOrder::kReverseForward}) {
    for (const std::vector<int>& cuts : {std::vector<int>{layers}, {2, layers - 5, 3}}) {
      ExpectSame(expected, Train(job, cuts, order, 3),
                 absl::StrCat("order ", static_cast<int>(order), ", ", cuts.size(), " stages"));
    }
  }
}

TEST(PipelineTest, CutsAndOrdersDoNotChangeABitOfATransformer) {
  const ScratchDir dir;
  ExpectSameUnderEveryCutAndOrder(GptJob(TextFile(dir)), 8);
}

TEST(PipelineTest, CutsAndOrdersDoNotChangeABitOfAConvolutionalNetWithBatchNorm) {
  const ScratchDir dir;
  ExpectSameUnderEveryCutAndOrder(ConvJob(CsvFile(dir)), 10);
}

TEST(PipelineTest, CutsAndOrdersDoNotChangeABitOfAUNetWithLongSkips) {
  const ScratchDir dir;
  ExpectSameUnderEveryCutAndOrder(UNetJob(CsvFile(dir)), kUNetLayers);
}

TEST(PipelineTest, CutsAndOrdersDoNotChangeABitOfCellsThatReadTwoTensors) {
  const ScratchDir dir;
  ExpectSameUnderEveryCutAndOrder(CellJob(CsvFile(dir)), kCellLayers);
}

TEST(PipelineTest, CutsAndOrdersDoNotChangeABitWhereTokensCrossThemToo) {
  const ScratchDir dir;
  ExpectSameUnderEveryCutAndOrder(TokenSkipJob(TextFile(dir)), kTokenSkipLayers);
}

// Guards the tests above: a hash that ignored its inputs would pass them.
TEST(PipelineTest, AnotherSeedOrOneMoreStepChangesTheHash) {
  const ScratchDir dir;
  const std::string job = GptJob(TextFile(dir));
  const std::string one = Train(job, {8}, RunOrder::kGpipe, 1).hash;
  EXPECT_NE(one, Train(job, {8}, RunOrder::kGpipe, 2).hash);
  EXPECT_NE(one, Train(absl::StrReplaceAll(job, {{"seed: 11", "seed: 12"}}), {8}, RunOrder::kGpipe, 1).hash);
}

TEST(PipelineTest, ResumingAtAnotherCutGivesTheBitsOfARunThatNeverStopped) {
  const ScratchDir dir;
  for (const auto& [job, layers] : {std::pair{GptJob(TextFile(dir)), 8}, {ConvJob(CsvFile(dir)), 10}}) {
    const Outcome expected = Train(job, {layers}, RunOrder::kGpipe, 4);
    absl::StatusOr<Pipeline> first = Pipeline::Load(Cpu(), job, {3, layers - 3});
    ASSERT_TRUE(first.ok()) << first.status();
    for (int step = 1; step <= 2; ++step) ASSERT_TRUE(first->Step(step, RunOrder::kGpipe).ok());
    const absl::StatusOr<std::string> saved = first->Save(absl::StrCat(dir.path(), "/", layers), 2);
    ASSERT_TRUE(saved.ok()) << saved.status();
    for (const std::vector<int>& cuts : {std::vector<int>{layers}, {1, 4, layers - 5}}) {
      absl::StatusOr<Pipeline> second = Pipeline::Load(Cpu(), job, cuts, *saved);
      ASSERT_TRUE(second.ok()) << second.status();
      EXPECT_EQ(second->rank(0)->Describe().step(), 2u);
      EXPECT_EQ(second->Hash().value(), first->Hash().value());
      for (int step = 3; step <= 4; ++step) ASSERT_TRUE(second->Step(step, RunOrder::kOneFOneB).ok());
      EXPECT_EQ(second->Hash().value(), expected.hash);
    }
  }
}

TEST(PipelineTest, ADamagedCheckpointIsRefusedWithTheTensorsName) {
  const ScratchDir dir;
  const std::string job = GptJob(TextFile(dir));
  absl::StatusOr<Pipeline> pipeline = Pipeline::Load(Cpu(), job, {8});
  ASSERT_TRUE(pipeline.ok()) << pipeline.status();
  const absl::StatusOr<std::string> saved = pipeline->Save(dir.path(), 0);
  ASSERT_TRUE(saved.ok()) << saved.status();
  {
    std::fstream file(absl::StrCat(*saved, "/rank-0.safetensors"), std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(-1, std::ios::end);
    file.put('\x55');
  }
  const absl::Status refused = Pipeline::Load(Cpu(), job, {4, 4}, *saved).status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kDataLoss) << refused;
  EXPECT_THAT(std::string(refused.message()), HasSubstr("wte.weight"));
}

// Saves an initial state under one optimizer and loads it under another; returns how that ended.
absl::Status ResumeUnder(const std::string& saved_under, const std::string& resumed_under) {
  const ScratchDir dir;
  const std::string job = GptJob(TextFile(dir));
  const auto under = [&job](const std::string& optimizer) {
    return absl::StrReplaceAll(job, {{"name: ADAMW", optimizer}});
  };
  absl::StatusOr<Pipeline> pipeline = Pipeline::Load(Cpu(), under(saved_under), {8});
  if (!pipeline.ok()) return pipeline.status();
  const absl::StatusOr<std::string> saved = pipeline->Save(dir.path(), 0);
  if (!saved.ok()) return saved.status();
  return Pipeline::Load(Cpu(), under(resumed_under), {8}, *saved).status();
}

TEST(PipelineTest, ACheckpointThatLacksATensorOfTheJobIsRefused) {
  const absl::Status refused = ResumeUnder("name: SGD", "name: SGD momentum: 0.9");
  EXPECT_EQ(refused.code(), absl::StatusCode::kInvalidArgument) << refused;
  EXPECT_THAT(std::string(refused.message()), HasSubstr("has no tensor optimizer.momentum.wte.weight"));
}

// Tensors that the job has no place for used to be dropped silently.
TEST(PipelineTest, ACheckpointWithATensorThatTheJobHasNoPlaceForIsRefused) {
  const absl::Status refused = ResumeUnder("name: ADAMW", "name: SGD momentum: 0.9");
  EXPECT_EQ(refused.code(), absl::StatusCode::kInvalidArgument) << refused;
  EXPECT_THAT(std::string(refused.message()), HasSubstr("it has a tensor optimizer.exp_avg"));
  EXPECT_THAT(std::string(refused.message()), HasSubstr("that the job has not: it is of another model or optimizer"));
}

TEST(PipelineTest, GeneratesTheSameTokensUnderEveryCut) {
  const ScratchDir dir;
  const std::string text = TextFile(dir);
  for (const auto& [job, layers] : {std::pair{GptJob(text), 8}, {TokenSkipJob(text), kTokenSkipLayers}}) {
    std::vector<std::vector<int64_t>> texts;
    for (const std::vector<int>& cuts : {std::vector<int>{layers}, {2, 3, layers - 5}}) {
      absl::StatusOr<Pipeline> pipeline = Pipeline::Load(Cpu(), job, cuts);
      ASSERT_TRUE(pipeline.ok()) << pipeline.status();
      std::vector<int64_t> tokens = {97, 98, 99};
      for (int i = 0; i < 8; ++i) {
        const absl::StatusOr<int64_t> next = pipeline->NextToken(tokens, 0.8, 40, 3);
        ASSERT_TRUE(next.ok()) << next.status();
        ASSERT_GE(*next, 0);
        ASSERT_LT(*next, 256);
        tokens.push_back(*next);
      }
      texts.push_back(tokens);
    }
    EXPECT_EQ(texts[0], texts[1]);
  }
}

TEST(PipelineTest, EvaluationCountsEachTargetOnce) {
  const ScratchDir dir;
  absl::StatusOr<Pipeline> pipeline = Pipeline::Load(Cpu(), ConvJob(CsvFile(dir)), {4, 6});
  ASSERT_TRUE(pipeline.ok()) << pipeline.status();
  // 18 of 90 rows are held out, which is one batch of 18.
  EXPECT_EQ(pipeline->Evaluate(0)->targets(), 18u);
  EXPECT_EQ(pipeline->Evaluate(1).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(PipelineTest, ANonFiniteGradientIsReported) {
  const ScratchDir dir;
  const std::string job = absl::StrReplaceAll(ConvJob(CsvFile(dir)), {{"lr: 0.05", "lr: 1e30"}});
  absl::StatusOr<Pipeline> pipeline = Pipeline::Load(Cpu(), job, {5, 5});
  ASSERT_TRUE(pipeline.ok()) << pipeline.status();
  EXPECT_TRUE(pipeline->Step(1, RunOrder::kGpipe)->finite);
  EXPECT_FALSE(pipeline->Step(2, RunOrder::kGpipe)->finite);
}

TEST(PipelineTest, ADroppedStepLeavesNoTrace) {
  const ScratchDir dir;
  const std::string job = ConvJob(CsvFile(dir));
  const Outcome expected = Train(job, {10}, RunOrder::kGpipe, 1);
  absl::StatusOr<Pipeline> pipeline = Pipeline::Load(Cpu(), job, {10});
  ASSERT_TRUE(pipeline.ok()) << pipeline.status();
  LoadedRank* rank = pipeline->rank(0);
  Pass pass;
  pass.step = 1;
  ASSERT_TRUE(rank->BeginPass(pass).ok());
  for (int m = 0; m < 4; ++m) ASSERT_TRUE(rank->Forward(0, m).ok());
  for (int m = 0; m < 4; ++m) ASSERT_TRUE(rank->InputGradient(0, m).ok());
  for (int m = 0; m < 4; ++m) ASSERT_TRUE(rank->WeightGradient(0, m).ok());
  ASSERT_TRUE(rank->EndPass().ok());
  rank->Discard();
  ASSERT_TRUE(pipeline->Step(1, RunOrder::kGpipe).ok());
  EXPECT_EQ(pipeline->Hash().value(), expected.hash);
}

// Leaves the process without a limit again.
class MemoryLimit {
 public:
  explicit MemoryLimit(uint64_t bytes) : device_(OpenTorchDevice("cpu", bytes).value()) {}
  ~MemoryLimit() { (void)OpenTorchDevice("cpu", 0); }
  Device* device() { return device_.get(); }

 private:
  std::unique_ptr<Device> device_;
};

TEST(PipelineTest, OutOfMemoryNamesStageMicroBatchAndFigures) {
  const ScratchDir dir;
  const std::string job = GptJob(TextFile(dir));
  uint64_t loaded_bytes = 0;
  {
    absl::StatusOr<Pipeline> probe = Pipeline::Load(Cpu(), job, {8});
    ASSERT_TRUE(probe.ok()) << probe.status();
    loaded_bytes = probe->rank(0)->Describe().allocated_bytes();
  }
  MemoryLimit limit(loaded_bytes + (1 << 20));
  absl::StatusOr<Pipeline> pipeline = Pipeline::Load(limit.device(), job, {8});
  ASSERT_TRUE(pipeline.ok()) << pipeline.status();
  const absl::Status failed = pipeline->Step(1, RunOrder::kGpipe).status();
  EXPECT_EQ(failed.code(), absl::StatusCode::kResourceExhausted) << failed;
  EXPECT_THAT(
      std::string(failed.message()),
      AllOf(HasSubstr("stage 0, layer "), HasSubstr("forward of micro-batch "), HasSubstr("out of memory on cpu"),
            HasSubstr(absl::StrCat("the worker's limit is ", loaded_bytes + (1 << 20)))));
}

TEST(TorchDeviceTest, NamesWhatIsNotADeviceAndWhatIsMissing) {
  EXPECT_EQ(OpenTorchDevice("gpu", 0).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(OpenTorchDevice("cuda:-1", 0).status().code(), absl::StatusCode::kInvalidArgument);
  const absl::Status missing = OpenTorchDevice("cuda:63", 0).status();
  EXPECT_EQ(missing.code(), absl::StatusCode::kNotFound) << missing;
  EXPECT_THAT(std::string(missing.message()), HasSubstr("no device cuda:63 here"));
}

TEST(TorchDeviceTest, TheSelfTestGivesTheSameHashAgain) {
  const absl::StatusOr<std::unique_ptr<Device>> again = OpenTorchDevice("cpu", 0);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ((*again)->SelfTestHash(), Cpu()->SelfTestHash());
  EXPECT_EQ((*again)->SelfTestHash().size(), 64u);
  EXPECT_THAT((*again)->NumericFingerprint(), AllOf(HasSubstr("libtorch 2.11"), HasSubstr("MKL_CBWR=AUTO")));
}

}  // namespace
}  // namespace penstock

int main(int argc, char** argv) {
  penstock::PrepareTorch();
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
