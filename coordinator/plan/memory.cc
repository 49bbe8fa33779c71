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

void StageMemory::Add(const StageMemory& other) {
  parameter_bytes += other.parameter_bytes;
  gradient_bytes += other.gradient_bytes;
  optimizer_bytes += other.optimizer_bytes;
  buffer_bytes += other.buffer_bytes;
  largest_layer_gradient_bytes = std::max(largest_layer_gradient_bytes, other.largest_layer_gradient_bytes);
}

StageMemory LayerMemory(const LayerInfo& layer, const v1::Optimizer& optimizer) {
  const int64_t elements = layer.ParameterElements();
  StageMemory memory{4 * elements, 4 * elements, OptimizerBytesPerElement(optimizer) * elements, 0,
                     layer.cost.gradient_bytes};
  for (const BufferSpec& buffer : layer.buffers) {
    int64_t buffer_elements = 1;
    for (const int64_t size : buffer.shape) buffer_elements *= size;
    memory.buffer_bytes += buffer_elements * DTypeBytes(buffer.dtype);
  }
  return memory;
}

}  // namespace penstock
