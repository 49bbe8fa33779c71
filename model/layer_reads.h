// Who reads what in a list of layers: from the names in `from` to numbers. Pure. Source: docs/models.md, "The list".
#ifndef PENSTOCK_MODEL_LAYER_READS_H_
#define PENSTOCK_MODEL_LAYER_READS_H_

#include <set>
#include <string>
#include <vector>

#include "common/diagnostic.h"
#include "proto/model.pb.h"

namespace penstock {

using LayerList = google::protobuf::RepeatedPtrField<v1::Layer>;

// What a layer reads: the number of an earlier layer of its list, or -1 - k: the list's own k-th input.
using Reads = std::vector<int>;
inline constexpr int ListInput(int k) { return -1 - k; }

// Whether layers of this kind read several tensors: add, concat, graph.
bool ReadsSeveral(const v1::Layer& layer);

// How many tensors the layer reads.
int NumReads(const v1::Layer& layer);

// The layers nested in this one, in their order; none for most kinds.
const LayerList& InnerLayers(const v1::Layer& layer);

// Resolves the names of a list whose names are checked already. A layer with a fault reads the layer before it.
// Args:   inputs: how many tensors the list itself reads. faulty: names of layers whose faults are told already; takes
//         those of layers with a fault.
// Errors found: a name that no layer of the list has, a layer that comes later or is the reader itself, more tensors
//         than the kind reads or fewer, an output or an input of the list that nobody reads.
std::vector<Reads> ResolveReads(const LayerList& layers, int inputs, std::set<std::string>* faulty,
                                Diagnostics* diagnostics);

// The same for a list that is known to be sound.
std::vector<Reads> ResolveReads(const LayerList& layers, int inputs);

}  // namespace penstock

#endif  // PENSTOCK_MODEL_LAYER_READS_H_
