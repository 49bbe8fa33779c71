#include "worker/torch/boundary.h"

#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"

namespace penstock {
namespace {

v1::DType WireType(at::ScalarType type) {
  switch (type) {
    case at::kFloat:
      return v1::DTYPE_FLOAT32;
    case at::kBFloat16:
      return v1::DTYPE_BFLOAT16;
    case at::kHalf:
      return v1::DTYPE_FLOAT16;
    default:
      CHECK(type == at::kLong) << type;
      return v1::DTYPE_INT64;
  }
}

}  // namespace

TensorView ToView(at::Tensor tensor) {
  CHECK(tensor.is_contiguous());
  auto owner = std::make_shared<at::Tensor>(tensor.cpu());
  TensorView view;
  view.meta.dtype = WireType(tensor.scalar_type());
  view.meta.shape = owner->sizes().vec();
  view.data = static_cast<const char*>(owner->const_data_ptr());
  view.bytes = owner->nbytes();
  view.owner = std::move(owner);
  return view;
}

absl::StatusOr<at::Tensor> FromReceived(ReceivedTensor received, at::Device device, DeviceMemory* memory) {
  at::ScalarType type;
  switch (received.meta.dtype) {
    case v1::DTYPE_FLOAT32:
      type = at::kFloat;
      break;
    case v1::DTYPE_BFLOAT16:
      type = at::kBFloat16;
      break;
    case v1::DTYPE_FLOAT16:
      type = at::kHalf;
      break;
    case v1::DTYPE_INT64:
      type = at::kLong;
      break;
    default:
      return absl::InvalidArgumentError(
          absl::StrCat("no layer takes a boundary tensor of type ", v1::DType_Name(received.meta.dtype)));
  }
  size_t bytes = c10::elementSize(type);
  for (int64_t size : received.meta.shape) bytes *= static_cast<size_t>(size);
  if (bytes != received.bytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("a boundary tensor came with ", received.bytes, " bytes, its shape needs ", bytes));
  }
  char* data = received.data.get();
  if (!device.is_cpu()) {
    const at::Tensor host = at::from_blob(
        data, received.meta.shape, [held = std::move(received.data)](void*) {}, type);
    return host.to(device);
  }
  memory->Adopt(bytes);
  return at::from_blob(
      data, received.meta.shape, [held = std::move(received.data), memory, bytes](void*) { memory->Release(bytes); },
      type);
}

}  // namespace penstock
