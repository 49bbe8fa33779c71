#include "common/data/array_file.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/data/byte_order.h"
#include "common/status_macros.h"

namespace penstock {
namespace {

constexpr char kInputs[] = "inputs";
constexpr char kTargets[] = "targets";

// Targets that are checked at a time.
constexpr int64_t kBlock = 1 << 16;

float FloatAt(const unsigned char* raw) {
  const uint32_t bits = LittleEndian32(raw);
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

std::string ShapeText(absl::Span<const int64_t> shape) { return absl::StrCat("[", absl::StrJoin(shape, ", "), "]"); }

}  // namespace

absl::Status ArrayFile::Fault(absl::string_view what) const {
  return absl::InvalidArgumentError(absl::StrCat(file_.path(), ": ", what));
}

absl::StatusOr<StoredTensor> ArrayFile::Find(const std::string& name) const {
  const auto found = file_.tensors().find(name);
  if (found != file_.tensors().end()) return found->second;
  std::vector<std::string> names;
  for (const auto& [there, tensor] : file_.tensors()) names.push_back(there);
  return Fault(absl::StrCat("has no array '", name,
                            "'; it has: ", names.empty() ? std::string("none") : absl::StrJoin(names, ", ")));
}

absl::StatusOr<ArrayFile> ArrayFile::Open(const std::string& path, const ArrayShape& wanted) {
  PENSTOCK_ASSIGN_OR_RETURN(SafetensorsFile opened, SafetensorsFile::Open(path));
  ArrayFile file(std::move(opened));
  PENSTOCK_RETURN_IF_ERROR(file.CheckInputs(wanted));
  PENSTOCK_RETURN_IF_ERROR(file.CheckTargets(wanted));
  return file;
}

absl::Status ArrayFile::CheckInputs(const ArrayShape& wanted) {
  PENSTOCK_ASSIGN_OR_RETURN(const StoredTensor inputs, Find(kInputs));
  if (inputs.dtype != "F32" && inputs.dtype != "U8") {
    return Fault(absl::StrCat("array 'inputs' is of dtype ", inputs.dtype, "; F32 and U8 are read"));
  }
  const bool fits = inputs.shape.size() == wanted.features.size() + 1 &&
                    std::equal(wanted.features.begin(), wanted.features.end(), inputs.shape.begin() + 1);
  if (!fits) {
    return Fault(absl::StrCat("array 'inputs' is ", ShapeText(inputs.shape), "; the model's input ",
                              ShapeText(wanted.features), " needs [samples", wanted.features.empty() ? "" : ", ",
                              absl::StrJoin(wanted.features, ", "), "]"));
  }
  samples_ = inputs.shape[0];
  if (samples_ == 0 || inputs.bytes == 0) return Fault("array 'inputs' holds no samples");
  input_dtype_ = inputs.dtype;
  features_ = inputs.bytes / SafetensorsDTypeBytes(inputs.dtype) / static_cast<uint64_t>(samples_);
  return absl::OkStatus();
}

absl::Status ArrayFile::CheckTargets(const ArrayShape& wanted) {
  PENSTOCK_ASSIGN_OR_RETURN(const StoredTensor targets, Find(kTargets));
  const std::string& dtype = targets.dtype;
  const bool good_dtype = wanted.class_targets ? dtype == "I64" || dtype == "I32" || dtype == "U8" : dtype == "F32";
  if (!good_dtype) {
    return Fault(absl::StrCat("array 'targets' is of dtype ", dtype, "; ",
                              wanted.class_targets ? "cross_entropy reads I64, I32 and U8" : "mse reads F32"));
  }
  const std::vector<int64_t> column = {samples_, 1};
  const bool fits =
      targets.shape == std::vector<int64_t>{samples_} || (!wanted.class_targets && targets.shape == column);
  if (!fits) {
    return Fault(absl::StrCat("array 'targets' is ", ShapeText(targets.shape), "; the ", samples_,
                              " samples of 'inputs' need [", samples_, "]"));
  }
  target_dtype_ = dtype;
  target_bytes_ = SafetensorsDTypeBytes(dtype);
  return absl::OkStatus();
}

absl::Status ArrayFile::ReadInput(int64_t sample, double scale, float* out) const {
  const size_t element = SafetensorsDTypeBytes(input_dtype_);
  std::vector<unsigned char> raw(features_ * element);
  PENSTOCK_RETURN_IF_ERROR(file_.ReadAt(kInputs, static_cast<uint64_t>(sample) * raw.size(), raw.data(), raw.size()));
  for (size_t i = 0; i < features_; ++i) {
    const double value = element == 1 ? raw[i] : FloatAt(&raw[i * element]);
    out[i] = static_cast<float>(value * scale);
    if (std::isfinite(out[i])) continue;
    return Fault(absl::StrCat("element ", i, " of inputs[", sample, "] is ", value, " times the scale ", scale,
                              ": not a finite number"));
  }
  return absl::OkStatus();
}

int64_t ArrayFile::ClassAt(const unsigned char* raw) const {
  if (target_bytes_ == 8) return static_cast<int64_t>(LittleEndian64(raw));
  if (target_bytes_ == 4) return static_cast<int32_t>(LittleEndian32(raw));
  return *raw;
}

absl::StatusOr<int64_t> ArrayFile::ReadClass(int64_t sample) const {
  unsigned char raw[8];
  PENSTOCK_RETURN_IF_ERROR(file_.ReadAt(kTargets, static_cast<uint64_t>(sample) * target_bytes_, raw, target_bytes_));
  return ClassAt(raw);
}

absl::StatusOr<float> ArrayFile::ReadNumber(int64_t sample) const {
  unsigned char raw[4];
  PENSTOCK_RETURN_IF_ERROR(file_.ReadAt(kTargets, static_cast<uint64_t>(sample) * target_bytes_, raw, sizeof(raw)));
  const float value = FloatAt(raw);
  if (std::isfinite(value)) return value;
  return Fault(absl::StrCat("targets[", sample, "] is ", value, ": not a finite number"));
}

absl::Status ArrayFile::CheckClasses(int64_t classes) const {
  std::vector<unsigned char> raw(static_cast<size_t>(std::min(kBlock, samples_)) * target_bytes_);
  for (int64_t first = 0; first < samples_; first += kBlock) {
    const int64_t here = std::min(kBlock, samples_ - first);
    PENSTOCK_RETURN_IF_ERROR(file_.ReadAt(kTargets, static_cast<uint64_t>(first) * target_bytes_, raw.data(),
                                          static_cast<size_t>(here) * target_bytes_));
    for (int64_t i = 0; i < here; ++i) {
      const int64_t target = ClassAt(&raw[static_cast<size_t>(i) * target_bytes_]);
      if (target >= 0 && target < classes) continue;
      return Fault(absl::StrCat("targets[", first + i, "] is ", target, ", but the model has ", classes, " classes"));
    }
  }
  return absl::OkStatus();
}

}  // namespace penstock
