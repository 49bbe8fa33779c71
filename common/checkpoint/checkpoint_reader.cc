#include "common/checkpoint/checkpoint_reader.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/checkpoint/checkpoint_dir.h"
#include "common/file.h"
#include "common/status_macros.h"

namespace penstock {
namespace {

std::string TypeText(absl::string_view dtype, const std::vector<int64_t>& shape) {
  return absl::StrCat(dtype, " [", absl::StrJoin(shape, ","), "]");
}

std::vector<int64_t> ShapeOf(const v1::TensorHash& tensor) { return {tensor.shape().begin(), tensor.shape().end()}; }

absl::Status WrongBytes(absl::string_view path, const std::string& tensor) {
  return absl::DataLossError(
      absl::StrCat(path, ": tensor '", tensor, "' is not what was written: its SHA-256 differs"));
}

// A file of the checkpoint, with exactly the tensors that the manifest says it has.
absl::StatusOr<SafetensorsFile> OpenFile(const std::string& path, const CheckpointFile& expected) {
  absl::StatusOr<SafetensorsFile> opened = SafetensorsFile::Open(path);
  if (absl::IsNotFound(opened.status())) return absl::DataLossError(opened.status().message());
  if (!opened.ok()) return opened;
  if (opened->bytes() != expected.bytes) {
    return absl::DataLossError(
        absl::StrCat(path, ": has ", opened->bytes(), " bytes; ", expected.bytes, " were written"));
  }
  for (const v1::TensorHash& tensor : expected.tensors) {
    const auto found = opened->tensors().find(tensor.name());
    if (found == opened->tensors().end()) {
      return absl::DataLossError(absl::StrCat(path, ": tensor '", tensor.name(), "' is missing"));
    }
    if (found->second.dtype != tensor.dtype() || found->second.shape != ShapeOf(tensor)) {
      return absl::DataLossError(absl::StrCat(path, ": tensor '", tensor.name(), "' is ",
                                              TypeText(found->second.dtype, found->second.shape), "; ",
                                              TypeText(tensor.dtype(), ShapeOf(tensor)), " was written"));
    }
  }
  if (opened->tensors().size() != expected.tensors.size()) {
    return absl::DataLossError(absl::StrCat(path, ": holds ", opened->tensors().size(), " tensors; ",
                                            expected.tensors.size(), " were written"));
  }
  return opened;
}

}  // namespace

absl::StatusOr<CheckpointReader> CheckpointReader::Open(const std::string& checkpoint) {
  CheckpointReader reader;
  reader.path_ = checkpoint;
  PENSTOCK_ASSIGN_OR_RETURN(reader.manifest_, ReadManifest(checkpoint));
  for (size_t i = 0; i < reader.manifest_.files.size(); ++i) {
    const CheckpointFile& file = reader.manifest_.files[i];
    PENSTOCK_ASSIGN_OR_RETURN(SafetensorsFile opened, OpenFile(JoinPath(checkpoint, file.name), file));
    reader.files_.push_back(std::move(opened));
    for (const v1::TensorHash& tensor : file.tensors) reader.where_[tensor.name()] = {i, &tensor};
  }
  return reader;
}

absl::Status CheckpointReader::Read(const std::string& name, absl::string_view dtype, const std::vector<int64_t>& shape,
                                    void* out) const {
  const auto found = where_.find(name);
  if (found == where_.end()) return absl::NotFoundError(absl::StrCat(path_, ": holds no tensor '", name, "'"));
  const v1::TensorHash& expected = *found->second.hash;
  if (expected.dtype() != dtype || ShapeOf(expected) != shape) {
    return absl::InvalidArgumentError(absl::StrCat(path_, ": tensor '", name, "' is ",
                                                   TypeText(expected.dtype(), ShapeOf(expected)), "; the model needs ",
                                                   TypeText(dtype, shape)));
  }
  PENSTOCK_ASSIGN_OR_RETURN(const uint64_t bytes, TensorBytes(dtype, shape));
  PENSTOCK_ASSIGN_OR_RETURN(const std::string sha256, files_[found->second.file].Read(name, out, bytes));
  if (sha256 == expected.sha256()) return absl::OkStatus();
  return WrongBytes(JoinPath(path_, manifest_.files[found->second.file].name), name);
}

absl::Status CheckpointReader::Verify() const {
  for (const auto& [name, place] : where_) {
    PENSTOCK_ASSIGN_OR_RETURN(const std::string sha256, files_[place.file].Hash(name));
    if (sha256 != place.hash->sha256()) return WrongBytes(JoinPath(path_, manifest_.files[place.file].name), name);
  }
  return absl::OkStatus();
}

}  // namespace penstock
