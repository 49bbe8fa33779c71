#include "common/data/part.h"

#include <cmath>

#include "absl/strings/str_cat.h"

namespace penstock {

absl::StatusOr<Part> PartOf(const v1::Dataset& dataset, int64_t count) {
  const double begin = dataset.part_begin();
  const double end = dataset.part_end() == 0 ? 1 : dataset.part_end();
  if (!(begin >= 0 && begin < end && end <= 1)) {
    return absl::InvalidArgumentError(
        absl::StrCat(dataset.path(), ": the part [", begin, ", ", end, ") is not a share of the file"));
  }
  const auto at = [count](double share) {
    return static_cast<int64_t>(std::floor(share * static_cast<double>(count)));
  };
  const Part part{at(begin), end == 1 ? count : at(end)};
  if (part.begin < part.end) return part;
  return absl::InvalidArgumentError(
      absl::StrCat(dataset.path(), ": holds no data in the part [", begin, ", ", end, "): ", count, " in all"));
}

}  // namespace penstock
