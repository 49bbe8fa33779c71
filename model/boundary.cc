#include "model/boundary.h"

#include <algorithm>
#include <map>

#include "model/layer_reads.h"

namespace penstock {
namespace {

// The name of a tensor that crosses alone.
constexpr char kAlone[] = "x";

BoundaryTensor TensorOf(const ModelInfo& model, int source) {
  if (source == kModelInput) return {source, "input", model.layers[0].input, false};
  const LayerInfo& layer = model.layers[source];
  return {source, layer.name, layer.output, layer.needs_gradient};
}

}  // namespace

std::vector<int> LastReaders(const ModelInfo& model) {
  std::vector<int> last(model.layers.size() + 1, kModelInput);
  for (size_t i = 0; i < model.layers.size(); ++i) {
    for (const int source : model.layers[i].reads) last[source + 1] = static_cast<int>(i);
  }
  last.back() = static_cast<int>(model.layers.size());
  return last;
}

std::vector<BoundaryTensor> TensorsAcross(const ModelInfo& model, int cut) {
  const std::vector<int> last = LastReaders(model);
  std::vector<BoundaryTensor> across;
  for (int source = kModelInput; source < cut; ++source) {
    if (last[source + 1] >= cut) across.push_back(TensorOf(model, source));
  }
  if (across.size() == 1) across[0].name = std::string(kAlone);
  return across;
}

Wiring WiringOf(const ModelInfo& model, int begin, int end) {
  const std::vector<BoundaryTensor> in = TensorsAcross(model, begin), out = TensorsAcross(model, end);
  Wiring wiring;
  wiring.inputs = static_cast<int>(in.size());
  wiring.needs_gradient.clear();
  std::map<int, int> slot;  // by source
  for (const BoundaryTensor& tensor : in) {
    slot.emplace(tensor.source, static_cast<int>(slot.size()));
    wiring.needs_gradient.push_back(tensor.has_gradient);
  }
  for (int i = begin; i < end; ++i) {
    std::vector<int>& reads = wiring.reads.emplace_back();
    for (const int source : model.layers[i].reads) reads.push_back(slot.at(source));
    slot[i] = wiring.SlotOf(i - begin);
    wiring.idle.push_back(!model.layers[i].needs_gradient);
  }
  for (const BoundaryTensor& tensor : out) wiring.outputs.push_back(slot.at(tensor.source));
  return wiring;
}

Wiring WiringOfGraph(const v1::Layer& graph) {
  Wiring wiring;
  wiring.inputs = NumReads(graph);
  wiring.needs_gradient.assign(wiring.inputs, true);
  for (const Reads& reads : ResolveReads(graph.graph().block(), wiring.inputs)) {
    std::vector<int>& slots = wiring.reads.emplace_back();
    for (const int r : reads) slots.push_back(r < 0 ? -1 - r : wiring.SlotOf(r));
  }
  wiring.outputs = {wiring.SlotOf(wiring.layers() - 1)};
  return wiring;
}

Wiring WiringOfOne(const LayerInfo& layer) {
  Wiring wiring;
  wiring.inputs = static_cast<int>(layer.reads.size());
  wiring.needs_gradient.clear();
  std::vector<int>& slots = wiring.reads.emplace_back();
  for (int i = 0; i < wiring.inputs; ++i) {
    const TensorType& type = i == 0 ? layer.input : layer.more_inputs[i - 1];
    wiring.needs_gradient.push_back(layer.reads[i] != kModelInput && layer.needs_input_gradient &&
                                    type.dtype != v1::DTYPE_INT64);
    slots.push_back(i);
  }
  wiring.outputs = {wiring.SlotOf(0)};
  wiring.idle = {!layer.needs_gradient};
  return wiring;
}

Wiring ChainWiring(int layers, bool needs_gradient) {
  Wiring wiring;
  wiring.needs_gradient = {needs_gradient};
  for (int i = 0; i < layers; ++i) wiring.reads.push_back({i});
  wiring.outputs = {wiring.SlotOf(layers - 1)};
  return wiring;
}

}  // namespace penstock
