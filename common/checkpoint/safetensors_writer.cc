#include <unistd.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/checkpoint/safetensors.h"
#include "common/limits.h"
#include "common/sha256.h"
#include "common/status_macros.h"

namespace penstock {
namespace {

// A tensor is hashed and written in pieces of this size, so that the second reading of a piece comes from the cache.
constexpr uint64_t kPieceBytes = uint64_t{1} << 20;

// The header ends on this boundary; tensors start where aligned loads and direct I/O like them.
constexpr uint64_t kHeaderAlignment = 64;

struct SizedTensor {
  TensorToWrite tensor;
  uint64_t bytes;
};

// Wider elements first, so that each tensor is aligned to its own element with no gap between them; then by name.
void SortForLayout(std::vector<SizedTensor>* tensors) {
  std::sort(tensors->begin(), tensors->end(), [](const SizedTensor& a, const SizedTensor& b) {
    const size_t wide_a = SafetensorsDTypeBytes(a.tensor.dtype), wide_b = SafetensorsDTypeBytes(b.tensor.dtype);
    return wide_a != wide_b ? wide_a > wide_b : a.tensor.name < b.tensor.name;
  });
}

absl::StatusOr<std::vector<SizedTensor>> Layout(std::vector<TensorToWrite> tensors) {
  std::vector<SizedTensor> sized;
  std::set<std::string> names;
  for (TensorToWrite& tensor : tensors) {
    if (tensor.name.empty() || tensor.name == "__metadata__" || !names.insert(tensor.name).second) {
      return absl::InvalidArgumentError(
          absl::StrCat("a tensor cannot be stored under the name '", tensor.name, "': it is taken, reserved or empty"));
    }
    const absl::StatusOr<uint64_t> bytes = TensorBytes(tensor.dtype, tensor.shape);
    if (!bytes.ok()) return Annotate(bytes.status(), tensor.name);
    sized.push_back({std::move(tensor), *bytes});
  }
  SortForLayout(&sized);
  return sized;
}

// The 8-byte length and the header, padded with spaces.
std::string HeaderOf(const std::vector<SizedTensor>& tensors, const std::map<std::string, std::string>& metadata) {
  nlohmann::json header = nlohmann::json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  uint64_t offset = 0;
  for (const SizedTensor& sized : tensors) {
    header[sized.tensor.name] = {
        {"dtype", sized.tensor.dtype}, {"shape", sized.tensor.shape}, {"data_offsets", {offset, offset + sized.bytes}}};
    offset += sized.bytes;
  }
  std::string text = header.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  text.append((kHeaderAlignment - (8 + text.size()) % kHeaderAlignment) % kHeaderAlignment, ' ');
  std::string length(8, '\0');
  for (int i = 0; i < 8; ++i) length[i] = static_cast<char>(text.size() >> (8 * i));
  return length + text;
}

v1::TensorHash HashMessage(const TensorToWrite& tensor, std::string sha256) {
  v1::TensorHash hash;
  hash.set_name(tensor.name);
  hash.set_dtype(tensor.dtype);
  for (const int64_t size : tensor.shape) hash.add_shape(size);
  hash.set_sha256(std::move(sha256));
  return hash;
}

// Hashes a tensor and, where `file` is given, writes it.
absl::StatusOr<v1::TensorHash> Stream(const SizedTensor& sized, File* file) {
  const char* data = static_cast<const char*>(sized.tensor.data);
  Sha256 sha;
  for (uint64_t done = 0; done < sized.bytes; done += kPieceBytes) {
    const size_t piece = std::min(kPieceBytes, sized.bytes - done);
    sha.Update(data + done, piece);
    if (file != nullptr) PENSTOCK_RETURN_IF_ERROR(file->Write(data + done, piece));
  }
  return HashMessage(sized.tensor, sha.HexDigest());
}

absl::StatusOr<WrittenSafetensors> WriteNew(const std::string& path, const std::vector<SizedTensor>& tensors,
                                            const std::string& header) {
  WrittenSafetensors written;
  PENSTOCK_ASSIGN_OR_RETURN(File file, File::CreateExclusive(path));
  PENSTOCK_RETURN_IF_ERROR(file.Write(header.data(), header.size()));
  written.bytes = header.size();
  for (const SizedTensor& sized : tensors) {
    PENSTOCK_ASSIGN_OR_RETURN(v1::TensorHash hash, Stream(sized, &file));
    written.tensors.push_back(std::move(hash));
    written.bytes += sized.bytes;
  }
  PENSTOCK_RETURN_IF_ERROR(file.Sync());
  PENSTOCK_RETURN_IF_ERROR(file.Close());
  std::sort(written.tensors.begin(), written.tensors.end(),
            [](const v1::TensorHash& a, const v1::TensorHash& b) { return a.name() < b.name(); });
  return written;
}

}  // namespace

absl::StatusOr<v1::TensorHash> HashTensor(const TensorToWrite& tensor) {
  PENSTOCK_ASSIGN_OR_RETURN(const uint64_t bytes, TensorBytes(tensor.dtype, tensor.shape));
  return Stream({tensor, bytes}, nullptr);
}

absl::StatusOr<WrittenSafetensors> WriteSafetensors(const std::string& path, std::vector<TensorToWrite> tensors,
                                                    const std::map<std::string, std::string>& metadata) {
  auto sized = Layout(std::move(tensors));
  if (!sized.ok()) return Annotate(sized.status(), path);
  const std::string header = HeaderOf(*sized, metadata);
  if (header.size() - 8 > limits::kMaxSafetensorsHeaderBytes) {
    return absl::ResourceExhaustedError(absl::StrCat(path, ": the header would have ", header.size() - 8, " bytes"));
  }
  const std::string temporary = absl::StrCat(path, ".partial");
  ::unlink(temporary.c_str());  // of a call that was interrupted
  absl::StatusOr<WrittenSafetensors> written = WriteNew(temporary, *sized, header);
  absl::Status done = written.status();
  if (done.ok()) done = RenameAndSync(temporary, path);
  if (!done.ok()) {
    ::unlink(temporary.c_str());
    return done;
  }
  return written;
}

}  // namespace penstock
