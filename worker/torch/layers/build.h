// Turns a layer of the model into its function. Thread-compatible.
#ifndef PENSTOCK_WORKER_TORCH_LAYERS_BUILD_H_
#define PENSTOCK_WORKER_TORCH_LAYERS_BUILD_H_

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "common/clock.h"
#include "proto/model.pb.h"
#include "worker/torch/layers/functions.h"

namespace penstock {

// What functions are built from. Outlives them.
struct LayerParts {
  std::map<std::string, Parameter*> parameters;  // by global name
  std::map<std::string, at::Tensor> buffers;
  Clock* clock = nullptr;
  std::vector<std::unique_ptr<BatchStatistics>> statistics;  // made by BuildLayer, in model order
};

// Args:    layer: checked by InferModel, with FillDefaults' values.
//          parts: holds every parameter and buffer that InferModel names for the layer.
LayerFunctionPtr BuildLayer(const v1::Layer& layer, LayerParts* parts);

}  // namespace penstock

#endif  // PENSTOCK_WORKER_TORCH_LAYERS_BUILD_H_
