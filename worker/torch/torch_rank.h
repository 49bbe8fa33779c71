// A rank's stages on a device: what the executor drives. Thread-compatible, as worker/runtime/stage_runner.h says.
#ifndef PENSTOCK_WORKER_TORCH_TORCH_RANK_H_
#define PENSTOCK_WORKER_TORCH_TORCH_RANK_H_

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/clock.h"
#include "model/boundary.h"
#include "proto/worker.pb.h"
#include "worker/device/device_memory.h"
#include "worker/runtime/stage_runner.h"
#include "worker/torch/batch_reader.h"
#include "worker/torch/layers/build.h"
#include "worker/torch/rank_state.h"
#include "worker/torch/stage.h"

namespace penstock {

class TorchRank final : public LoadedRank {
 public:
  // Builds the rank's stages and loads or initialises their state.
  // Args:    memory, clock: outlive the rank.
  // Errors:  as rpc Load.
  static absl::StatusOr<std::unique_ptr<TorchRank>> Load(const v1::LoadRequest& request, at::Device device,
                                                         DeviceMemory* memory, Clock* clock);

  absl::Status BeginPass(const Pass& pass) override;
  absl::Status Forward(int stage, int micro_batch) override;
  absl::Status InputGradient(int stage, int micro_batch) override;
  absl::Status WeightGradient(int stage, int micro_batch) override;
  absl::Status Recompute(int stage, int micro_batch) override;
  absl::StatusOr<TensorView> TakeOutput(int stage, v1::Direction direction, int micro_batch,
                                        const std::string& tensor) override;
  absl::Status GiveInput(int stage, v1::Direction direction, int micro_batch, const std::string& tensor,
                         ReceivedTensor received) override;
  absl::StatusOr<PassResult> EndPass() override;
  absl::Status Update(const v1::StepDecision& decision) override;
  void Discard() override;
  v1::LoadReply Describe() const override;
  absl::StatusOr<v1::SaveReply> Save(uint64_t step, const std::string& directory) override;
  absl::StatusOr<std::vector<v1::TensorHash>> Hashes() override;
  MemoryUse TrainingMemory() const override { return memory_use_; }

 private:
  // A tensor at the edge of a stage: one of its inputs, or the gradient of one of its outputs.
  struct Edge {
    int stage;
    v1::Direction direction;
    int micro_batch;
    int source;  // BoundaryTensor's
    friend auto operator<=>(const Edge&, const Edge&) = default;
  };

  TorchRank(const v1::LoadRequest& request, at::Device device, DeviceMemory* memory);

  absl::Status Build(const v1::LoadRequest& request, Clock* clock);
  absl::Status BuildStages(const v1::LoadRequest& request, const ModelInfo& model, Clock* clock);
  // Whether the job marks the layer to run forward again inside its own backward pass.
  bool RecomputesLayer(uint32_t layer) const;

  LayerContext Context(int micro_batch) const;
  int stage_count() const { return plan_.stages_size(); }
  bool IsFirst(int stage) const { return stage == 0; }
  bool IsLast(int stage) const { return stage == stage_count() - 1; }
  double Share(int micro_batch) const;
  std::string Where(int stage, absl::string_view doing, int micro_batch) const;

  absl::StatusOr<Stage*> OwnStage(int stage) const;
  absl::Status RunForward(int stage, int micro_batch);
  absl::Status RunInputGradient(int stage, int micro_batch);
  absl::Status RunWeightGradient(int stage, int micro_batch);
  absl::Status RunRecompute(int stage, int micro_batch);
  // Errors: ResourceExhausted: tensors hold more than the limit.
  absl::Status CheckMemoryLimit() const;
  void NotePeak() { memory_use_.peak_bytes = std::max(memory_use_.peak_bytes, memory_->PeakBytes()); }
  // Args: keep: what the loss leaves on its tape for the backward pass.
  absl::Status FinishLastStage(int micro_batch, const at::Tensor& output, Keep keep);
  absl::StatusOr<double> Loss(int micro_batch, const at::Tensor& output, Tape* tape);
  absl::Status SampleNextToken(const at::Tensor& output);
  absl::StatusOr<at::Tensor> TakeEdge(const Edge& edge);
  // The edge of a boundary's tensor. Errors: InvalidArgument: the boundary has none of this name.
  absl::StatusOr<Edge> FindEdge(int stage, v1::Direction direction, int micro_batch, const std::string& tensor) const;
  std::string Describe(const Edge& edge) const;
  // What the stage reads: of the data set, or what came.
  absl::StatusOr<std::vector<at::Tensor>> TakeInputs(int stage, int micro_batch);
  // The gradients of what the stage left for the next one; undefined ones for what has none.
  absl::StatusOr<std::vector<at::Tensor>> TakeGradients(int stage, int micro_batch);
  // Leaves what a stage made for its neighbour, `to`.
  void Leave(const Edge& to, at::Tensor tensor) { edges_[to] = std::move(tensor); }
  absl::StatusOr<PassResult> RunEndPass();

  const v1::JobSpec spec_;
  const v1::Plan plan_;
  const uint32_t rank_;
  const at::Device device_;
  DeviceMemory* const memory_;
  const at::ScalarType compute_;
  uint64_t step_ = 0;              // steps that are done
  v1::LossScaleState loss_scale_;  // precision fp16: of the checkpoint, or the first; the coordinator goes on from it
  std::unique_ptr<RankState> state_;
  LayerParts parts_;
  std::map<int, std::unique_ptr<Stage>> stages_;  // this rank's, by number
  // By stage what crosses the cut before it; and the last layer's output, behind the last one.
  std::vector<std::vector<BoundaryTensor>> boundaries_;
  std::set<std::pair<int, int>> recomputed_;  // stages and micro-batches that the training list runs R for
  std::optional<BatchReader> reader_;         // where the first or last stage is here
  v1::LoadReply description_;

  // The pass under way.
  Pass pass_;
  std::map<Edge, at::Tensor> edges_;  // given or made, not taken yet; keyed by the stage that takes them
  std::map<int, Tape> loss_tapes_;    // by micro-batch
  std::vector<double> losses_;
  v1::EvalSums eval_;
  std::optional<int64_t> next_token_;
  MemoryUse memory_use_;
};

}  // namespace penstock

#endif  // PENSTOCK_WORKER_TORCH_TORCH_RANK_H_
