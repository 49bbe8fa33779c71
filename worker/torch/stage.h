// One composite layer: runs its layers one by one over contiguous tensors, so that where the model is cut changes
// nothing. Thread-compatible. Source: docs/exactness.md, "Layer boundaries".
#ifndef PENSTOCK_WORKER_TORCH_STAGE_H_
#define PENSTOCK_WORKER_TORCH_STAGE_H_

#include <map>
#include <string>
#include <vector>

#include "worker/torch/gradient_order.h"
#include "worker/torch/layers/functions.h"

namespace penstock {

struct NamedLayer {
  std::string name;
  LayerFunctionPtr function;
};

class Stage {
 public:
  // Args: first: the stage holds the model's first layer, whose input needs no gradient.
  Stage(std::vector<NamedLayer> layers, bool first) : layers_(std::move(layers)), first_(first) {}

  // Forgets what earlier passes left.
  void BeginPass(int micro_batches);

  // Returns: the output, contiguous. Training: keeps what Backward needs.
  at::Tensor Forward(at::Tensor x, const LayerContext& context);

  // Args:    gradient: of the output; undefined where there is none.
  // Returns: the gradient of the input, contiguous; undefined where there is none.
  // REQUIRES: Forward ran on this micro-batch.
  at::Tensor Backward(at::Tensor gradient, LayerContext context);

  bool HasForward(int micro_batch) const { return tapes_.count(micro_batch) > 0; }
  // Whether the gradients of every micro-batch are summed.
  bool complete() const { return gradients_.complete(); }
  // The layer that runs, or ran last; for errors.
  const std::string& layer() const { return layers_[running_].name; }

 private:
  const std::vector<NamedLayer> layers_;
  const bool first_;
  size_t running_ = 0;
  std::map<int, std::vector<Tape>> tapes_;  // by micro-batch, then layer
  GradientOrder gradients_;
};

}  // namespace penstock

#endif  // PENSTOCK_WORKER_TORCH_STAGE_H_
