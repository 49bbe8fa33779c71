#include "worker/runtime/bounds.h"

#include <algorithm>
#include <cstdint>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/limits.h"
#include "common/micro_batch.h"
#include "common/status_macros.h"
#include "model/boundary.h"
#include "model/model_info.h"

namespace penstock {
namespace {

// More than any host's memory; keeps products far from overflow.
constexpr uint64_t kMaxTensorBytes = uint64_t{1} << 46;

std::string ToText(v1::DType dtype, const std::vector<int64_t>& shape) {
  return absl::StrCat(v1::DType_Name(dtype), " [", absl::StrJoin(shape, ", "), "]");
}

TensorMeta OfMicroBatch(const TensorType& sample, int64_t size) {
  TensorMeta meta{.dtype = sample.dtype, .shape = {size}};
  meta.shape.insert(meta.shape.end(), sample.shape.begin(), sample.shape.end());
  return meta;
}

}  // namespace

absl::StatusOr<size_t> TensorBytes(const TensorMeta& meta) {
  if (!v1::DType_IsValid(meta.dtype) || meta.dtype == v1::DTYPE_UNSPECIFIED) {
    return absl::InvalidArgumentError("unknown dtype");
  }
  if (static_cast<int>(meta.shape.size()) > limits::kMaxTensorRank) {
    return absl::InvalidArgumentError(absl::StrCat(meta.shape.size(), " dimensions; at most ", limits::kMaxTensorRank));
  }
  uint64_t bytes = static_cast<uint64_t>(DTypeBytes(meta.dtype));
  for (const int64_t dimension : meta.shape) {
    if (dimension <= 0 || static_cast<uint64_t>(dimension) > kMaxTensorBytes / bytes) {
      return absl::InvalidArgumentError(absl::StrCat("shape ", ToText(meta.dtype, meta.shape)));
    }
    bytes *= static_cast<uint64_t>(dimension);
  }
  return static_cast<size_t>(bytes);
}

absl::StatusOr<BoundaryBounds> BoundaryBounds::Of(const v1::JobSpec& spec, const v1::Plan& plan) {
  PENSTOCK_ASSIGN_OR_RETURN(const ModelInfo model, InferModel(spec.model()));
  if (plan.micro_batches() < 1 || plan.micro_batches() > spec.train().batch_size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("a plan of ", plan.micro_batches(), " micro-batches for a batch of ", spec.train().batch_size()));
  }
  BoundaryBounds bounds(static_cast<int>(plan.micro_batches()));
  const int64_t size = MicroBatch(spec.train().batch_size(), plan.micro_batches(), 0).size();
  for (int stage = 0; stage + 1 < plan.stages_size(); ++stage) {
    const uint32_t end = plan.stages(stage).end_layer();
    if (end < 1 || end > model.layers.size()) {
      return absl::InvalidArgumentError(
          absl::StrCat("stage ", stage, " ends at layer ", end, " of ", model.layers.size()));
    }
    for (const BoundaryTensor& tensor : TensorsAcross(model, static_cast<int>(end))) {
      const TensorMeta largest = OfMicroBatch(tensor.type, size);
      bounds.Allow(stage + 1, v1::DIRECTION_FORWARD, largest, tensor.name);
      if (tensor.has_gradient) bounds.Allow(stage, v1::DIRECTION_BACKWARD, largest, tensor.name);
    }
  }
  return bounds;
}

void BoundaryBounds::Allow(int stage, v1::Direction direction, TensorMeta largest, std::string tensor) {
  Boundary& boundary = boundaries_[{stage, static_cast<int>(direction)}];
  boundary.tensors.push_back(std::move(tensor));
  boundary.largest.push_back(std::move(largest));
}

const std::vector<std::string>& BoundaryBounds::Tensors(int stage, v1::Direction direction) const {
  static const std::vector<std::string>* const none = new std::vector<std::string>();
  const auto found = boundaries_.find({stage, static_cast<int>(direction)});
  return found == boundaries_.end() ? *none : found->second.tensors;
}

const TensorMeta* BoundaryBounds::Find(const BoundaryKey& key) const {
  const std::vector<std::string>& tensors = Tensors(key.stage, key.direction);
  const auto found = std::find(tensors.begin(), tensors.end(), key.tensor);
  if (found == tensors.end()) return nullptr;
  return &boundaries_.at({key.stage, static_cast<int>(key.direction)}).largest[found - tensors.begin()];
}

absl::Status BoundaryBounds::Check(const v1::Frame& header, size_t payload_bytes) const {
  const BoundaryKey key = FromProto(header.key());
  const auto refuse = [&key](const auto&... why) {
    return absl::InvalidArgumentError(absl::StrCat(penstock::ToText(key), ": ", why...));
  };
  if (Tensors(key.stage, key.direction).empty()) return refuse("the plan has no such boundary");
  const TensorMeta* const found = Find(key);
  if (found == nullptr) return refuse("the boundary has no tensor of this name");
  if (header.key().replica() != 0) return refuse("replica ", header.key().replica(), "; the plan has one");
  if (key.micro_batch < 0 || key.micro_batch >= micro_batches_) {
    return refuse("the plan has ", micro_batches_, " micro-batches");
  }
  if (header.byte_order() != v1::BYTE_ORDER_LITTLE_ENDIAN) return refuse("its bytes are not little-endian");
  const TensorMeta& largest = *found;
  if (header.shape_size() > limits::kMaxTensorRank) return refuse(header.shape_size(), " dimensions");
  const TensorMeta meta{header.dtype(), {header.shape().begin(), header.shape().end()}};
  bool fits = meta.dtype == largest.dtype && meta.shape.size() == largest.shape.size();
  for (size_t i = 0; fits && i < meta.shape.size(); ++i) fits = meta.shape[i] >= 1 && meta.shape[i] <= largest.shape[i];
  if (!fits) {
    return refuse("it is ", ToText(meta.dtype, meta.shape), ", the plan allows at most ",
                  ToText(largest.dtype, largest.shape));
  }
  const absl::StatusOr<size_t> bytes = TensorBytes(meta);
  if (!bytes.ok()) return refuse(bytes.status().message());
  if (header.total_bytes() != *bytes) {
    return refuse("it announces ", header.total_bytes(), " bytes, its shape has ", *bytes);
  }
  if (payload_bytes == 0 || header.offset() >= *bytes || payload_bytes > *bytes - header.offset()) {
    return refuse("a piece of ", payload_bytes, " bytes at offset ", header.offset(), " does not lie inside its ",
                  *bytes, " bytes");
  }
  return absl::OkStatus();
}

size_t BoundaryBounds::MaxBytes(const BoundaryKey& key) const {
  const TensorMeta* const largest = Find(key);
  if (largest == nullptr) return 0;
  const absl::StatusOr<size_t> bytes = TensorBytes(*largest);
  return bytes.ok() ? *bytes : 0;
}

}  // namespace penstock
