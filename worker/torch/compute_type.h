// The type that a job's layers compute in. Pure.
// Source: docs/training.md, "Precision".
#ifndef PENSTOCK_WORKER_TORCH_COMPUTE_TYPE_H_
#define PENSTOCK_WORKER_TORCH_COMPUTE_TYPE_H_

#include "proto/model.pb.h"
#include "worker/torch/torch.h"

namespace penstock {

// Of activations, their gradients, and the copies of parameters.
inline at::ScalarType ComputeType(const v1::Model& model) {
  switch (model.compute()) {
    case v1::DTYPE_BFLOAT16:
      return at::kBFloat16;
    case v1::DTYPE_FLOAT16:
      return at::kHalf;
    default:
      return at::kFloat;
  }
}

}  // namespace penstock

#endif  // PENSTOCK_WORKER_TORCH_COMPUTE_TYPE_H_
