// Training data as the arrays `inputs` and `targets` of a safetensors file, opened and checked. Thread-safe once open.
// Source: docs/training.md, "Batches".
#ifndef PENSTOCK_COMMON_DATA_ARRAY_FILE_H_
#define PENSTOCK_COMMON_DATA_ARRAY_FILE_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/checkpoint/safetensors.h"

namespace penstock {

// What a model wants of the arrays.
struct ArrayShape {
  std::vector<int64_t> features;  // of one sample
  bool class_targets = false;     // else one number a sample
};

class ArrayFile {
 public:
  // inputs: F32 or U8, [samples, features...]. targets: I64, I32 or U8 [samples] for classes, else F32 [samples] or
  // [samples, 1]. Other tensors of the file are left alone.
  // Errors: NotFound. DataLoss: not a whole safetensors file. InvalidArgument: an array is missing, of another dtype or
  //         shape, or without samples; says what is there and what was expected.
  static absl::StatusOr<ArrayFile> Open(const std::string& path, const ArrayShape& wanted);

  int64_t samples() const { return samples_; }
  // Elements of one sample's input.
  size_t features() const { return features_; }

  // Copies a sample's input to `out`, which has room for features() numbers: each element times `scale`, rounded once.
  // REQUIRES: 0 <= sample < samples().
  // Errors:   InvalidArgument: not a finite number; names the element. DataLoss: the file has become shorter.
  absl::Status ReadInput(int64_t sample, double scale, float* out) const;
  // Its class. REQUIRES: class targets.
  absl::StatusOr<int64_t> ReadClass(int64_t sample) const;
  // Its number. REQUIRES: no class targets. Errors: as ReadInput.
  absl::StatusOr<float> ReadNumber(int64_t sample) const;

  // Reads every class. Errors: InvalidArgument: one is not in [0, classes); names it.
  absl::Status CheckClasses(int64_t classes) const;

 private:
  explicit ArrayFile(SafetensorsFile file) : file_(std::move(file)) {}
  absl::Status CheckInputs(const ArrayShape& wanted);
  absl::Status CheckTargets(const ArrayShape& wanted);
  absl::StatusOr<StoredTensor> Find(const std::string& name) const;
  absl::Status Fault(absl::string_view what) const;
  int64_t ClassAt(const unsigned char* raw) const;

  SafetensorsFile file_;
  int64_t samples_ = 0;
  size_t features_ = 0;
  std::string input_dtype_, target_dtype_;
  size_t target_bytes_ = 0;  // of one
};

}  // namespace penstock

#endif  // PENSTOCK_COMMON_DATA_ARRAY_FILE_H_
