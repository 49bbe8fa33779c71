// Under which names the measured costs of a job's layers are kept: equal keys, equal costs on one device. Pure.
// Source: docs/schedules.md, "Measured costs".
#ifndef PENSTOCK_MODEL_COST_KEYS_H_
#define PENSTOCK_MODEL_COST_KEYS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "model/model_info.h"
#include "proto/job.pb.h"

namespace penstock {

struct CostKeys {
  int64_t samples = 0;              // of the largest micro-batch, which is the one that is measured
  std::vector<std::string> layers;  // in model order; equal layers have equal keys
  std::string update;               // of the optimizer
  std::string link;                 // between two workers
};

// A layer's key: its kind and options with those of the layers inside it, what it reads, samples, precision and
// threads; whether it is the first layer (whose input's gradient nobody needs), and for the last one the loss. Never
// its name, place, or what only matters to its initial values. Args: model: of `spec`. spec.pipeline has micro_batches,
// or a plan that has.
CostKeys CostKeysOf(const v1::JobSpec& spec, const ModelInfo& model);

}  // namespace penstock

#endif  // PENSTOCK_MODEL_COST_KEYS_H_
