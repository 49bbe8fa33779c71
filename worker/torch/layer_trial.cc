#include "worker/torch/layer_trial.h"

#include <algorithm>
#include <utility>

#include "common/philox.h"
#include "model/boundary.h"
#include "worker/torch/compute_type.h"
#include "worker/torch/loss.h"

namespace penstock {
namespace {

// Numbers that touch all of [0, bound) in no order that a cache likes. A prime beyond any vocabulary's factors.
constexpr int64_t kStride = 1'000'003;

at::Tensor Integers(std::vector<int64_t> shape, int64_t bound) {
  at::Tensor host = at::empty(shape, at::kLong);
  int64_t* const values = host.mutable_data_ptr<int64_t>();
  for (int64_t i = 0; i < host.numel(); ++i) values[i] = i * kStride % std::max<int64_t>(bound, 1);
  return host;
}

at::Tensor Normals(std::vector<int64_t> shape, absl::string_view stream) {
  at::Tensor host = at::empty(shape, at::kFloat);
  Philox(/*seed=*/1, stream).Normal(host.mutable_data_ptr<float>(), host.numel());
  return host;
}

double MedianUs(std::vector<absl::Duration> durations) {
  const auto middle = durations.begin() + static_cast<std::ptrdiff_t>(durations.size() / 2);
  std::nth_element(durations.begin(), middle, durations.end());
  return absl::ToDoubleMicroseconds(*middle);
}

}  // namespace

LayerTrial::LayerTrial(const v1::JobSpec& spec, const ModelInfo& model, int layer, int64_t samples, int rounds,
                       at::Device device, DeviceMemory* memory, Clock* clock)
    : info_(model.layers[layer]),
      compute_(ComputeType(spec.model())),
      loss_(layer + 1 == static_cast<int>(model.layers.size()) ? spec.model().loss() : v1::LOSS_UNSPECIFIED),
      vocab_(spec.model().layers(layer).embedding().vocab()),
      samples_(samples),
      device_(device),
      memory_(memory),
      clock_(clock),
      store_({info_}, spec.train().optimizer(), device, compute_) {
  store_.Initialise(spec.train().seed());
  parts_.clock = clock;
  for (const auto& parameter : store_.parameters()) parts_.parameters[parameter->name] = parameter.get();
  for (const auto& [name, buffer] : store_.buffers()) parts_.buffers[name] = buffer;
  std::vector<NamedLayer> functions;
  functions.push_back({info_.name, BuildLayer(spec.model().layers(layer), &parts_)});
  stage_ = std::make_unique<Stage>(std::move(functions), WiringOfOne(info_));
  stage_->BeginPass(rounds);
  for (const auto& statistics : parts_.statistics) statistics->Begin(rounds);
  inputs_.push_back(MakeInput(info_.input));
  for (const TensorType& type : info_.more_inputs) inputs_.push_back(MakeInput(type));
}

at::Tensor LayerTrial::MakeInput(const TensorType& type) const {
  std::vector<int64_t> shape = type.shape;
  shape.insert(shape.begin(), samples_);
  if (type.dtype == v1::DTYPE_INT64) return Integers(std::move(shape), vocab_).to(device_);
  return Normals(std::move(shape), "input").to(device_).to(compute_);
}

at::Tensor LayerTrial::MakeTarget(const at::Tensor& output) const {
  std::vector<int64_t> shape = output.sizes().vec();
  if (loss_ == v1::LOSS_MSE) return Normals(std::move(shape), "target").to(device_);
  const int64_t classes = shape.back();
  shape.pop_back();
  return Integers(std::move(shape), classes).to(device_);
}

absl::Duration LayerTrial::After(const at::Tensor& tensor) const {
  // A device's queue is in order: a value that has arrived here was computed after all before it.
  if (!device_.is_cpu() && tensor.defined() && tensor.numel() > 0) tensor.view({-1}).select(0, 0).cpu();
  return clock_->Monotonic();
}

uint64_t LayerTrial::TakePeak() {
  const uint64_t peak = memory_->PeakBytes();
  memory_->ResetPeak();
  return peak;
}

// 1. the input, made before anything is timed: the stage takes the only reference, as it does of what is received
// 2. forward, with the loss where there is one; what is kept is what stays when the output is gone
// 3. input gradient; what stays is what the weight gradients wait for
// 4. weight gradients
void LayerTrial::Run() {
  LayerContext context;
  context.seed = 1;
  context.micro_batch = round_;
  context.training = true;
  const uint64_t before = memory_->AllocatedBytes();
  std::vector<at::Tensor> inputs;
  for (const at::Tensor& input : inputs_) inputs.push_back(input.clone());
  at::Tensor target, gradient;
  Tape loss_tape;

  memory_->ResetPeak();
  const absl::Duration start = After(inputs.back());
  at::Tensor output = std::move(stage_->Forward(std::move(inputs), context, Keep::kEverything).front());
  absl::Duration forward_end = After(output);
  absl::Duration forward = forward_end - start;
  if (loss_ != v1::LOSS_UNSPECIFIED) {
    target = MakeTarget(output);
    forward_end = After(target);
    LossForward(loss_, output, target, /*share=*/1, &loss_tape);
    forward += clock_->Monotonic() - forward_end;
  }
  uint64_t peak = TakePeak();
  if (loss_ == v1::LOSS_UNSPECIFIED) gradient = at::mul(output, 0.5).contiguous();
  const uint64_t extra = (target.defined() ? target.nbytes() : 0) + (gradient.defined() ? gradient.nbytes() : 0);
  output.reset();
  const uint64_t kept = memory_->AllocatedBytes() - before - extra;

  const absl::Duration backward_start = After(gradient);
  if (loss_ != v1::LOSS_UNSPECIFIED) gradient = LossGradient(loss_, compute_, /*share=*/1, &loss_tape);
  std::vector<at::Tensor> gradients;
  gradients.push_back(std::move(gradient));
  gradients = stage_->InputGradient(std::move(gradients), context);
  const absl::Duration backward_middle = After(gradients.back());
  gradients.clear();
  const uint64_t deferred = memory_->AllocatedBytes() - before - (target.defined() ? target.nbytes() : 0);
  const absl::Duration weight_start = clock_->Monotonic();
  stage_->WeightGradient(context.micro_batch);
  const auto& parameters = store_.parameters();
  const absl::Duration end = After(parameters.empty() ? at::Tensor() : parameters.back()->gradient);
  peak = std::max(peak, TakePeak());

  if (round_++ < kWarmUp) return;
  forward_.push_back(forward);
  input_gradient_.push_back(backward_middle - backward_start);
  weight_gradient_.push_back(end - weight_start);
  spent_ += end - start;
  activation_bytes_ = kept;
  deferred_bytes_ = deferred;
  working_bytes_ = peak - before - std::min(peak - before, kept);
}

v1::MeasuredLayer LayerTrial::Result() const {
  v1::MeasuredLayer result;
  result.set_layer(info_.name);
  result.set_samples(static_cast<uint32_t>(samples_));
  result.set_forward_us(MedianUs(forward_));
  result.set_input_gradient_us(MedianUs(input_gradient_));
  result.set_weight_gradient_us(MedianUs(weight_gradient_));
  result.set_activation_bytes(activation_bytes_);
  result.set_deferred_bytes(deferred_bytes_);
  result.set_working_bytes(working_bytes_);
  return result;
}

}  // namespace penstock
