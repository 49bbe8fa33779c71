#include "common/data/image_files.h"

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/data/byte_order.h"
#include "common/data/format.h"
#include "common/status_macros.h"

namespace penstock {
namespace {

// idx, big-endian: 0, 0, the type of an element (8: a byte), the number of dimensions; then each dimension's size.
constexpr unsigned char kIdxByte = 8;

// Two sides of an image, each below 2^16: their product cannot overflow, and no image is larger.
constexpr uint64_t kMaxSide = 1 << 16;

// CIFAR-10: a label, then the red, the green and the blue plane.
constexpr int64_t kCifarChannels = 3, kCifarSide = 32, kCifarClasses = 10;
constexpr uint64_t kCifarPixels = 3 * 32 * 32, kCifarRecord = 1 + kCifarPixels;
// CIFAR-100 has two labels a record.
constexpr uint64_t kCifar100Record = 2 + kCifarPixels;
constexpr char kCifarShards[] = "data_batch_*.bin";

// Labels are checked in blocks of about so many bytes of the run.
constexpr uint64_t kBlockBytes = uint64_t{1} << 20;

absl::Status Fault(const std::string& path, absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat(path, ": ", what));
}

struct IdxHeader {
  std::vector<uint64_t> sizes;
  uint64_t bytes;  // of the header
};

// Reads the header of an idx file with so many dimensions, and compares what it states with the file's length.
absl::StatusOr<IdxHeader> ReadIdxHeader(const File& file, uint64_t bytes, int dimensions, absl::string_view what) {
  IdxHeader header;
  header.bytes = 4 + 4 * static_cast<uint64_t>(dimensions);
  unsigned char raw[16];
  const uint64_t there = std::min<uint64_t>(bytes, header.bytes);
  PENSTOCK_RETURN_IF_ERROR(file.ReadAt(0, raw, there));
  if (there >= 2 && raw[0] == 0x1f && raw[1] == 0x8b) {
    return Fault(file.path(), "is compressed: unpack it with gunzip first");
  }
  if (there < header.bytes) {
    return Fault(file.path(),
                 absl::StrCat("has ", bytes, " bytes; the header of a file of ", what, " alone has ", header.bytes));
  }
  if (raw[0] != 0 || raw[1] != 0 || raw[2] != kIdxByte || raw[3] != dimensions) {
    return Fault(file.path(), absl::StrCat("begins with ", raw[0], ", ", raw[1], ", ", raw[2], ", ", raw[3],
                                           "; an idx file of ", what, " begins with 0, 0, 8, ", dimensions));
  }
  uint64_t elements = 1;
  for (int d = 0; d < dimensions; ++d) {
    const uint64_t size = BigEndian32(raw + 4 + 4 * d);
    if (size == 0 || (d > 0 && size > kMaxSide)) {
      return Fault(file.path(), absl::StrCat("states a size of ", size, " (byte ", 4 + 4 * d, ")"));
    }
    header.sizes.push_back(size);
    elements *= size;  // below 2^64: one size below 2^32, two up to 2^16
  }
  if (bytes - header.bytes != elements) {
    return Fault(file.path(), absl::StrCat("states ", absl::StrJoin(header.sizes, " x "), " bytes of ", what,
                                           " (byte 4), but ", bytes - header.bytes, " follow: it is ",
                                           bytes - header.bytes < elements ? "truncated" : "damaged"));
  }
  return header;
}

bool IsFolder(const std::string& path) {
  std::error_code ignored;
  return std::filesystem::is_directory(path, ignored);
}

}  // namespace

absl::StatusOr<std::vector<std::string>> ImagePathsOf(const v1::Dataset& dataset) {
  if (dataset.format() == v1::Dataset::FORMAT_MNIST) return std::vector<std::string>{dataset.path(), dataset.labels()};
  if (IsFolder(dataset.path())) return FilesNamed(JoinPath(dataset.path(), kCifarShards));
  return FilesNamed(dataset.path());
}

absl::StatusOr<ImageFiles> ImageFiles::Open(const v1::Dataset& dataset) {
  return dataset.format() == v1::Dataset::FORMAT_MNIST ? OpenMnist(dataset) : OpenCifar10(dataset);
}

// The labels stand behind the images in the run.
absl::StatusOr<ImageFiles> ImageFiles::OpenMnist(const v1::Dataset& dataset) {
  PENSTOCK_ASSIGN_OR_RETURN(File images, File::OpenToRead(dataset.path()));
  PENSTOCK_ASSIGN_OR_RETURN(const uint64_t image_bytes, images.Bytes());
  PENSTOCK_ASSIGN_OR_RETURN(const IdxHeader of_images, ReadIdxHeader(images, image_bytes, 3, "images"));
  PENSTOCK_ASSIGN_OR_RETURN(File labels, File::OpenToRead(dataset.labels()));
  PENSTOCK_ASSIGN_OR_RETURN(const uint64_t label_bytes, labels.Bytes());
  PENSTOCK_ASSIGN_OR_RETURN(const IdxHeader of_labels, ReadIdxHeader(labels, label_bytes, 1, "labels"));
  if (of_labels.sizes[0] != of_images.sizes[0]) {
    return Fault(dataset.labels(), absl::StrCat("has ", of_labels.sizes[0], " labels, ", dataset.path(), " has ",
                                                of_images.sizes[0], " images: they do not belong together"));
  }
  ImageFiles files;
  files.path_ = dataset.path();
  files.images_ = static_cast<int64_t>(of_images.sizes[0]);
  files.shape_ = {1, static_cast<int64_t>(of_images.sizes[1]), static_cast<int64_t>(of_images.sizes[2])};
  files.pixels_stride_ = files.pixels();
  files.label_begin_ = image_bytes - of_images.bytes;
  files.label_stride_ = 1;
  files.run_.Append(std::move(images), of_images.bytes, image_bytes - of_images.bytes);
  files.run_.Append(std::move(labels), of_labels.bytes, label_bytes - of_labels.bytes);
  return files;
}

absl::StatusOr<ImageFiles> ImageFiles::OpenCifar10(const v1::Dataset& dataset) {
  PENSTOCK_ASSIGN_OR_RETURN(const std::vector<std::string> paths, ImagePathsOf(dataset));
  ImageFiles files;
  files.path_ = dataset.path();
  for (const std::string& path : paths) {
    PENSTOCK_ASSIGN_OR_RETURN(File file, File::OpenToRead(path));
    PENSTOCK_ASSIGN_OR_RETURN(const uint64_t bytes, file.Bytes());
    if (bytes == 0) return Fault(path, "is empty");
    if (bytes % kCifarRecord != 0) {
      return Fault(path, absl::StrCat("has ", bytes, " bytes, which are not whole records of ", kCifarRecord,
                                      " bytes (a label and 3 x 32 x 32 pixels)",
                                      bytes % kCifar100Record == 0 ? ": it looks like CIFAR-100" : ""));
    }
    files.run_.Append(std::move(file), 0, bytes);
  }
  files.images_ = static_cast<int64_t>(files.run_.bytes() / kCifarRecord);
  files.shape_ = {kCifarChannels, kCifarSide, kCifarSide};
  files.pixels_begin_ = 1;
  files.pixels_stride_ = files.label_stride_ = kCifarRecord;
  return files;
}

absl::Status ImageFiles::ReadPixels(int64_t image, unsigned char* out) const {
  return run_.ReadAt(pixels_begin_ + static_cast<uint64_t>(image) * pixels_stride_, out, pixels());
}

absl::StatusOr<int> ImageFiles::ReadLabel(int64_t image) const {
  unsigned char label = 0;
  PENSTOCK_RETURN_IF_ERROR(run_.ReadAt(label_begin_ + static_cast<uint64_t>(image) * label_stride_, &label, 1));
  return label;
}

absl::Status ImageFiles::CheckLabels(int64_t classes) const {
  // A record of CIFAR-10 whose label is above 9 is not one, whatever the model has.
  const bool cifar = label_stride_ == kCifarRecord;
  const int64_t bound = cifar ? std::min(classes, kCifarClasses) : classes;
  const int64_t block = static_cast<int64_t>(std::max<uint64_t>(kBlockBytes / label_stride_, 1));
  std::vector<unsigned char> raw;
  for (int64_t first = 0; first < images_; first += block) {
    const auto here = static_cast<uint64_t>(std::min(block, images_ - first));
    raw.resize((here - 1) * label_stride_ + 1);
    const uint64_t begin = label_begin_ + static_cast<uint64_t>(first) * label_stride_;
    PENSTOCK_RETURN_IF_ERROR(run_.ReadAt(begin, raw.data(), raw.size()));
    for (uint64_t i = 0; i < here; ++i) {
      if (raw[i * label_stride_] < bound) continue;
      const FilePlace place = run_.PlaceOf(begin + i * label_stride_);
      return Fault(place.path, absl::StrCat("byte ", place.byte, ": the label of image ",
                                            first + static_cast<int64_t>(i), " is ", raw[i * label_stride_], ", but ",
                                            bound < classes ? "CIFAR-10 has " : "the model has ", bound, " classes"));
    }
  }
  return absl::OkStatus();
}

absl::Status ImageFiles::CheckShape(absl::Span<const int64_t> features) const {
  const std::vector<int64_t> flat = {shape_[0] * shape_[1] * shape_[2]};
  const std::vector<int64_t> plane = {shape_[1], shape_[2]};
  if (features == absl::MakeConstSpan(shape_) || features == absl::MakeConstSpan(flat)) return absl::OkStatus();
  if (shape_[0] == 1 && features == absl::MakeConstSpan(plane)) return absl::OkStatus();
  return Fault(path_, absl::StrCat("its images are [", absl::StrJoin(shape_, ", "), "], but the model's input is [",
                                   absl::StrJoin(features, ", "), "]: write model.input.features: [",
                                   absl::StrJoin(shape_, ", "), "], or [", flat[0], "] for layers without a plane"));
}

}  // namespace penstock
