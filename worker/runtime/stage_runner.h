// The computing half of a rank, as the executor sees it. worker/torch implements it; tests use a fake.
#ifndef PENSTOCK_WORKER_RUNTIME_STAGE_RUNNER_H_
#define PENSTOCK_WORKER_RUNTIME_STAGE_RUNNER_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto/coordinator.pb.h"
#include "proto/worker.pb.h"
#include "worker/runtime/tensor.h"

namespace penstock {

// One walk over an action list.
struct Pass {
  v1::PassMode mode = v1::PASS_TRAIN;
  uint64_t number = 0;    // over the life of a plan epoch; keys frames
  uint64_t step = 0;      // train: the step, from 1; eval: the batch, from 0
  double loss_scale = 1;  // train: what gradients are multiplied by
  // Generation only:
  std::vector<int64_t> tokens;
  double temperature = 0;
  uint32_t top_k = 0;
  uint64_t seed = 0;
};

// What a training pass leaves for the vote. Parameters in model order.
struct PassResult {
  bool finite = true;
  std::vector<v1::ParameterNorm> norms;
  std::vector<double> losses;         // last stage only: weighted loss of each micro-batch, by index
  std::optional<v1::EvalSums> eval;   // last stage only
  std::optional<int64_t> next_token;  // last stage only
};

// All calls come from the executor's thread, in the order of the action list. An error ends the run; its message
// names stage and micro-batch.
class StageRunner {
 public:
  virtual ~StageRunner() = default;

  virtual absl::Status BeginPass(const Pass& pass) = 0;

  // Runs one stage on one micro-batch. The first stage reads its inputs, the last its targets, from the data set.
  virtual absl::Status Forward(int stage, int micro_batch) = 0;
  // The backward pass in two parts; a whole one is the two, one after the other: one code path, one set of bits.
  // Computes the gradient of the stage's input, and those of parameters that cost little. Frees what the forward pass
  // kept, but for the factors of the weight gradients that wait.
  virtual absl::Status InputGradient(int stage, int micro_batch) = 0;
  // Computes the weight gradients that waited, and frees their factors. They are added in the order of micro-batches,
  // whatever order they are computed in.
  virtual absl::Status WeightGradient(int stage, int micro_batch) = 0;
  // Runs Forward once more on what it kept of the stage's input, with the same random numbers, and keeps what the
  // backward pass needs. Statistics are not touched twice. A Forward whose micro-batch the plan recomputes keeps
  // nothing but that input.
  virtual absl::Status Recompute(int stage, int micro_batch) = 0;

  // Hands out a tensor that Forward (direction forward, for stage + 1) or InputGradient (direction backward, for
  // stage - 1) of `stage` left, and forgets it. The view points at the tensor's own memory. A stage on this rank takes
  // what its neighbour left by itself: for that there is neither TakeOutput nor GiveInput.
  // Args: tensor: its name at that boundary.
  virtual absl::StatusOr<TensorView> TakeOutput(int stage, v1::Direction direction, int micro_batch,
                                                const std::string& tensor) = 0;

  // Gives `stage` an activation (forward) or a gradient (backward) that it waits for.
  // Args: tensor: its name at that boundary.
  virtual absl::Status GiveInput(int stage, v1::Direction direction, int micro_batch, const std::string& tensor,
                                 ReceivedTensor received) = 0;

  // After the last action of a pass. Training: gradients are summed and stay until Update or Discard.
  virtual absl::StatusOr<PassResult> EndPass() = 0;

  // Training: applies the optimizer to the gradients times decision.clip_scale; or, where decision.skip says so, drops
  // them and counts the step as done.
  virtual absl::Status Update(const v1::StepDecision& decision) = 0;
  // Training: drops the gradients.
  virtual void Discard() = 0;
};

// What tensors hold, in bytes that the device's allocator counted; received ones are counted from GiveInput on.
struct MemoryUse {
  uint64_t state_bytes = 0;  // when the latest training pass began: parameters, gradients, optimizer state, buffers
  uint64_t peak_bytes = 0;   // the most in training passes and updates so far; loading, evaluation and saving aside
};

// A rank as the worker's service sees it: what Load builds. Save and Hashes come between runs, from any one thread.
class LoadedRank : public StageRunner {
 public:
  // Parameters per stage, the step that was loaded, allocated bytes.
  virtual v1::LoadReply Describe() const = 0;
  // Writes parameters, buffers and optimizer state into `directory`. Errors as rpc Save.
  virtual absl::StatusOr<v1::SaveReply> Save(uint64_t step, const std::string& directory) = 0;
  // The hash of every tensor that Save would write.
  virtual absl::StatusOr<std::vector<v1::TensorHash>> Hashes() = 0;
  // After EndPass of a training pass, or after Update.
  virtual MemoryUse TrainingMemory() const = 0;
};

// The device as the worker's service sees it. worker/torch implements it; tests use a fake.
class Device {
 public:
  virtual ~Device() = default;
  // "cpu", "cuda:0".
  virtual std::string Name() const = 0;
  virtual uint64_t MemoryLimitBytes() const = 0;
  // Hash of a fixed computation (GEMM, convolution, softmax, attention): equal hashes, equal bits.
  virtual std::string SelfTestHash() const = 0;
  // libtorch, MKL and oneDNN versions, ISA, threads, deterministic flags, as one readable line.
  virtual std::string NumericFingerprint() const = 0;
  // Builds a rank's stages; called on the thread that will run them. Errors as rpc Load.
  virtual absl::StatusOr<std::unique_ptr<LoadedRank>> Load(const v1::LoadRequest& request) = 0;
  // Times layers on their own; called on a thread of its own, while nothing is loaded. `cancelled` is asked between
  // layers. Errors as rpc Measure; Cancelled.
  virtual absl::StatusOr<v1::MeasuredCosts> Measure(const v1::MeasureRequest& request,
                                                    const std::function<bool()>& cancelled) = 0;
};

}  // namespace penstock

#endif  // PENSTOCK_WORKER_RUNTIME_STAGE_RUNNER_H_
