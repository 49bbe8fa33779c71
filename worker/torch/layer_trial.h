// One layer on its own, with random inputs, targets and gradients: runs it forward and backward and reads the clock and
// the allocator around each part. Thread-compatible.
#ifndef PENSTOCK_WORKER_TORCH_LAYER_TRIAL_H_
#define PENSTOCK_WORKER_TORCH_LAYER_TRIAL_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "common/clock.h"
#include "model/model_info.h"
#include "proto/job.pb.h"
#include "proto/plan.pb.h"
#include "worker/device/device_memory.h"
#include "worker/torch/layers/build.h"
#include "worker/torch/parameters.h"
#include "worker/torch/stage.h"

namespace penstock {

class LayerTrial {
 public:
  // Args: model: of `spec`. samples: of the micro-batch. rounds: at most so many calls of Run follow.
  //       memory, clock: outlive the trial.
  LayerTrial(const v1::JobSpec& spec, const ModelInfo& model, int layer, int64_t samples, int rounds, at::Device device,
             DeviceMemory* memory, Clock* clock);

  // One micro-batch, forward and backward. The first `kWarmUp` calls count for nothing.
  void Run();

  static constexpr int kWarmUp = 2;

  const std::string& name() const { return info_.name; }
  int counted() const { return static_cast<int>(forward_.size()); }
  // In the calls that count.
  absl::Duration spent() const { return spent_; }

  // Medians, and the bytes of the last call. REQUIRES: counted() > 0.
  v1::MeasuredLayer Result() const;

 private:
  // The clock, once the device has done all that `tensor` depends on.
  absl::Duration After(const at::Tensor& tensor) const;
  at::Tensor MakeInput(const TensorType& type) const;
  at::Tensor MakeTarget(const at::Tensor& output) const;
  // The highest mark since the last call of it.
  uint64_t TakePeak();

  const LayerInfo info_;
  const at::ScalarType compute_;
  const v1::LossKind loss_;  // of the last layer; else unspecified
  const int64_t vocab_;      // tokens lie below it
  const int64_t samples_;
  const at::Device device_;
  DeviceMemory* const memory_;
  Clock* const clock_;
  ParameterStore store_;
  LayerParts parts_;
  std::unique_ptr<Stage> stage_;
  std::vector<at::Tensor> inputs_;  // what it reads

  int round_ = 0;
  absl::Duration spent_;
  std::vector<absl::Duration> forward_, input_gradient_, weight_gradient_;
  uint64_t activation_bytes_ = 0, deferred_bytes_ = 0, working_bytes_ = 0;
};

}  // namespace penstock

#endif  // PENSTOCK_WORKER_TORCH_LAYER_TRIAL_H_
