// What a stage holds in its worker's memory for the whole run. Pure.
// Source: docs/schedules.md, "Memory".
#ifndef PENSTOCK_COORDINATOR_PLAN_MEMORY_H_
#define PENSTOCK_COORDINATOR_PLAN_MEMORY_H_

#include <cstdint>

#include "model/model_info.h"
#include "proto/job.pb.h"

namespace penstock {

// Bytes an optimizer keeps for each parameter element: sgd 0, with momentum 4, lion 4, adam and adamw 8.
int64_t OptimizerBytesPerElement(const v1::Optimizer& optimizer);

struct StageMemory {
  int64_t parameter_bytes = 0;
  int64_t gradient_bytes = 0;
  int64_t optimizer_bytes = 0;
  int64_t buffer_bytes = 0;                  // moving averages
  int64_t largest_layer_gradient_bytes = 0;  // a kernel's own, while it is added to the gradients

  // What stays for the whole run: everything but activations.
  int64_t State() const {
    return parameter_bytes + gradient_bytes + optimizer_bytes + buffer_bytes + largest_layer_gradient_bytes;
  }
  // Adds another layer of the same stage.
  void Add(const StageMemory& other);
};

// Parameters, gradients and optimizer state are float32; where layers compute in 16 bits, parameters have a copy of
// that type too. What is frozen has neither gradients nor state.
StageMemory LayerMemory(const LayerInfo& layer, const v1::Optimizer& optimizer);

}  // namespace penstock

#endif  // PENSTOCK_COORDINATOR_PLAN_MEMORY_H_
