// What model/'s rules say that layers keep, beside what the allocator counts while they run.
#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/fake_clock.h"
#include "model/boundary.h"
#include "model/layer_kind.h"
#include "model/model_info.h"
#include "worker/device/device_memory.h"
#include "worker/torch/compute_type.h"
#include "worker/torch/layers/build.h"
#include "worker/torch/parameters.h"
#include "worker/torch/stage.h"
#include "worker/torch/torch_device.h"

namespace penstock {
namespace {

constexpr int64_t kSamples = 4;

// Bytes of a micro-batch.
struct Bytes {
  int64_t activation = 0;
  int64_t deferred = 0;
  int64_t working = 0;
  int64_t left = 0;  // when all is done
};

// A stage of these layers, with a layer after it that is not run (it would pay for the loss).
class BuiltStage {
 public:
  BuiltStage(const std::string& layers, std::vector<int64_t> sample, v1::DType dtype,
             v1::DType compute = v1::DTYPE_UNSPECIFIED)
      : dtype_(dtype) {
    v1::Model model;
    model.set_compute(compute);
    compute_ = ComputeType(model);
    EXPECT_TRUE(google::protobuf::TextFormat::MergeFromString(absl::StrCat(layers, " layers { name: 'after' relu {} }"),
                                                              &model))
        << layers;
    model.mutable_input()->set_dtype(dtype);
    model.mutable_input()->mutable_shape()->Assign(sample.begin(), sample.end());
    model.set_loss(v1::LOSS_MSE);
    FillDefaults(&model);
    Diagnostics diagnostics;  // the loss need not fit
    info_ = InferModel(model, &diagnostics);
    EXPECT_EQ(info_.layers.size(), static_cast<size_t>(model.layers_size())) << layers;
    info_.layers.pop_back();
    store_ = std::make_unique<ParameterStore>(info_.layers, v1::Optimizer(), at::kCPU, compute_);
    store_->Initialise(1);
    for (const auto& parameter : store_->parameters()) parts_.parameters[parameter->name] = parameter.get();
    for (const auto& [name, buffer] : store_->buffers()) parts_.buffers[name] = buffer;
    parts_.clock = &clock_;
    std::vector<NamedLayer> functions;
    for (size_t i = 0; i < info_.layers.size(); ++i) {
      functions.push_back({info_.layers[i].name, BuildLayer(model.layers(static_cast<int>(i)), &parts_)});
    }
    for (const auto& statistics : parts_.statistics) statistics->Begin(1);
    Wiring wiring = WiringOf(info_, 0, static_cast<int>(info_.layers.size()));
    wiring.needs_gradient = {dtype != v1::DTYPE_INT64};  // as if layers came before
    stage_ = std::make_unique<Stage>(std::move(functions), std::move(wiring));
    sample.insert(sample.begin(), kSamples);
    shape_ = std::move(sample);
    Measure();  // fills caches, such as rotary angles
  }

  Bytes Measure() {
    const c10::InferenceMode as_a_rank_runs_it;  // otherwise a view would refer to its base
    const auto now = [this] { return static_cast<int64_t>(memory_->AllocatedBytes()); };
    const auto peak = [this] { return static_cast<int64_t>(memory_->PeakBytes()); };
    LayerContext context;
    context.training = true;
    stage_->BeginPass(1);
    const int64_t before = now();
    at::Tensor x = at::zeros(shape_, dtype_ == v1::DTYPE_INT64 ? at::kLong : compute_);
    memory_->ResetPeak();
    at::Tensor y = std::move(stage_->Forward(Alone(std::move(x)), context, Keep::kEverything).front());
    const int64_t forward_peak = peak() - before;
    const std::vector<int64_t> shape = y.sizes().vec();
    y.reset();
    Bytes bytes;
    bytes.activation = now() - before;
    memory_->ResetPeak();
    at::Tensor gradient = at::full(shape, 0.5, at::TensorOptions(compute_));
    stage_->InputGradient(Alone(std::move(gradient)), context).clear();
    const int64_t backward_peak = peak() - before;
    bytes.deferred = now() - before;
    memory_->ResetPeak();
    stage_->WeightGradient(0);
    bytes.working = std::max({forward_peak, backward_peak, peak() - before - GradientBytes()}) -
                    std::max(bytes.activation, bytes.deferred);
    bytes.left = now() - before;
    return bytes;
  }

  // The only reference, in a list.
  static std::vector<at::Tensor> Alone(at::Tensor tensor) {
    std::vector<at::Tensor> list;
    list.push_back(std::move(tensor));
    return list;
  }

  // What W holds for a kernel's own gradient, whatever the samples.
  int64_t GradientBytes() const {
    int64_t bytes = 0;
    for (const LayerInfo& layer : info_.layers) bytes = std::max(bytes, layer.cost.gradient_bytes);
    return bytes;
  }

  // What the planner expects: the layers' sums, tensors that two of them keep counted once.
  Bytes Predict() const {
    Bytes bytes;
    for (const LayerInfo& layer : info_.layers) {
      bytes.activation += kSamples * (layer.cost.activation_bytes - layer.cost.shared_bytes);
      bytes.deferred += kSamples * layer.cost.deferred_bytes;
      bytes.working = std::max(bytes.working, kSamples * layer.cost.working_bytes);
    }
    return bytes;
  }

 private:
  const std::unique_ptr<DeviceMemory> memory_ = OpenCpuMemory(0);
  const v1::DType dtype_;
  at::ScalarType compute_ = at::kFloat;
  FakeClock clock_;
  ModelInfo info_;
  std::unique_ptr<ParameterStore> store_;
  LayerParts parts_;
  std::unique_ptr<Stage> stage_;
  std::vector<int64_t> shape_;
};

void ExpectNear(int64_t predicted, int64_t measured, double tolerance, const std::string& what) {
  EXPECT_LE(std::abs(static_cast<double>(predicted - measured)), tolerance * static_cast<double>(measured) + 512)
      << what << ": predicted " << predicted << ", measured " << measured;
}

// What is kept: within 1 % (a norm's few numbers a channel or row). The fullest moment: within 10 %.
void ExpectPredicted(const std::string& layers, std::vector<int64_t> sample, v1::DType dtype = v1::DTYPE_FLOAT32) {
  SCOPED_TRACE(layers);
  BuiltStage stage(layers, std::move(sample), dtype);
  const Bytes predicted = stage.Predict(), measured = stage.Measure();
  EXPECT_EQ(measured.left, 0);
  ExpectNear(predicted.activation, measured.activation, 0.01, "from F to I");
  ExpectNear(predicted.deferred, measured.deferred, 0.01, "from I to W");
  ExpectNear(std::max(predicted.activation, predicted.deferred) + predicted.working,
             std::max(measured.activation, measured.deferred) + measured.working, 0.1, "at the fullest");
}

// In 16 bits: what is kept as exactly; the fullest moment is covered, and not by much more.
void ExpectCovered(const std::string& layers, std::vector<int64_t> sample, v1::DType dtype = v1::DTYPE_FLOAT32) {
  SCOPED_TRACE(layers);
  BuiltStage stage(layers, std::move(sample), dtype, v1::DTYPE_BFLOAT16);
  const Bytes predicted = stage.Predict(), measured = stage.Measure();
  EXPECT_EQ(measured.left, 0);
  ExpectNear(predicted.activation, measured.activation, 0.01, "from F to I");
  ExpectNear(predicted.deferred, measured.deferred, 0.02, "from I to W");
  const auto fullest = [](const Bytes& bytes) {
    return static_cast<double>(std::max(bytes.activation, bytes.deferred) + bytes.working);
  };
  EXPECT_GE(fullest(predicted), 0.9 * fullest(measured)) << measured.working;
  EXPECT_LE(fullest(predicted), 2.5 * fullest(measured) + 512) << measured.working;
}

std::string Layer(const std::string& name, const std::string& kind) {
  return absl::StrCat("layers { name: '", name, "' ", kind, " } ");
}

TEST(LayerMemoryTest, EveryKindKeepsWhatItsRuleSays) {
  for (const char* kind :
       {"linear { out: 96 }",
        "linear { out: 24 bias: false }",
        "lm_head { vocab: 200 }",
        "layer_norm {}",
        "rms_norm {}",
        "relu {}",
        "gelu {}",
        "gelu { exact: true }",
        "silu {}",
        "tanh {}",
        "sigmoid {}",
        "dropout { p: 0.1 }",
        "dropout { p: 0 }",
        "delay {}",
        "position_embedding { context: 32 }",
        "attention { heads: 4 }",
        "attention { heads: 4 dropout: 0.1 }",
        "attention { heads: 4 rotary: true }",
        "attention { heads: 4 kv_heads: 2 }",
        "attention { heads: 4 kv_heads: 2 rotary: true bias: false }",
        "gpt_block { heads: 4 }",
        "gpt_block { heads: 4 dropout: 0.1 }",
        "llama_block { heads: 4 hidden: 128 }",
        "llama_block { heads: 4 kv_heads: 2 hidden: 160 }",
        "residual { block { name: 'l.a' linear { out: 48 } } block { name: 'l.b' relu {} } }",
        "residual { block { name: 'l.a' layer_norm {} } block { name: 'l.b' linear { out: 48 } } }"}) {
    ExpectPredicted(Layer("l", kind), {32, 48});
  }
  for (const char* kind :
       {"conv2d { out: 12 kernel: 3 padding: 1 }",
        "conv2d { out: 12 kernel: 3 stride: 2 bias: false }",
        "conv2d { out: 16 kernel: 1 }",
        "conv2d { out: 8 kernel: 3 padding: 1 }",
        "conv2d { out: 32 kernel: 3 padding: 1 }",
        "conv2d { out: 32 kernel: 3 stride: 2 padding: 1 }",
        "conv2d { out: 16 kernel: 1 stride: 2 }",
        "max_pool { kernel: 2 }",
        "avg_pool { kernel: 2 }",
        "avg_pool { kernel: 32 }",
        "batch_norm {}",
        "flatten {}",
        "avg_pool { kernel: 3 stride: 1 padding: 1 count_padding: false }",
        "conv2d { out: 16 kernel: 3 padding: 1 groups: 2 }",
        "conv2d { out: 8 kernel: 3 padding: 1 groups: 8 }",
        "conv2d { out: 16 kernel: 3 padding: 2 dilation: 2 }",
        "conv2d { out: 16 kernel: 1 kernel_width: 7 padding: 0 padding_width: 3 }",
        "conv_transpose2d { out: 8 kernel: 2 stride: 2 }",
        "conv_transpose2d { out: 16 kernel: 3 padding: 1 }",
        "upsample { scale: 2 }",
        "pad { top: 1 right: -1 }",
        "graph { block { name: 'l.r' relu {} } block { name: 'l.c' conv2d { out: 8 kernel: 3 padding: 1 } }"
        " block { name: 'l.n' batch_norm {} } block { name: 'l.s' from: 'l.n' from: 'l.r' from: 'input' add {} } }"}) {
    ExpectPredicted(Layer("l", kind), {8, 32, 32});
  }
  ExpectPredicted(Layer("l", "embedding { vocab: 20 dim: 48 }"), {32}, v1::DTYPE_INT64);
}

TEST(LayerMemoryTest, InSixteenBitsLayersKeepWhatTheirRulesSay) {
  for (const char* kind :
       {"linear { out: 96 }", "layer_norm {}", "rms_norm {}", "relu {}", "gelu {}", "dropout { p: 0.1 }",
        "position_embedding { context: 32 }", "attention { heads: 4 }",
        "attention { heads: 4 kv_heads: 2 rotary: true }", "gpt_block { heads: 4 dropout: 0.1 }",
        "llama_block { heads: 4 hidden: 128 }",
        "residual { block { name: 'l.a' layer_norm {} } block { name: 'l.b' linear { out: 48 } } }"}) {
    ExpectCovered(Layer("l", kind), {32, 48});
  }
  for (const char* kind : {"conv2d { out: 16 kernel: 3 padding: 1 }", "max_pool { kernel: 2 }", "batch_norm {}"}) {
    ExpectCovered(Layer("l", kind), {8, 32, 32});
  }
  ExpectCovered(Layer("l", "embedding { vocab: 20 dim: 48 }"), {32}, v1::DTYPE_INT64);
}

TEST(LayerMemoryTest, NeighboursKeepATensorOfBothOnce) {
  std::string gpt =
      Layer("wte", "embedding { vocab: 100 dim: 48 }") + Layer("wpe", "position_embedding { context: 32 }");
  for (int i = 0; i < 4; ++i) gpt += Layer(absl::StrCat("h.", i), "gpt_block { heads: 4 }");
  ExpectPredicted(gpt + Layer("ln_f", "layer_norm {}"), {32}, v1::DTYPE_INT64);

  std::string llama = Layer("wte", "embedding { vocab: 100 dim: 48 }");
  for (int i = 0; i < 4; ++i) llama += Layer(absl::StrCat("l.", i), "llama_block { heads: 4 kv_heads: 2 hidden: 128 }");
  ExpectPredicted(llama + Layer("norm", "rms_norm {}") + Layer("head", "lm_head { vocab: 100 }"), {32},
                  v1::DTYPE_INT64);

  // Deep enough that it does not matter where in the stage its fullest layer is: the prediction takes it to be the
  // last.
  std::string conv;
  for (int i = 0; i < 8; ++i) {
    conv += Layer(absl::StrCat("c.", i), "conv2d { out: 16 kernel: 3 padding: 1 bias: false }") +
            Layer(absl::StrCat("bn.", i), "batch_norm {}") + Layer(absl::StrCat("relu.", i), "relu {}");
  }
  ExpectPredicted(conv, {16, 16, 16});
  ExpectPredicted(conv + Layer("pool", "max_pool { kernel: 2 }") +
                      Layer("res",
                            "residual { block { name: 'res.c' conv2d { out: 16 kernel: 3 padding: 1 } } "
                            "block { name: 'res.bn' batch_norm {} } block { name: 'res.relu' relu {} } "
                            "block { name: 'res.c2' conv2d { out: 16 kernel: 3 padding: 1 } } }") +
                      Layer("relu", "relu {}") + Layer("avg", "avg_pool { kernel: 2 }") + Layer("flat", "flatten {}") +
                      Layer("drop", "dropout { p: 0 }") + Layer("fc", "linear { out: 10 }"),
                  {16, 16, 16});
  ExpectPredicted(Layer("a", "linear { out: 64 }") + Layer("relu", "relu {}") + Layer("wait", "delay {}") +
                      Layer("b", "linear { out: 64 }") + Layer("tanh", "tanh {}") + Layer("c", "linear { out: 64 }"),
                  {48});
}

// A tensor that several layers read is kept once, and passes by those between.
TEST(LayerMemoryTest, SkipsAreKeptOnceAndCountWhileTheyPass) {
  const std::string conv = "conv2d { out: 8 kernel: 3 padding: 1 }";
  ExpectPredicted(Layer("a", conv) + Layer("r", "relu {}") + Layer("b", conv) + Layer("rb", "relu {}") +
                      Layer("c", conv) + Layer("sum", "from: 'c' from: 'r' add {}") + Layer("rs", "relu {}") +
                      Layer("d", "from: 'rs' conv2d { out: 8 kernel: 1 }") +
                      Layer("cat", "from: 'd' from: 'r' from: 'rs' concat {}") + Layer("e", conv),
                  {8, 32, 32});
}

}  // namespace
}  // namespace penstock

int main(int argc, char** argv) {
  penstock::PrepareTorch();
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
