// The tensors of one walk over layers that read each other (model/boundary.h, Wiring): each layer gets what it reads,
// the last reader the walk's own reference, so that a tensor lives no longer than it is needed. Going backward, the
// gradients of a tensor that several layers read are added in the reverse order of its readers, wherever the layers are
// cut into stages: what comes from later stages is the sum so far. Thread-compatible.
// Source: docs/exactness.md, "Layer boundaries".
#ifndef PENSTOCK_WORKER_TORCH_LAYERS_SLOTS_H_
#define PENSTOCK_WORKER_TORCH_LAYERS_SLOTS_H_

#include <utility>
#include <vector>

#include "model/boundary.h"
#include "worker/torch/layers/layer_function.h"

namespace penstock {

class ForwardSlots {
 public:
  // Args: wiring: outlives this. inputs: of the wiring; those that nobody reads may be undefined.
  ForwardSlots(const Wiring& wiring, std::vector<at::Tensor> inputs);

  // What the layer reads. Layers read in their order, each once.
  std::vector<at::Tensor> Read(int layer);
  void Write(int layer, at::Tensor output);
  // The wiring's outputs, after the last layer.
  std::vector<at::Tensor> TakeOutputs();

 private:
  at::Tensor Get(int slot);

  const Wiring& wiring_;
  std::vector<at::Tensor> slots_;
  std::vector<int> left_;  // by slot: how often it will be asked for
};

class BackwardSlots {
 public:
  // Args: wiring: outlives this. gradients: of the wiring's outputs; undefined where there is none.
  BackwardSlots(const Wiring& wiring, std::vector<at::Tensor> gradients);

  // The gradient of the layer's output, whole when all its readers have added theirs.
  at::Tensor Take(int layer) { return std::move(slots_[wiring_.SlotOf(layer)]); }
  // Adds the gradients of what the layer reads; undefined ones are nothing.
  void Add(int layer, std::vector<at::Tensor> gradients);
  // The gradients of the wiring's inputs; undefined where none is needed or known.
  std::vector<at::Tensor> TakeInputs();

  // Whether anybody needs the gradient of something that the layer reads.
  bool NeedsInputGradient(int layer) const;

 private:
  const Wiring& wiring_;
  std::vector<at::Tensor> slots_;
};

}  // namespace penstock

#endif  // PENSTOCK_WORKER_TORCH_LAYERS_SLOTS_H_
