// What crosses a cut between two layers, and how the layers of a stage read each other. Pure.
// Source: docs/models.md, "Several tensors"; docs/exactness.md, "Layer boundaries".
#ifndef PENSTOCK_MODEL_BOUNDARY_H_
#define PENSTOCK_MODEL_BOUNDARY_H_

#include <string>
#include <vector>

#include "model/model_info.h"
#include "proto/model.pb.h"

namespace penstock {

// A tensor that was made before a cut and is read after it.
struct BoundaryTensor {
  int source = kModelInput;   // the layer that makes it, or kModelInput
  std::string name;           // on the wire: the layer's, or "input"; "x" where it crosses alone
  TensorType type;            // of one sample
  bool has_gradient = false;  // numbers that a layer has made, and trained ones with them: their gradient comes back
};

// The tensors that cross the cut before layer `cut`, in the order in which they are made. The cut before the first
// layer is crossed by the model's input, the one behind the last layer by that layer's output. REQUIRES: 0 <= cut <=
// number of layers. O(L) time.
std::vector<BoundaryTensor> TensorsAcross(const ModelInfo& model, int cut);

// By tensor, the model's input first, then each layer's output: the last layer that reads it. The last layer's output
// is read by the loss: its number is that of a layer behind it.
std::vector<int> LastReaders(const ModelInfo& model);

// How layers that run one after the other read each other. Tensors have slots: first the inputs, then each layer's
// output.
struct Wiring {
  int inputs = 1;
  std::vector<bool> needs_gradient = {true};  // by input
  std::vector<bool> idle;                     // by layer: nobody needs its output's gradient; empty: none is
  std::vector<std::vector<int>> reads;        // by layer: slots
  std::vector<int> outputs;                   // slots that leave

  int layers() const { return static_cast<int>(reads.size()); }
  int SlotOf(int layer) const { return inputs + layer; }
  bool IsIdle(int layer) const { return !idle.empty() && idle[layer]; }
  // Whether anybody needs the gradient of the slot's tensor.
  bool NeedsGradient(int slot) const { return slot < inputs ? needs_gradient[slot] : !IsIdle(slot - inputs); }
};

// Of the layers [begin, end): its inputs are TensorsAcross(begin), its outputs TensorsAcross(end), in their order.
Wiring WiringOf(const ModelInfo& model, int begin, int end);

// Of the block of a graph that is sound. Every input takes a gradient.
Wiring WiringOfGraph(const v1::Layer& graph);

// Of one layer on its own: an input for each tensor that it reads.
Wiring WiringOfOne(const LayerInfo& layer);

// Of layers each of which reads the one before it.
Wiring ChainWiring(int layers, bool needs_gradient);

}  // namespace penstock

#endif  // PENSTOCK_MODEL_BOUNDARY_H_
