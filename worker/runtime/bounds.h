// What the plan allows a boundary tensor to be; checked before memory is reserved for it. Pure; immutable after Of().
#ifndef PENSTOCK_WORKER_RUNTIME_BOUNDS_H_
#define PENSTOCK_WORKER_RUNTIME_BOUNDS_H_

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto/job.pb.h"
#include "proto/plan.pb.h"
#include "proto/tensor.pb.h"
#include "worker/runtime/tensor.h"

namespace penstock {

class BoundaryBounds {
 public:
  // The bounds of every stage's boundary tensors, from the model's shapes and the size of the largest micro-batch.
  // Errors: InvalidArgument: a model whose shapes do not fit, a plan whose stages do not fit the model.
  static absl::StatusOr<BoundaryBounds> Of(const v1::JobSpec& spec, const v1::Plan& plan);

  // By hand, for tests and benchmarks: micro-batches, then Allow for each tensor.
  explicit BoundaryBounds(int micro_batches) : micro_batches_(micro_batches) {}
  // Adds a tensor behind those that the boundary has.
  // Args: largest: its shape's dimensions are what a tensor may have at most.
  void Allow(int stage, v1::Direction direction, TensorMeta largest, std::string tensor = "x");

  // The boundary's tensors, in the order in which every rank sends and receives them; none where the plan has none.
  // Args: stage: the one that consumes them.
  const std::vector<std::string>& Tensors(int stage, v1::Direction direction) const;

  // Checks all that a frame's header says of the tensor and of the piece's place in it.
  // Args:   payload_bytes: the size of the piece.
  // Errors: InvalidArgument: names the key, what is wrong and what the plan allows.
  absl::Status Check(const v1::Frame& header, size_t payload_bytes) const;

  // Bytes of the largest tensor of this stage, direction and name; 0 when the plan knows none.
  size_t MaxBytes(const BoundaryKey& key) const;

 private:
  struct Boundary {
    std::vector<std::string> tensors;
    std::vector<TensorMeta> largest;  // of each
  };

  // Null when the plan knows no such tensor.
  const TensorMeta* Find(const BoundaryKey& key) const;

  int micro_batches_;
  absl::flat_hash_map<std::pair<int, int>, Boundary> boundaries_;  // by stage and direction
};

// Bytes of a tensor of this dtype and shape, or an error when a dimension is not positive or the product is too large.
absl::StatusOr<size_t> TensorBytes(const TensorMeta& meta);

}  // namespace penstock

#endif  // PENSTOCK_WORKER_RUNTIME_BOUNDS_H_
