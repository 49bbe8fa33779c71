#include "worker/runtime/tensor.h"

#include <limits>

#include "absl/strings/str_cat.h"

namespace penstock {
namespace {

int Index(uint32_t value) {
  return value <= static_cast<uint32_t>(std::numeric_limits<int>::max()) ? static_cast<int>(value) : -1;
}

}  // namespace

std::string ToText(const BoundaryKey& key) {
  const char* direction = key.direction == v1::DIRECTION_FORWARD    ? "forward "
                          : key.direction == v1::DIRECTION_BACKWARD ? "backward "
                                                                    : "directionless ";
  return absl::StrCat(direction, key.tensor, " of micro-batch ", key.micro_batch, " for stage ", key.stage, ", pass ",
                      key.pass);
}

v1::TensorKey ToProto(const BoundaryKey& key) {
  v1::TensorKey proto;
  proto.set_step(key.pass);
  proto.set_stage(static_cast<uint32_t>(key.stage));
  proto.set_tensor(key.tensor);
  proto.set_micro_batch(static_cast<uint32_t>(key.micro_batch));
  proto.set_direction(key.direction);
  return proto;
}

BoundaryKey FromProto(const v1::TensorKey& key) {
  return {.pass = key.step(),
          .stage = Index(key.stage()),
          .direction = key.direction(),
          .micro_batch = Index(key.micro_batch()),
          .tensor = key.tensor()};
}

}  // namespace penstock
