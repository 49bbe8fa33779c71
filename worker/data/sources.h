// The kinds of DataSource; see dataset.h.
#ifndef PENSTOCK_WORKER_DATA_SOURCES_H_
#define PENSTOCK_WORKER_DATA_SOURCES_H_

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "common/data/part.h"
#include "proto/job.pb.h"
#include "worker/data/dataset.h"

namespace penstock {

// Copies `bytes` to `to`. Returns the place behind them.
inline char* PutBytes(const void* from, size_t bytes, char* to) {
  std::memcpy(to, from, bytes);
  return to + bytes;
}

struct TokenOptions {
  int64_t seq_len = 0;
  int64_t vocab = 0;                         // inputs must be smaller; 0: not checked
  int64_t classes = 0;                       // targets must be smaller; 0: not checked
  const v1::Tokenizer* tokenizer = nullptr;  // reads text; null: its bytes are the tokens
};

// Formats that HasTokens. Errors: as DataSource::Open.
absl::StatusOr<std::unique_ptr<DataSource>> OpenTokens(const v1::Dataset& dataset, const TokenOptions& options);

struct FeatureOptions {
  std::vector<int64_t> input_shape;
  bool class_targets = false;  // INT64 targets
  int64_t classes = 0;         // they must be smaller; 0: not checked
};

// FORMAT_CSV. Errors: as DataSource::Open.
absl::StatusOr<std::unique_ptr<DataSource>> OpenCsv(const v1::Dataset& dataset, const FeatureOptions& options);
// Formats that HasImages. Errors: as DataSource::Open.
absl::StatusOr<std::unique_ptr<DataSource>> OpenImages(const v1::Dataset& dataset, const FeatureOptions& options);
// FORMAT_SAFETENSORS. Errors: as DataSource::Open.
absl::StatusOr<std::unique_ptr<DataSource>> OpenArrays(const v1::Dataset& dataset, const FeatureOptions& options);

}  // namespace penstock

#endif  // PENSTOCK_WORKER_DATA_SOURCES_H_
