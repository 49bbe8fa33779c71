#include "common/checkpoint/safetensors.h"

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/checkpoint/strict_json.h"
#include "common/limits.h"
#include "common/logging.h"
#include "common/sha256.h"
#include "common/status_macros.h"

namespace penstock {
namespace {

using Json = nlohmann::json;

// Objects and arrays inside each other: the header, a tensor, its shape.
constexpr int kHeaderDepth = 3;

// How much is read at once while hashing.
constexpr uint64_t kPieceBytes = uint64_t{1} << 20;

struct DTypeName {
  const char* name;
  size_t bytes;
};

constexpr DTypeName kDTypes[] = {
    {"BOOL", 1}, {"U8", 1},  {"I8", 1},  {"F8_E5M2", 1}, {"F8_E4M3", 1}, {"I16", 2}, {"U16", 2}, {"F16", 2},
    {"BF16", 2}, {"I32", 4}, {"U32", 4}, {"F32", 4},     {"F64", 8},     {"I64", 8}, {"U64", 8},
};

absl::StatusOr<std::vector<int64_t>> ShapeOf(const Json& json) {
  if (!json.is_array()) return absl::DataLossError("'shape' is not a list");
  std::vector<int64_t> shape;
  for (const Json& size : json) {
    if (!size.is_number_unsigned() || size.get<uint64_t>() > std::numeric_limits<int64_t>::max()) {
      return absl::DataLossError("'shape' holds something that is not a size");
    }
    shape.push_back(size.get<int64_t>());
  }
  return shape;
}

// A tensor's header entry; `begin` still counts from the end of the header.
absl::StatusOr<StoredTensor> EntryOf(const Json& json) {
  if (!json.is_object() || json.size() != 3 || !json.contains("dtype") || !json.contains("shape") ||
      !json.contains("data_offsets")) {
    return absl::DataLossError("must have dtype, shape and data_offsets, and nothing else");
  }
  const Json& dtype = json["dtype"];
  if (!dtype.is_string()) return absl::DataLossError("'dtype' is not a text");
  StoredTensor tensor;
  tensor.dtype = dtype.get<std::string>();
  PENSTOCK_ASSIGN_OR_RETURN(tensor.shape, ShapeOf(json["shape"]));
  const absl::StatusOr<uint64_t> bytes = TensorBytes(tensor.dtype, tensor.shape);
  if (!bytes.ok()) return absl::DataLossError(bytes.status().message());
  const Json& offsets = json["data_offsets"];
  if (!offsets.is_array() || offsets.size() != 2 || !offsets[0].is_number_unsigned() ||
      !offsets[1].is_number_unsigned()) {
    return absl::DataLossError("'data_offsets' is not [begin, end]");
  }
  tensor.begin = offsets[0].get<uint64_t>();
  const uint64_t end = offsets[1].get<uint64_t>();
  tensor.bytes = *bytes;
  if (end < tensor.begin || end - tensor.begin != tensor.bytes) {
    return absl::DataLossError(
        absl::StrCat("its data_offsets [", tensor.begin, ", ", end, "] do not span its ", tensor.bytes, " bytes"));
  }
  return tensor;
}

// Whether the tensors lie back to back over all `bytes` of the data.
absl::Status CheckLayout(const std::map<std::string, StoredTensor>& tensors, uint64_t bytes) {
  std::vector<std::pair<const std::string*, const StoredTensor*>> order;
  for (const auto& [name, tensor] : tensors) order.emplace_back(&name, &tensor);
  std::sort(order.begin(), order.end(), [](const auto& a, const auto& b) {
    return std::make_pair(a.second->begin, a.second->bytes) < std::make_pair(b.second->begin, b.second->bytes);
  });
  uint64_t at = 0;
  for (const auto& [name, tensor] : order) {
    if (tensor->begin != at) {
      return absl::DataLossError(absl::StrCat("tensor '", *name, "' begins at byte ", tensor->begin,
                                              " of the data, the one before it ends at ", at));
    }
    if (tensor->bytes > bytes - at) {
      return absl::DataLossError(absl::StrCat("tensor '", *name, "' ends ", tensor->bytes - (bytes - at),
                                              " bytes behind the end of the file"));
    }
    at += tensor->bytes;
  }
  if (at != bytes) return absl::DataLossError(absl::StrCat(bytes - at, " bytes belong to no tensor"));
  return absl::OkStatus();
}

absl::Status NoSuchTensor(const std::string& path, const std::string& name) {
  return absl::NotFoundError(absl::StrCat(path, ": holds no tensor '", name, "'"));
}

}  // namespace

std::string SafetensorsDType(v1::DType dtype) {
  switch (dtype) {
    case v1::DTYPE_FLOAT32:
      return "F32";
    case v1::DTYPE_FLOAT64:
      return "F64";
    case v1::DTYPE_BFLOAT16:
      return "BF16";
    case v1::DTYPE_FLOAT16:
      return "F16";
    case v1::DTYPE_INT64:
      return "I64";
    case v1::DTYPE_INT32:
      return "I32";
    case v1::DTYPE_UINT8:
      return "U8";
    case v1::DTYPE_BOOL:
      return "BOOL";
    default:
      LOG(FATAL) << "no safetensors name for dtype " << dtype;
      return "";
  }
}

size_t SafetensorsDTypeBytes(absl::string_view dtype) {
  for (const DTypeName& known : kDTypes) {
    if (dtype == known.name) return known.bytes;
  }
  return 0;
}

absl::StatusOr<uint64_t> TensorBytes(absl::string_view dtype, const std::vector<int64_t>& shape) {
  int64_t bytes = static_cast<int64_t>(SafetensorsDTypeBytes(dtype));
  if (bytes == 0) return absl::InvalidArgumentError(absl::StrCat("unknown dtype '", dtype, "'"));
  for (const int64_t size : shape) {
    if (size < 0) return absl::InvalidArgumentError(absl::StrCat("a size of ", size));
    if (__builtin_mul_overflow(bytes, size, &bytes)) {
      return absl::InvalidArgumentError("more bytes than 64 bits can count");
    }
  }
  return static_cast<uint64_t>(bytes);
}

absl::StatusOr<SafetensorsFile> SafetensorsFile::Open(const std::string& path) {
  SafetensorsFile opened;
  PENSTOCK_ASSIGN_OR_RETURN(opened.file_, File::OpenToRead(path));
  PENSTOCK_ASSIGN_OR_RETURN(opened.bytes_, opened.file_.Bytes());
  if (opened.bytes_ < 8) return absl::DataLossError(absl::StrCat(path, ": is too short for a safetensors file"));
  unsigned char raw[8];
  PENSTOCK_RETURN_IF_ERROR(opened.file_.ReadAt(0, raw, sizeof(raw)));
  uint64_t header_bytes = 0;
  for (int i = 7; i >= 0; --i) header_bytes = header_bytes << 8 | raw[i];
  if (header_bytes > limits::kMaxSafetensorsHeaderBytes || header_bytes > opened.bytes_ - 8) {
    return absl::DataLossError(absl::StrCat(path, ": states a header of ", header_bytes, " bytes; the file has ",
                                            opened.bytes_, ", and ", limits::kMaxSafetensorsHeaderBytes,
                                            " are allowed"));
  }
  std::string header(header_bytes, '\0');
  PENSTOCK_RETURN_IF_ERROR(opened.file_.ReadAt(8, header.data(), header.size()));
  PENSTOCK_RETURN_IF_ERROR(Annotate(opened.ParseHeader(header, 8 + header_bytes), absl::StrCat(path, ": header")));
  return opened;
}

absl::Status SafetensorsFile::ParseHeader(absl::string_view header, uint64_t data_begin) {
  PENSTOCK_ASSIGN_OR_RETURN(const Json root, ParseStrictJson(header, kHeaderDepth));
  if (!root.is_object()) return absl::DataLossError("is not a JSON object");
  for (const auto& [name, entry] : root.items()) {
    if (name == "__metadata__") {
      if (!entry.is_object()) return absl::DataLossError("'__metadata__' is not an object");
      for (const auto& [key, value] : entry.items()) {
        if (!value.is_string()) return absl::DataLossError("'__metadata__' holds something that is not a text");
        metadata_[key] = value.get<std::string>();
      }
      continue;
    }
    absl::StatusOr<StoredTensor> tensor = EntryOf(entry);
    if (!tensor.ok()) return Annotate(tensor.status(), absl::StrCat("tensor '", name, "'"));
    tensors_[name] = *std::move(tensor);
  }
  PENSTOCK_RETURN_IF_ERROR(CheckLayout(tensors_, bytes_ - data_begin));
  for (auto& [name, tensor] : tensors_) tensor.begin += data_begin;
  return absl::OkStatus();
}

absl::StatusOr<std::string> SafetensorsFile::Read(const std::string& name, void* out, uint64_t bytes) const {
  const auto found = tensors_.find(name);
  if (found == tensors_.end()) return NoSuchTensor(file_.path(), name);
  const StoredTensor& tensor = found->second;
  if (tensor.bytes != bytes) {
    return absl::InvalidArgumentError(
        absl::StrCat(file_.path(), ": tensor '", name, "' has ", tensor.bytes, " bytes, not ", bytes));
  }
  // Piece by piece, so that hashing finds each piece in the cache.
  Sha256 sha;
  char* to = static_cast<char*>(out);
  for (uint64_t done = 0; done < bytes; done += kPieceBytes) {
    const size_t piece = std::min(kPieceBytes, bytes - done);
    PENSTOCK_RETURN_IF_ERROR(file_.ReadAt(tensor.begin + done, to + done, piece));
    sha.Update(to + done, piece);
  }
  return sha.HexDigest();
}

absl::Status SafetensorsFile::ReadAt(const std::string& name, uint64_t offset, void* out, size_t bytes) const {
  const auto found = tensors_.find(name);
  if (found == tensors_.end()) return NoSuchTensor(file_.path(), name);
  CHECK(offset <= found->second.bytes && bytes <= found->second.bytes - offset);
  return file_.ReadAt(found->second.begin + offset, out, bytes);
}

absl::StatusOr<std::string> SafetensorsFile::Hash(const std::string& name) const {
  const auto found = tensors_.find(name);
  if (found == tensors_.end()) return NoSuchTensor(file_.path(), name);
  const StoredTensor& tensor = found->second;
  Sha256 sha;
  std::string piece(std::min(kPieceBytes, tensor.bytes), '\0');
  for (uint64_t done = 0; done < tensor.bytes; done += piece.size()) {
    const size_t bytes = std::min<uint64_t>(piece.size(), tensor.bytes - done);
    PENSTOCK_RETURN_IF_ERROR(file_.ReadAt(tensor.begin + done, piece.data(), bytes));
    sha.Update(piece.data(), bytes);
  }
  return sha.HexDigest();
}

}  // namespace penstock
