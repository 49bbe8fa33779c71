// A list of layers as the file writes it, and its unrolling. Pure. Internal to spec/.
#ifndef PENSTOCK_SPEC_LAYER_LIST_H_
#define PENSTOCK_SPEC_LAYER_LIST_H_

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "common/yaml.h"
#include "proto/model.pb.h"

namespace penstock {

// One item of the list: a layer, or a block that is repeated.
struct LayerItem {
  v1::Layer layer;  // its name as the file gives it, or empty; the block of a residual or a graph is in `inner`
  bool sound = true;
  int64_t repeat = 0;  // 0: a layer
  std::vector<LayerItem> inner;
  v1::SourceLocation at;
};

// Reads the items of a list. Adds an error for an unknown kind, a wrong key, a block that is empty.
std::vector<LayerItem> ReadLayerItems(const std::vector<YamlNode>& nodes, YamlErrors* errors);

// Unrolls items into `layers` and names them: a named layer inside a repeat becomes NAME.0, NAME.1, ...; an unnamed
// one <kind>_<position in the unrolled list>; those of a residual or a graph begin with its name and a dot. What `from`
// says becomes full names.
// Adds an error and returns false when there would be more than limits::kMaxLayers. Names of unsound layers are added
// to `faulty`.
bool UnrollLayers(const std::vector<LayerItem>& items, google::protobuf::RepeatedPtrField<v1::Layer>* layers,
                  std::set<std::string>* faulty, Diagnostics* diagnostics);

}  // namespace penstock

#endif  // PENSTOCK_SPEC_LAYER_LIST_H_
