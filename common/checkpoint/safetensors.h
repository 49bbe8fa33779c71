// The safetensors format: an 8-byte length, a JSON header {name: {dtype, shape, data_offsets}}, then the bytes.
// The reader trusts nothing and executes nothing. SafetensorsFile is safe to read from several threads.
// Source: docs/recovery.md, "The tensor files".
#ifndef PENSTOCK_COMMON_CHECKPOINT_SAFETENSORS_H_
#define PENSTOCK_COMMON_CHECKPOINT_SAFETENSORS_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/file.h"
#include "proto/tensor.pb.h"
#include "proto/worker.pb.h"

namespace penstock {

// "F32" of DTYPE_FLOAT32. REQUIRES: a specified dtype.
std::string SafetensorsDType(v1::DType dtype);
// Bytes of one element of "F32"; 0: not a dtype of the format.
size_t SafetensorsDTypeBytes(absl::string_view dtype);

// Bytes of a tensor. Errors: InvalidArgument: an unknown dtype, a negative size, more than 2^63 - 1 bytes.
absl::StatusOr<uint64_t> TensorBytes(absl::string_view dtype, const std::vector<int64_t>& shape);

// A tensor to write, in memory that outlives the call: contiguous, little-endian.
struct TensorToWrite {
  std::string name;
  std::string dtype;  // "F32"
  std::vector<int64_t> shape;
  const void* data = nullptr;
};

// name, dtype, shape and the SHA-256 of the bytes. Errors: as TensorBytes.
absl::StatusOr<v1::TensorHash> HashTensor(const TensorToWrite& tensor);

struct WrittenSafetensors {
  uint64_t bytes = 0;
  std::vector<v1::TensorHash> tensors;  // by name
};

// Writes a file and returns when it is on disk. It appears at `path` whole or not at all, in place of what was there;
// the same tensors, in any order, make the same bytes.
// Args:    metadata: texts kept in the header ("__metadata__").
// Errors:  InvalidArgument: a name twice, empty or "__metadata__"; otherwise as TensorBytes. File errors:
// common/file.h.
absl::StatusOr<WrittenSafetensors> WriteSafetensors(const std::string& path, std::vector<TensorToWrite> tensors,
                                                    const std::map<std::string, std::string>& metadata = {});

// Where a tensor lies in its file.
struct StoredTensor {
  std::string dtype;
  std::vector<int64_t> shape;
  uint64_t begin = 0;  // from the start of the file
  uint64_t bytes = 0;
};

// A file opened and its header checked: header at most 100 MB, well formed, no name twice, known dtypes, shape × size =
// bytes, tensors back to back from the header's end to the file's.
class SafetensorsFile {
 public:
  // Errors: NotFound. DataLoss: not whole or not well formed; says where.
  static absl::StatusOr<SafetensorsFile> Open(const std::string& path);

  const std::string& path() const { return file_.path(); }
  const std::map<std::string, StoredTensor>& tensors() const { return tensors_; }
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  uint64_t bytes() const { return bytes_; }

  // Copies a tensor's bytes to `out`, which has room for exactly `bytes`, and returns their SHA-256.
  // Errors: NotFound: no such tensor. InvalidArgument: it has another number of bytes. DataLoss: the file got shorter.
  absl::StatusOr<std::string> Read(const std::string& name, void* out, uint64_t bytes) const;

  // Copies bytes [offset, offset + bytes) of a tensor to `out`.
  // REQUIRES: it has so many. Errors: NotFound: no such tensor. DataLoss: the file got shorter.
  absl::Status ReadAt(const std::string& name, uint64_t offset, void* out, size_t bytes) const;

  // The SHA-256 of a tensor's bytes. Errors: as Read.
  absl::StatusOr<std::string> Hash(const std::string& name) const;

 private:
  SafetensorsFile() = default;
  absl::Status ParseHeader(absl::string_view header, uint64_t data_begin);

  File file_;
  uint64_t bytes_ = 0;
  std::map<std::string, StoredTensor> tensors_;
  std::map<std::string, std::string> metadata_;
};

}  // namespace penstock

#endif  // PENSTOCK_COMMON_CHECKPOINT_SAFETENSORS_H_
