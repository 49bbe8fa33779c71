#include "coordinator/plan/memory.h"

#include <algorithm>

#include "model/optimizer_rules.h"

namespace penstock {

int64_t OptimizerBytesPerElement(const v1::Optimizer& optimizer) {
  return 4 * static_cast<int64_t>(OptimizerState(optimizer).size());
}

void StageMemory::Add(const StageMemory& other) {
  parameter_bytes += other.parameter_bytes;
  gradient_bytes += other.gradient_bytes;
  optimizer_bytes += other.optimizer_bytes;
  buffer_bytes += other.buffer_bytes;
  largest_layer_gradient_bytes = std::max(largest_layer_gradient_bytes, other.largest_layer_gradient_bytes);
}

StageMemory LayerMemory(const LayerInfo& layer, const v1::Optimizer& optimizer) {
  int64_t trained = 0;
  for (const ParameterSpec& parameter : layer.parameters) trained += parameter.frozen ? 0 : parameter.Elements();
  // What layers compute with beside the values themselves.
  const v1::DType compute = layer.output.dtype;
  const int64_t copy = compute == v1::DTYPE_BFLOAT16 || compute == v1::DTYPE_FLOAT16 ? DTypeBytes(compute) : 0;
  StageMemory memory{(4 + copy) * layer.ParameterElements(), 4 * trained, OptimizerBytesPerElement(optimizer) * trained,
                     0, layer.cost.gradient_bytes};
  for (const BufferSpec& buffer : layer.buffers) {
    int64_t buffer_elements = 1;
    for (const int64_t size : buffer.shape) buffer_elements *= size;
    memory.buffer_bytes += buffer_elements * DTypeBytes(buffer.dtype);
  }
  return memory;
}

}  // namespace penstock
