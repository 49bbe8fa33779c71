// Samples from the arrays of a safetensors file.
#include <limits>
#include <utility>

#include "common/data/array_file.h"
#include "common/status_macros.h"
#include "worker/data/sources.h"

namespace penstock {
namespace {

class ArraySource final : public DataSource {
 public:
  ArraySource(ArrayFile file, Part part, double scale, const FeatureOptions& options)
      : file_(std::move(file)), part_(part), scale_(scale) {
    layout_.input_dtype = v1::DTYPE_FLOAT32;
    layout_.input_shape = options.input_shape;
    layout_.input_bytes = file_.features() * sizeof(float);
    layout_.target_dtype = options.class_targets ? v1::DTYPE_INT64 : v1::DTYPE_FLOAT32;
    if (!options.class_targets) layout_.target_shape = {1};
    layout_.target_bytes = options.class_targets ? sizeof(int64_t) : sizeof(float);
  }

  int64_t samples() const override { return part_.size(); }
  const SampleLayout& layout() const override { return layout_; }

  absl::Status Read(absl::Span<const SampleRef> samples, char* inputs, char* targets) const override {
    std::vector<float> numbers(file_.features());
    for (const SampleRef& sample : samples) {
      const int64_t index = part_.begin + sample.index;
      if (inputs != nullptr) {
        PENSTOCK_RETURN_IF_ERROR(file_.ReadInput(index, scale_, numbers.data()));
        inputs = PutBytes(numbers.data(), layout_.input_bytes, inputs);
      }
      if (targets == nullptr) continue;
      if (layout_.target_dtype == v1::DTYPE_INT64) {
        PENSTOCK_ASSIGN_OR_RETURN(int64_t target, file_.ReadClass(index));
        if (!sample.counted) target = kIgnoredTarget;
        targets = PutBytes(&target, sizeof(target), targets);
      } else {
        PENSTOCK_ASSIGN_OR_RETURN(float target, file_.ReadNumber(index));
        if (!sample.counted) target = std::numeric_limits<float>::quiet_NaN();
        targets = PutBytes(&target, sizeof(target), targets);
      }
    }
    return absl::OkStatus();
  }

 private:
  const ArrayFile file_;
  const Part part_;
  const double scale_;
  SampleLayout layout_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<DataSource>> OpenArrays(const v1::Dataset& dataset, const FeatureOptions& options) {
  PENSTOCK_ASSIGN_OR_RETURN(ArrayFile file, ArrayFile::Open(dataset.path(), {.features = options.input_shape,
                                                                             .class_targets = options.class_targets}));
  if (options.class_targets && options.classes > 0) PENSTOCK_RETURN_IF_ERROR(file.CheckClasses(options.classes));
  PENSTOCK_ASSIGN_OR_RETURN(const Part part, PartOf(dataset, file.samples()));
  const double scale = dataset.scale() == 0 ? 1 : dataset.scale();
  return std::make_unique<ArraySource>(std::move(file), part, scale, options);
}

}  // namespace penstock
