#include "common/data/token_files.h"

#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/data/byte_order.h"
#include "common/status_macros.h"

namespace penstock {
namespace {

// llm.c puts 256 little-endian int32 before its tokens: a mark, a version, their number, zeros.
constexpr uint64_t kHeaderBytes = 1024;
struct HeaderKind {
  uint32_t mark, version;
  TokenType type;
};
constexpr HeaderKind kHeaderKinds[] = {{20240520, 1, TokenType::kUint16}, {20240801, 7, TokenType::kUint32}};

absl::Status Fault(const std::string& path, absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat(path, ": ", what));
}

// Where the tokens of a file lie.
struct TokenStretch {
  TokenType type;
  uint64_t begin, bytes;
};

// The tokens behind a header of llm.c; nullopt: the file has none.
absl::StatusOr<std::optional<TokenStretch>> BehindHeader(const File& file, uint64_t bytes) {
  unsigned char raw[12];
  if (bytes < sizeof(raw)) return std::nullopt;
  PENSTOCK_RETURN_IF_ERROR(file.ReadAt(0, raw, sizeof(raw)));
  const uint32_t mark = LittleEndian32(raw), version = LittleEndian32(raw + 4), count = LittleEndian32(raw + 8);
  for (const HeaderKind& kind : kHeaderKinds) {
    if (mark != kind.mark) continue;
    if (version != kind.version) {
      return Fault(file.path(), absl::StrCat("begins with ", mark, ", the mark of a header, and states version ",
                                             version, " (byte 4); version ", kind.version, " is read"));
    }
    const uint64_t needed = kHeaderBytes + uint64_t{count} * TokenBytes(kind.type);
    if (bytes != needed) {
      return Fault(file.path(), absl::StrCat("its header states ", count, " tokens (byte 8), which make a file of ",
                                             needed, " bytes; it has ", bytes, ": copy or write it again"));
    }
    if (count == 0) return Fault(file.path(), "its header states no tokens (byte 8)");
    return TokenStretch{kind.type, kHeaderBytes, bytes - kHeaderBytes};
  }
  return std::nullopt;
}

absl::StatusOr<TokenStretch> StretchOf(const File& file, uint64_t bytes, v1::Dataset::Format format) {
  if (bytes == 0) return Fault(file.path(), "is empty");
  if (format == v1::Dataset::FORMAT_TEXT) return TokenStretch{TokenType::kUint8, 0, bytes};
  PENSTOCK_ASSIGN_OR_RETURN(const auto behind_header, BehindHeader(file, bytes));
  if (behind_header.has_value()) return *behind_header;
  const uint64_t token_bytes = TokenBytes(TokenType::kUint16);
  if (bytes % token_bytes != 0) {
    return Fault(file.path(), absl::StrCat("has ", bytes, " bytes; tokens are ", token_bytes,
                                           " bytes each, so half of one is missing"));
  }
  return TokenStretch{TokenType::kUint16, 0, bytes};
}

absl::StatusOr<TokenFiles> OpenMegatron(const std::string& path) {
  const MegatronPaths paths = MegatronPathsOf(path);
  PENSTOCK_ASSIGN_OR_RETURN(const File index, File::OpenToRead(paths.index));
  PENSTOCK_ASSIGN_OR_RETURN(File tokens, File::OpenToRead(paths.tokens));
  PENSTOCK_ASSIGN_OR_RETURN(const uint64_t bytes, tokens.Bytes());
  if (bytes == 0) return Fault(paths.tokens, "is empty");
  TokenFiles files;
  PENSTOCK_ASSIGN_OR_RETURN(files.type, CheckMegatronIndex(index, paths.tokens, bytes));
  files.run.Append(std::move(tokens), 0, bytes);
  return files;
}

const char* TypeName(TokenType type) {
  switch (type) {
    case TokenType::kUint8:
      return "bytes";
    case TokenType::kUint16:
      return "uint16";
    case TokenType::kInt32:
      return "int32";
    default:
      return "uint32";
  }
}

}  // namespace

size_t TokenBytes(TokenType type) {
  switch (type) {
    case TokenType::kUint8:
      return 1;
    case TokenType::kUint16:
      return 2;
    default:
      return 4;
  }
}

int64_t TokenAt(const unsigned char* raw, TokenType type) {
  switch (type) {
    case TokenType::kUint8:
      return *raw;
    case TokenType::kUint16:
      return LittleEndian16(raw);
    case TokenType::kInt32:
      return static_cast<int32_t>(LittleEndian32(raw));
    default:
      return LittleEndian32(raw);
  }
}

absl::StatusOr<TokenFiles> OpenTokenFiles(const v1::Dataset& dataset) {
  if (dataset.format() == v1::Dataset::FORMAT_MEGATRON) return OpenMegatron(dataset.path());
  PENSTOCK_ASSIGN_OR_RETURN(const std::vector<std::string> paths, FilesNamed(dataset.path()));
  TokenFiles files;
  for (const std::string& path : paths) {
    PENSTOCK_ASSIGN_OR_RETURN(File file, File::OpenToRead(path));
    PENSTOCK_ASSIGN_OR_RETURN(const uint64_t bytes, file.Bytes());
    PENSTOCK_ASSIGN_OR_RETURN(const TokenStretch stretch, StretchOf(file, bytes, dataset.format()));
    if (files.run.files() > 0 && files.type != stretch.type) {
      return Fault(
          path, absl::StrCat("its tokens are ", TypeName(stretch.type), ", those of ", files.run.PlaceOf(0).path, " ",
                             TypeName(files.type), ": one dataset has tokens of one type"));
    }
    files.type = stretch.type;
    files.run.Append(std::move(file), stretch.begin, stretch.bytes);
  }
  return files;
}

}  // namespace penstock
