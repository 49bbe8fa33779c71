// Images as numbers: (byte * scale - mean) / std of its channel, computed in float64 and rounded once.
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/data/image_files.h"
#include "common/status_macros.h"
#include "worker/data/sources.h"

namespace penstock {
namespace {

// A byte's number, by channel and byte.
using Levels = std::vector<float>;

class ImageSource final : public DataSource {
 public:
  ImageSource(ImageFiles files, Part part, Levels levels, const FeatureOptions& options)
      : files_(std::move(files)), part_(part), levels_(std::move(levels)) {
    layout_.input_dtype = v1::DTYPE_FLOAT32;
    layout_.input_shape = options.input_shape;
    layout_.input_bytes = files_.pixels() * sizeof(float);
    layout_.target_dtype = v1::DTYPE_INT64;
    layout_.target_bytes = sizeof(int64_t);
  }

  int64_t samples() const override { return part_.size(); }
  const SampleLayout& layout() const override { return layout_; }

  absl::Status Read(absl::Span<const SampleRef> samples, char* inputs, char* targets) const override {
    const size_t plane = files_.pixels() / static_cast<size_t>(files_.shape()[0]);
    std::vector<unsigned char> bytes(files_.pixels());
    std::vector<float> numbers(files_.pixels());
    for (const SampleRef& sample : samples) {
      const int64_t image = part_.begin + sample.index;
      if (inputs != nullptr) {
        PENSTOCK_RETURN_IF_ERROR(files_.ReadPixels(image, bytes.data()));
        for (size_t i = 0; i < bytes.size(); ++i) numbers[i] = levels_[i / plane * 256 + bytes[i]];
        inputs = PutBytes(numbers.data(), layout_.input_bytes, inputs);
      }
      if (targets == nullptr) continue;
      PENSTOCK_ASSIGN_OR_RETURN(const int label, files_.ReadLabel(image));
      const int64_t target = sample.counted ? label : kIgnoredTarget;
      targets = PutBytes(&target, sizeof(target), targets);
    }
    return absl::OkStatus();
  }

 private:
  const ImageFiles files_;
  const Part part_;
  const Levels levels_;
  SampleLayout layout_;
};

absl::StatusOr<Levels> LevelsOf(const v1::Dataset& dataset, int64_t channels) {
  const double scale = dataset.scale() == 0 ? 1.0 / 255 : dataset.scale();
  for (const auto* list : {&dataset.channel_mean(), &dataset.channel_std()}) {
    if (list->empty() || list->size() == channels) continue;
    return absl::InvalidArgumentError(absl::StrCat(dataset.path(), ": its images have ", channels,
                                                   " channels, but mean or std has ", list->size(), " numbers"));
  }
  Levels levels;
  for (int c = 0; c < channels; ++c) {
    const double mean = dataset.channel_mean().empty() ? 0 : dataset.channel_mean(c);
    const double std = dataset.channel_std().empty() ? 1 : dataset.channel_std(c);
    for (int byte = 0; byte < 256; ++byte) {
      levels.push_back(static_cast<float>((byte * scale - mean) / std));
      if (std::isfinite(levels.back())) continue;
      return absl::InvalidArgumentError(
          absl::StrCat(dataset.path(), ": a pixel of ", byte, " becomes ", levels.back(), " by scale, mean and std"));
    }
  }
  return levels;
}

}  // namespace

absl::StatusOr<std::unique_ptr<DataSource>> OpenImages(const v1::Dataset& dataset, const FeatureOptions& options) {
  PENSTOCK_ASSIGN_OR_RETURN(ImageFiles files, ImageFiles::Open(dataset));
  PENSTOCK_RETURN_IF_ERROR(files.CheckShape(options.input_shape));
  if (!options.class_targets) {
    return absl::InvalidArgumentError(
        absl::StrCat(dataset.path(), ": images have classes, which cross_entropy learns: model.loss is another"));
  }
  if (options.classes > 0) PENSTOCK_RETURN_IF_ERROR(files.CheckLabels(options.classes));
  PENSTOCK_ASSIGN_OR_RETURN(Levels levels, LevelsOf(dataset, files.shape()[0]));
  PENSTOCK_ASSIGN_OR_RETURN(const Part part, PartOf(dataset, files.images()));
  return std::make_unique<ImageSource>(std::move(files), part, std::move(levels), options);
}

}  // namespace penstock
