// Boundary tensors as the runtime sees them: bytes with a dtype and a shape. No torch. Thread-compatible.
#ifndef PENSTOCK_WORKER_RUNTIME_TENSOR_H_
#define PENSTOCK_WORKER_RUNTIME_TENSOR_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "proto/tensor.pb.h"

namespace penstock {

struct TensorMeta {
  v1::DType dtype = v1::DTYPE_UNSPECIFIED;
  std::vector<int64_t> shape;

  friend bool operator==(const TensorMeta&, const TensorMeta&) = default;
};

// A tensor's own memory, read in place: `owner` keeps it alive. Contiguous, little-endian.
struct TensorView {
  TensorMeta meta;
  std::shared_ptr<const void> owner;
  const char* data = nullptr;
  size_t bytes = 0;
};

// Memory of a received tensor, aligned to limits::kTensorAlignment. Freed with the last reference.
struct ReceivedTensor {
  TensorMeta meta;
  std::shared_ptr<char[]> data;
  size_t bytes = 0;
};

// Names one boundary tensor of one pass; `stage` is the stage that consumes it.
struct BoundaryKey {
  uint64_t pass = 0;
  int stage = 0;
  v1::Direction direction = v1::DIRECTION_FORWARD;
  int micro_batch = 0;
  std::string tensor;  // the boundary's tensors have names; a single one is called "x"

  friend bool operator==(const BoundaryKey&, const BoundaryKey&) = default;
  template <typename H>
  friend H AbslHashValue(H h, const BoundaryKey& k) {
    return H::combine(std::move(h), k.pass, k.stage, static_cast<int>(k.direction), k.micro_batch, k.tensor);
  }
};

// "forward x of micro-batch 3 for stage 1, pass 12".
std::string ToText(const BoundaryKey& key);

v1::TensorKey ToProto(const BoundaryKey& key);
// Numbers that do not fit an int become -1, which no plan knows.
BoundaryKey FromProto(const v1::TensorKey& key);

}  // namespace penstock

#endif  // PENSTOCK_WORKER_RUNTIME_TENSOR_H_
