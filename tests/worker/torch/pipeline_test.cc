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
#include "worker/torch/torch_device.h"

namespace penstock {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

Device* Cpu() {
  static Device* const device = [] {
    absl::StatusOr<std::unique_ptr<Device>> opened = OpenTorchDevice("cpu", 0);
    if (!opened.ok()) std::abort();
    return opened->release();
  }();
  return device;
}

// A text whose letters depend on each other, so that there is something to learn.
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

// 8 layers; dropout inside the blocks and as a layer, an uneven tail (7 samples in 3 micro-batches), clipping that
// bites.
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

// 10 layers with BatchNorm, inside a residual too.
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

struct Outcome {
  std::string hash;
  std::vector<double> losses;
  std::vector<double> norms;
  double eval_loss = 0;
};

Outcome Train(const std::string& job, const std::vector<int>& cuts, RunOrder order, int steps) {
  Outcome outcome;
  absl::StatusOr<Pipeline> pipeline = Pipeline::Load(Cpu(), job, cuts);
  EXPECT_TRUE(pipeline.ok()) << pipeline.status();
  if (!pipeline.ok()) return outcome;
  for (int step = 1; step <= steps; ++step) {
    const absl::StatusOr<StepReport> report = pipeline->Step(step, order);
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

void ExpectSame(const Outcome& expected, const Outcome& outcome, const std::string& what) {
  EXPECT_EQ(expected.hash, outcome.hash) << what;
  EXPECT_EQ(expected.losses, outcome.losses) << what;
  EXPECT_EQ(expected.norms, outcome.norms) << what;
  EXPECT_EQ(expected.eval_loss, outcome.eval_loss) << what;
}

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
  const std::string job = GptJob(TextFile(dir));
  std::vector<std::vector<int64_t>> texts;
  for (const std::vector<int>& cuts : {std::vector<int>{8}, {2, 3, 3}}) {
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
  for (int m = 0; m < 4; ++m) ASSERT_TRUE(rank->Backward(0, m).ok());
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
