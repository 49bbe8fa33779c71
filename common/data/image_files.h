// Files of images and their classes, opened and checked: MNIST's idx and CIFAR-10's binary records. Nothing a header
// says is believed before it is compared with the file. Thread-safe once open.
// Source: docs/training.md, "Batches".
#ifndef PENSTOCK_COMMON_DATA_IMAGE_FILES_H_
#define PENSTOCK_COMMON_DATA_IMAGE_FILES_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/data/file_run.h"
#include "proto/job.pb.h"

namespace penstock {

class ImageFiles {
 public:
  // Opens the files of a dataset whose format HasImages. mnist: `path` and `labels`. cifar10: a file, a pattern, or a
  // folder, of which the files data_batch_*.bin are read.
  // Errors: NotFound: no such file, no match. InvalidArgument: a wrong mark, counts that contradict the file or each
  //         other, half a record, a compressed file; names the file and the place in it.
  static absl::StatusOr<ImageFiles> Open(const v1::Dataset& dataset);

  int64_t images() const { return images_; }
  // [channels, height, width].
  const std::vector<int64_t>& shape() const { return shape_; }
  size_t pixels() const { return static_cast<size_t>(shape_[0] * shape_[1] * shape_[2]); }

  // Copies an image's bytes, channel by channel, row by row, to `out`, which has room for pixels().
  // REQUIRES: 0 <= image < images(). Errors: DataLoss: the file has become shorter. Unavailable: I/O error.
  absl::Status ReadPixels(int64_t image, unsigned char* out) const;
  // Its class. REQUIRES and Errors as above.
  absl::StatusOr<int> ReadLabel(int64_t image) const;

  // Reads every label. Errors: InvalidArgument: one is not smaller than `classes`; names its place.
  absl::Status CheckLabels(int64_t classes) const;

  // Whether the images fill an input of this shape: [channels, height, width], [channels * height * width], or, with
  // one channel, [height, width]. Errors: InvalidArgument: says which shapes do.
  absl::Status CheckShape(absl::Span<const int64_t> features) const;

 private:
  static absl::StatusOr<ImageFiles> OpenMnist(const v1::Dataset& dataset);
  static absl::StatusOr<ImageFiles> OpenCifar10(const v1::Dataset& dataset);

  std::string path_;  // the dataset's, for errors
  FileRun run_;
  int64_t images_ = 0;
  std::vector<int64_t> shape_;
  // Image i's pixels begin at byte pixels_begin_ + i * pixels_stride_ of the run, its label at …
  uint64_t pixels_begin_ = 0, pixels_stride_ = 0;
  uint64_t label_begin_ = 0, label_stride_ = 0;
};

// Where a dataset's files lie: those that Open reads, in their order.
absl::StatusOr<std::vector<std::string>> ImagePathsOf(const v1::Dataset& dataset);

}  // namespace penstock

#endif  // PENSTOCK_COMMON_DATA_IMAGE_FILES_H_
