// One composite layer: runs its layers one by one over contiguous tensors, so that where the model is cut changes
// nothing. Thread-compatible. Source: docs/exactness.md, "Layer boundaries".
//
// What a micro-batch keeps here, from call to call:
//
//     Forward(kEverything) ──────────────────────► tapes ── InputGradient ──► factors ── WeightGradient ──► nothing
//     Forward(kInput) ──► its input ── Recompute ──► tapes
#ifndef PENSTOCK_WORKER_TORCH_STAGE_H_
#define PENSTOCK_WORKER_TORCH_STAGE_H_

#include <map>
#include <string>
#include <vector>

#include "model/boundary.h"
#include "worker/torch/gradient_order.h"
#include "worker/torch/layers/functions.h"

namespace penstock {

struct NamedLayer {
  std::string name;
  LayerFunctionPtr function;
  bool recompute = false;  // keeps only its input, and runs forward again inside its own backward pass
};

// What Forward leaves for later.
enum class Keep {
  kNothing,     // there will be no backward pass
  kInput,       // Recompute will run
  kEverything,  // InputGradient will run
};

class Stage {
 public:
  // Args: wiring: of `layers`.
  Stage(std::vector<NamedLayer> layers, Wiring wiring) : layers_(std::move(layers)), wiring_(std::move(wiring)) {}

  // Forgets what earlier passes left.
  void BeginPass(int micro_batches);

  // Args:    inputs: the wiring's.
  // Returns: the wiring's outputs, contiguous. One that is an input too only passes through.
  std::vector<at::Tensor> Forward(std::vector<at::Tensor> inputs, const LayerContext& context, Keep keep);

  // Forward once more, keeping everything now. REQUIRES: HasInput(context.micro_batch).
  // Returns: the outputs again, the same bits; one that only passes through is undefined.
  std::vector<at::Tensor> Recompute(LayerContext context);

  // Args:    gradients: of the outputs; undefined where there is none.
  // Returns: the gradients of the inputs, contiguous; undefined where there is none.
  // REQUIRES: HasTapes(context.micro_batch).
  std::vector<at::Tensor> InputGradient(std::vector<at::Tensor> gradients, LayerContext context);

  // REQUIRES: HasFactors(micro_batch).
  void WeightGradient(int micro_batch) { gradients_.WeightGradients(micro_batch); }

  bool HasInput(int micro_batch) const { return inputs_.count(micro_batch) > 0; }
  bool HasTapes(int micro_batch) const { return tapes_.count(micro_batch) > 0; }
  bool HasFactors(int micro_batch) const { return gradients_.waits(micro_batch); }
  // Whether the gradients of every micro-batch are summed.
  bool complete() const { return gradients_.complete(); }
  // The layer that runs, or ran last; for errors.
  const std::string& layer() const { return layers_[running_].name; }

 private:
  std::vector<at::Tensor> RunLayers(std::vector<at::Tensor> inputs, const LayerContext& context,
                                    std::vector<Tape>* tapes);
  // Those of the inputs that a layer here reads.
  std::vector<at::Tensor> ReadHere(const std::vector<at::Tensor>& inputs) const;

  const std::vector<NamedLayer> layers_;
  const Wiring wiring_;
  int running_ = 0;
  std::map<int, std::vector<at::Tensor>> inputs_;  // by micro-batch: Recompute's
  std::map<int, std::vector<Tape>> tapes_;         // by micro-batch, then layer
  GradientOrder gradients_;
};

}  // namespace penstock

#endif  // PENSTOCK_WORKER_TORCH_STAGE_H_
