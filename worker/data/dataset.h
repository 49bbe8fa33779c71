// A job's data as samples, read by sample number: sequences of tokens, rows, images, arrays. Read-only; a DataSource
// may be used from any number of threads. Source: docs/training.md, "Batches".
#ifndef PENSTOCK_WORKER_DATA_DATASET_H_
#define PENSTOCK_WORKER_DATA_DATASET_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "proto/job.pb.h"
#include "proto/tensor.pb.h"
#include "worker/data/batch.h"

namespace penstock {

enum class DataPart { kTrain, kEval };

// One sample's tensors, without the batch dimension. A batch of n samples is n of them, one after the other.
//   text, tokens, megatron   inputs INT64 [seq_len], targets INT64 [seq_len]
//   others, cross_entropy    inputs FLOAT32 model.input.shape, targets INT64 [] (one class)
//   others, mse              inputs FLOAT32 model.input.shape, targets FLOAT32 [1]
struct SampleLayout {
  v1::DType input_dtype = v1::DTYPE_UNSPECIFIED;
  std::vector<int64_t> input_shape;
  size_t input_bytes = 0;
  v1::DType target_dtype = v1::DTYPE_UNSPECIFIED;
  std::vector<int64_t> target_shape;
  size_t target_bytes = 0;
};

// What a target that does not count is set to (padding of the last evaluation batch); float targets are NaN then.
inline constexpr int64_t kIgnoredTarget = -100;

class DataSource {
 public:
  virtual ~DataSource() = default;

  // Opens the job's training or evaluation data. csv is read and checked whole, of images and arrays every class, of a
  // Megatron dataset its index, of other files the length and the header; the rest is read and checked on demand.
  // Args:    spec.data is resolved; a layer list that starts with an embedding bounds the input tokens.
  //          classes: targets must be smaller (ModelInfo.classes); 0: not checked.
  // Errors:  NotFound: no such file, no match, or no evaluation data in the job. InvalidArgument: empty, fewer tokens
  //          than a sequence needs, an odd number of bytes, a header that contradicts its file, a cell that is not a
  //          number ("file:line:column: ..."), a class that the model has not, samples that do not fill the model's
  //          input. DataLoss: a safetensors file that is not whole. Unavailable: I/O error.
  static absl::StatusOr<std::unique_ptr<DataSource>> Open(const v1::JobSpec& spec, DataPart part, int64_t classes);

  // Number of samples, at least 1. Of tokens: floor((tokens - 1) / seq_len), sample i starts at token i * seq_len.
  virtual int64_t samples() const = 0;
  virtual const SampleLayout& layout() const = 0;

  // Copies samples to `inputs` (samples.size() * layout().input_bytes) and `targets` (… * target_bytes); either
  // may be null: a first stage needs no targets, a last one no inputs.
  // REQUIRES: 0 <= index < samples() of each.
  // Errors:  InvalidArgument: a token or class is not smaller than the model's vocabulary; names file and position.
  //          DataLoss: the file has become shorter. Unavailable: I/O error.
  virtual absl::Status Read(absl::Span<const SampleRef> samples, char* inputs, char* targets) const = 0;
};

}  // namespace penstock

#endif  // PENSTOCK_WORKER_DATA_DATASET_H_
