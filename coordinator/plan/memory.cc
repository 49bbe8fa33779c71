#include "coordinator/plan/memory.h"

#include <algorithm>

namespace penstock {

int64_t OptimizerBytesPerElement(const v1::Optimizer& optimizer) {
  switch (optimizer.name()) {
    case v1::Optimizer::ADAM:
    case v1::Optimizer::ADAMW:
      return 8;  // first and second moment
    default:
      return optimizer.momentum() != 0 ? 4 : 0;
  }
}

StageMemory EstimateMemory(const ModelInfo& model, const LayerRange& layers, const v1::Optimizer& optimizer) {
  StageMemory memory;
  for (int i = layers.begin; i < layers.end; ++i) {
    const LayerInfo& layer = model.layers[i];
    const int64_t elements = layer.ParameterElements();
    memory.parameter_bytes += 4 * elements;
    memory.gradient_bytes += 4 * elements;
    memory.optimizer_bytes += OptimizerBytesPerElement(optimizer) * elements;
    memory.largest_layer_gradient_bytes = std::max(memory.largest_layer_gradient_bytes, 4 * elements);
    for (const BufferSpec& buffer : layer.buffers) {
      int64_t buffer_elements = 1;
      for (const int64_t size : buffer.shape) buffer_elements *= size;
      memory.buffer_bytes += buffer_elements * DTypeBytes(buffer.dtype);
    }
  }
  return memory;
}

}  // namespace penstock
