// What the layers of a job take and hold, measured or estimated, and what follows for the stages of a partition. Pure.
// Source: docs/schedules.md, "Costs" and "Memory".
#ifndef PENSTOCK_COORDINATOR_PLAN_MODEL_COSTS_H_
#define PENSTOCK_COORDINATOR_PLAN_MODEL_COSTS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "coordinator/plan/costs.h"
#include "coordinator/plan/memory.h"
#include "coordinator/plan/partition.h"
#include "model/model_info.h"
#include "proto/job.pb.h"
#include "proto/plan.pb.h"

namespace penstock {

// What a device does in a microsecond. The estimates only have to be right in proportion, to balance stages.
struct Machine {
  double flops_per_us;         // matrix products of the sizes that layers have
  double bytes_per_us;         // element by element work: bound by memory
  double layer_us;             // calling a layer's operations at all
  double update_bytes_per_us;  // optimizer: over parameters, gradients and its own state
};

// A CPU with this many threads a worker. REQUIRES: threads >= 1.
Machine CpuMachine(int threads);

// One layer for one micro-batch.
struct LayerTimes {
  double forward_us = 0;
  double input_gradient_us = 0;
  double weight_gradient_us = 0;

  double Backward() const { return input_gradient_us + weight_gradient_us; }
  double Sum() const { return forward_us + Backward(); }
};

// The times of a micro-batch of `samples`. A layer with fixed times (delay) takes exactly those.
// Args: first: a layer that reads the model's input, whose gradient nobody needs.
LayerTimes EstimateTimes(const LayerCost& cost, int64_t samples, const Machine& machine, bool first = false);

// A job's layers, cut into this many micro-batches.
class ModelCosts {
 public:
  // Args:   measured: what workers found, or null; then times and rates are estimated from FLOPs and bytes. A time of
  //         another number of samples than the micro-batch has is scaled as the estimates are.
  // Errors: InvalidArgument: measured costs of other layers than the model's, or a time that is negative or not a
  //         number; an estimate that is no number; recompute flags for another number of layers.
  // REQUIRES: 1 <= micro_batches <= batch_size.
  static absl::StatusOr<ModelCosts> Make(const v1::JobSpec& spec, const ModelInfo& model, int micro_batches,
                                         const v1::MeasuredCosts* measured);

  int num_layers() const { return static_cast<int>(larger_.size()); }
  int micro_batches() const { return micro_batches_; }
  // Of a larger micro-batch.
  int64_t samples() const { return samples_; }
  // Of the larger micro-batches.
  const std::vector<LayerTimes>& layers() const { return larger_; }
  // "estimated from FLOPs and bytes", or "measured on DEVICE".
  const std::string& source() const { return source_; }

  // Adds up the layers of each stage; every boundary is the same link.
  PipelineCosts Pipeline(const Partition& stages) const;

  // What stays for the whole run.
  StageMemory Memory(const LayerRange& range) const;
  // By first layer: the end of the longest stage that needs at most so many bytes, its first layer if none does. It
  // keeps the activations of `whole` samples and the inputs of `boundary` more. 0: any stage does.
  std::vector<int> LongestWithin(uint64_t memory_bytes, int64_t whole, int64_t boundary) const;
  // What follows a step's last action on a rank that holds so much state: its vote to the coordinator, the decision,
  // the optimizer's update.
  double UpdateUs(int64_t state_bytes) const {
    return 2 * link_.latency_us + static_cast<double>(state_bytes) / update_bytes_per_us_;
  }

  // How many of the first layers belong together, since the stage that turns tokens into numbers must have them all:
  // tokens have no gradient to send back. At least 1.
  int first_cut() const { return first_cut_; }

 private:
  struct LayerBytes {
    StageMemory memory;
    // A sample's:
    int64_t activation = 0, deferred = 0, input = 0;
    int64_t working = 0;  // the most that one action holds beyond what it keeps
    int64_t shared = 0;   // the part of `activation` that layer `shared_from` keeps too
    int shared_from = 0;

    // What it keeps beside the earlier layers of a stage that begins with layer `begin`.
    int64_t Activation(int begin) const { return activation - (shared_from >= begin ? shared : 0); }
  };

  // A tensor that crosses a cut: the first layer behind it that reads it, its bytes a sample.
  struct Crossing {
    int reader = 0;
    int64_t bytes = 0;
  };

  ModelCosts() = default;
  void AddCrossings(const ModelInfo& model);
  // Bytes of a sample's tensors that come to the stage and are read in it: what it keeps to run forward once more.
  int64_t InputBytes(const LayerRange& range) const;
  void AddBytes(const v1::JobSpec& spec, const ModelInfo& model);
  std::vector<StageCost> Stages(const Partition& stages, const std::vector<LayerTimes>& times, int64_t samples) const;

  int micro_batches_ = 0;
  int64_t samples_ = 0, tail_samples_ = 0;  // of the larger and the smaller micro-batches
  int num_larger_ = 0;
  std::vector<LayerTimes> larger_, smaller_;
  std::vector<LayerBytes> bytes_;
  std::vector<std::vector<Crossing>> crossings_;  // by cut: before layer 0, 1, ...
  double update_bytes_per_us_ = 0;
  Link link_;
  std::string source_;
  int first_cut_ = 1;
};

}  // namespace penstock

#endif  // PENSTOCK_COORDINATOR_PLAN_MODEL_COSTS_H_
