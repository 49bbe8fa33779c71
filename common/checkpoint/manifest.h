// MANIFEST.json: what a checkpoint holds, and the hash by which checkpoints are compared. Pure.
// Source: docs/recovery.md, "The manifest" and "The hash".
#ifndef PENSTOCK_COMMON_CHECKPOINT_MANIFEST_H_
#define PENSTOCK_COMMON_CHECKPOINT_MANIFEST_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "proto/job.pb.h"
#include "proto/plan.pb.h"
#include "proto/worker.pb.h"

namespace penstock {

inline constexpr char kManifestName[] = "MANIFEST.json";

// Grows when a reader of the old format would misread the new one.
inline constexpr int kCheckpointFormat = 1;

// Where training stands in its data after so many updates.
struct DataPosition {
  uint64_t epoch = 0;   // from 0
  uint64_t offset = 0;  // samples of it that were used
};
// REQUIRES: samples >= 1.
DataPosition PositionAfter(uint64_t step, uint64_t batch_size, uint64_t samples);

struct CheckpointFile {
  std::string name;  // inside the folder: "rank-0.safetensors"
  uint64_t bytes = 0;
  std::vector<v1::TensorHash> tensors;
};

struct Manifest {
  std::string job;
  uint64_t step = 0;              // completed updates; the data position follows from it
  v1::DataIdentity data;          // the training data; no files: the checkpoint does not say
  v1::LossScaleState loss_scale;  // precision fp16; scale 0: the loss was not scaled
  int64_t unix_ms = 0;
  std::string fingerprint;  // numeric fingerprint of the workers that made it
  v1::Plan plan;            // schedule, micro_batches and stages; the action lists are not kept
  v1::JobSpec spec;
  std::vector<CheckpointFile> files;
  std::string sha256;  // HashOfTensors of all files; written by ManifestToJson

  uint64_t Bytes() const;
};

// The hash of a state: SHA-256 over the sorted lines "name dtype shape sha256-of-bytes\n", shape as "[2,3]".
// Independent of the order, of files and of ranks.
std::string HashOfTensors(std::vector<v1::TensorHash> tensors);

// The file's text. Ends with a newline; the same manifest makes the same text.
std::string ManifestToJson(Manifest manifest);

// Errors: DataLoss: not well formed, a byte was changed, a tensor stands in two files, a file's name leads outside of
// the
//         folder, or `sha256` is not the hash of the tensors. FailedPrecondition: a format of a newer version.
absl::StatusOr<Manifest> ManifestFromJson(absl::string_view text);

}  // namespace penstock

#endif  // PENSTOCK_COMMON_CHECKPOINT_MANIFEST_H_
