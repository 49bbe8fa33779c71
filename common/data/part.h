// The share of a dataset that a job uses. Pure.
#ifndef PENSTOCK_COMMON_DATA_PART_H_
#define PENSTOCK_COMMON_DATA_PART_H_

#include <cstdint>

#include "absl/status/statusor.h"
#include "proto/job.pb.h"

namespace penstock {

// [begin, end) of the tokens, rows or images of a dataset, counted from 0.
struct Part {
  int64_t begin = 0;
  int64_t end = 0;

  int64_t size() const { return end - begin; }
};

// The share [part_begin, part_end) of `count` elements; a part_end of 0 stands for 1.
// Errors: InvalidArgument: not 0 <= part_begin < part_end <= 1, or nothing is left.
absl::StatusOr<Part> PartOf(const v1::Dataset& dataset, int64_t count);

}  // namespace penstock

#endif  // PENSTOCK_COMMON_DATA_PART_H_
