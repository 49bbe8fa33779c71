// Loading from a checkpoint, tensor by tensor.
// Source: docs/recovery.md, "Loading".
#ifndef PENSTOCK_COMMON_CHECKPOINT_CHECKPOINT_READER_H_
#define PENSTOCK_COMMON_CHECKPOINT_CHECKPOINT_READER_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/checkpoint/manifest.h"
#include "common/checkpoint/safetensors.h"
#include "proto/worker.pb.h"

namespace penstock {

// A checkpoint opened for loading. Tensors are found by global name, whatever file and rank they were written by.
// Thread-safe once open.
class CheckpointReader {
 public:
  // Errors: as ReadManifest. DataLoss: a file is missing, damaged in its header, or holds other tensors than the
  //         manifest says.
  static absl::StatusOr<CheckpointReader> Open(const std::string& checkpoint);

  const Manifest& manifest() const { return manifest_; }
  bool Has(const std::string& name) const { return where_.count(name) > 0; }

  // Copies a tensor to `out`, which has room for its bytes, and compares it with its hash.
  // Errors: NotFound: no such tensor. InvalidArgument: another dtype or shape than asked for; names both.
  //         DataLoss: the bytes are not those that were written; names file and tensor.
  absl::Status Read(const std::string& name, absl::string_view dtype, const std::vector<int64_t>& shape,
                    void* out) const;

  // Reads every byte and compares every tensor with its hash.
  // Errors: DataLoss: names the file and the tensor that is not what was written.
  absl::Status Verify() const;

 private:
  struct Place {
    size_t file;                 // in files_ and manifest_.files
    const v1::TensorHash* hash;  // in manifest_; its vectors keep their memory when the reader is moved
  };

  CheckpointReader() = default;

  std::string path_;
  Manifest manifest_;
  std::vector<SafetensorsFile> files_;
  std::map<std::string, Place> where_;
};

}  // namespace penstock

#endif  // PENSTOCK_COMMON_CHECKPOINT_CHECKPOINT_READER_H_
