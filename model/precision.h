// What a job's precision says of its model. Pure.
// Source: docs/training.md, "Precision".
#ifndef PENSTOCK_MODEL_PRECISION_H_
#define PENSTOCK_MODEL_PRECISION_H_

#include <optional>
#include <string>

#include "proto/model.pb.h"

namespace penstock {

// Model.compute for a precision's name; unspecified for "fp32", which is also the default. nullopt: no such precision.
inline std::optional<v1::DType> ComputeOf(const std::string& precision) {
  if (precision.empty() || precision == "fp32") return v1::DTYPE_UNSPECIFIED;
  if (precision == "bf16") return v1::DTYPE_BFLOAT16;
  if (precision == "fp16") return v1::DTYPE_FLOAT16;
  return std::nullopt;
}

}  // namespace penstock

#endif  // PENSTOCK_MODEL_PRECISION_H_
