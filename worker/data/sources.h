// The kinds of DataSource; see dataset.h.
#ifndef PENSTOCK_WORKER_DATA_SOURCES_H_
#define PENSTOCK_WORKER_DATA_SOURCES_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "proto/job.pb.h"
#include "worker/data/dataset.h"

namespace penstock {

// The share [part_begin, part_end) of `count` tokens or rows; a part_end of 0 stands for 1.
// Errors: InvalidArgument: not 0 <= part_begin < part_end <= 1, or nothing is left.
struct Part {
  int64_t begin = 0;
  int64_t end = 0;
};
absl::StatusOr<Part> PartOf(const v1::Dataset& dataset, int64_t count);

struct TokenOptions {
  int64_t seq_len = 0;
  int64_t vocab = 0;    // inputs must be smaller; 0: not checked
  int64_t classes = 0;  // targets must be smaller; 0: not checked
};

// FORMAT_TEXT and FORMAT_TOKENS. Errors: as DataSource::Open.
absl::StatusOr<std::unique_ptr<DataSource>> OpenTokens(const v1::Dataset& dataset, const TokenOptions& options);

struct CsvOptions {
  std::vector<int64_t> input_shape;
  bool class_targets = false;  // INT64 targets
  int64_t classes = 0;         // they must be smaller; 0: not checked
};

// FORMAT_CSV. Errors: as DataSource::Open.
absl::StatusOr<std::unique_ptr<DataSource>> OpenCsv(const v1::Dataset& dataset, const CsvOptions& options);

}  // namespace penstock

#endif  // PENSTOCK_WORKER_DATA_SOURCES_H_
