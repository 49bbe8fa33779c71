// Layers timed on their own, on the CPU.
#include <gmock/gmock.h>
#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "model/layer_kind.h"
#include "model/model_info.h"
#include "worker/torch/torch_device.h"

namespace penstock {
namespace {

using ::testing::HasSubstr;

// Eight samples of a small GPT; `layers` in proto text.
v1::MeasureRequest RequestFor(const std::string& model, uint32_t samples = 8) {
  v1::MeasureRequest request;
  v1::JobSpec* spec = request.mutable_spec();
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(model, spec->mutable_model()));
  FillDefaults(spec->mutable_model());
  spec->mutable_train()->set_batch_size(16);
  spec->mutable_train()->set_threads(1);
  spec->mutable_train()->mutable_optimizer()->set_name(v1::Optimizer::ADAMW);
  spec->mutable_train()->mutable_optimizer()->set_lr(1e-3);
  spec->mutable_train()->mutable_optimizer()->set_beta1(0.9);
  spec->mutable_train()->mutable_optimizer()->set_beta2(0.999);
  spec->mutable_train()->mutable_optimizer()->set_eps(1e-8);
  request.set_samples(samples);
  for (int i = 0; i < spec->model().layers_size(); ++i) request.add_layers(static_cast<uint32_t>(i));
  return request;
}

constexpr char kGpt[] = R"pb(
  input { dtype: DTYPE_INT64 shape: 16 }
  loss: LOSS_CROSS_ENTROPY
  layers {
    name: "wte"
    embedding { vocab: 64 dim: 32 }
  }
  layers {
    name: "wpe"
    position_embedding { context: 16 }
  }
  layers {
    name: "h"
    gpt_block { heads: 4 }
  }
  layers {
    name: "ln"
    layer_norm {}
  }
  layers {
    name: "head"
    lm_head { vocab: 64 }
  }
)pb";

class MeasureTest : public ::testing::Test {
 protected:
  MeasureTest() {
    absl::StatusOr<std::unique_ptr<Device>> device = OpenTorchDevice("cpu", 0);
    EXPECT_TRUE(device.ok()) << device.status();
    if (device.ok()) device_ = *std::move(device);
  }
  absl::StatusOr<v1::MeasuredCosts> Measure(const v1::MeasureRequest& request) {
    return device_->Measure(request, [] { return false; });
  }

  std::unique_ptr<Device> device_;
};

TEST_F(MeasureTest, TimesEveryPartOfEveryLayer) {
  v1::MeasureRequest request = RequestFor(kGpt);
  request.set_update(true);
  const absl::StatusOr<v1::MeasuredCosts> costs = Measure(request);
  ASSERT_TRUE(costs.ok()) << costs.status();
  ASSERT_EQ(costs->layers_size(), 5);
  for (const v1::MeasuredLayer& layer : costs->layers()) {
    EXPECT_GT(layer.forward_us(), 0) << layer.layer();
    EXPECT_EQ(layer.samples(), 8u);
  }
  const v1::MeasuredLayer& block = costs->layers(2);
  EXPECT_EQ(block.layer(), "h");
  EXPECT_GT(block.input_gradient_us(), 0);
  EXPECT_GT(block.weight_gradient_us(), 0);
  EXPECT_GT(costs->update_bytes_per_us(), 0);
}

TEST_F(MeasureTest, CountsTheBytesThatTheModelsRulesNameForALayer) {
  const v1::MeasureRequest request = RequestFor(kGpt);
  const absl::StatusOr<v1::MeasuredCosts> costs = Measure(request);
  ASSERT_TRUE(costs.ok()) << costs.status();
  const absl::StatusOr<ModelInfo> model = InferModel(request.spec().model());
  ASSERT_TRUE(model.ok()) << model.status();
  // The block: what the tape holds, and of that what the weight gradients wait for.
  const LayerCost& cost = model->layers[2].cost;
  const double kept = static_cast<double>(costs->layers(2).activation_bytes());
  EXPECT_NEAR(kept, 8.0 * static_cast<double>(cost.activation_bytes), 0.05 * kept);
  const double deferred = static_cast<double>(costs->layers(2).deferred_bytes());
  EXPECT_NEAR(deferred, 8.0 * static_cast<double>(cost.deferred_bytes), 0.05 * deferred);
  EXPECT_GT(costs->layers(2).working_bytes(), 0u);
}

TEST_F(MeasureTest, ADelayTakesWhatItSays) {
  const absl::StatusOr<v1::MeasuredCosts> costs = Measure(RequestFor(R"pb(
    input { dtype: DTYPE_FLOAT32 shape: 4 }
    loss: LOSS_CROSS_ENTROPY
    layers {
      name: "in"
      linear { out: 4 }
    }
    layers {
      name: "slow"
      delay { forward_us: 2000 input_grad_us: 3000 weight_grad_us: 4000 }
    }
    layers {
      name: "out"
      linear { out: 4 }
    }
  )pb"));
  ASSERT_TRUE(costs.ok()) << costs.status();
  const v1::MeasuredLayer& slow = costs->layers(1);
  // A busy host wakes a sleeper late, never early.
  EXPECT_GE(slow.forward_us(), 2000);
  EXPECT_GE(slow.input_gradient_us(), 3000);
  EXPECT_GE(slow.weight_gradient_us(), 4000);
}

TEST_F(MeasureTest, MeasuresOnlyWhatIsAskedForAndInThatOrder) {
  v1::MeasureRequest request = RequestFor(kGpt);
  request.clear_layers();
  request.add_layers(1);
  request.add_layers(4);
  const absl::StatusOr<v1::MeasuredCosts> costs = Measure(request);
  ASSERT_TRUE(costs.ok()) << costs.status();
  ASSERT_EQ(costs->layers_size(), 2);
  EXPECT_EQ(costs->layers(0).layer(), "wpe");
  EXPECT_EQ(costs->layers(1).layer(), "head");
  EXPECT_EQ(costs->update_bytes_per_us(), 0);
}

TEST_F(MeasureTest, LeavesNothingAllocated) {
  ASSERT_TRUE(Measure(RequestFor(kGpt)).ok());
  const absl::StatusOr<v1::MeasuredCosts> again = Measure(RequestFor(kGpt));
  ASSERT_TRUE(again.ok()) << again.status();
  const absl::StatusOr<v1::MeasuredCosts> third = Measure(RequestFor(kGpt));
  ASSERT_TRUE(third.ok()) << third.status();
  EXPECT_EQ(again->layers(2).activation_bytes(), third->layers(2).activation_bytes());
  EXPECT_EQ(again->layers(2).working_bytes(), third->layers(2).working_bytes());
}

TEST_F(MeasureTest, NamesTheLayerThatDoesNotFit) {
  absl::StatusOr<std::unique_ptr<Device>> small = OpenTorchDevice("cpu", 4 << 20);
  ASSERT_TRUE(small.ok()) << small.status();
  const absl::Status status = (*small)
                                  ->Measure(RequestFor(R"pb(
                                              input { dtype: DTYPE_FLOAT32 shape: 64 }
                                              loss: LOSS_CROSS_ENTROPY
                                              layers {
                                                name: "in"
                                                linear { out: 8 }
                                              }
                                              layers {
                                                name: "wide"
                                                linear { out: 1000000 }
                                              }
                                            )pb"),
                                            [] { return false; })
                                  .status();
  // The limit is the process's: give it back before anything can fail.
  ASSERT_TRUE(OpenTorchDevice("cpu", 0).ok());
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("layer wide"));
}

TEST_F(MeasureTest, RefusesLayersAndSamplesThatAreNotThere) {
  v1::MeasureRequest request = RequestFor(kGpt);
  request.add_layers(5);
  EXPECT_THAT(std::string(Measure(request).status().message()), HasSubstr("there is no layer 5"));
  EXPECT_EQ(Measure(RequestFor(kGpt, 17)).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Measure(RequestFor(kGpt, 0)).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(MeasureTest, EndsWhenItsCallerIsGone) {
  EXPECT_EQ(device_->Measure(RequestFor(kGpt), [] { return true; }).status().code(), absl::StatusCode::kCancelled);
}

}  // namespace
}  // namespace penstock

int main(int argc, char** argv) {
  penstock::PrepareTorch();
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
