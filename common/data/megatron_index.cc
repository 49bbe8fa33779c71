// The index of a Megatron dataset (MMapIndexedDataset), all little-endian:
//   9 bytes   "MMIDIDX\0\0"
//   uint64    version, 1
//   uint8     type of the tokens: 4 int32, 8 uint16, others are not read
//   uint64    sequences
//   uint64    entries of the list of documents
//   int32     for each sequence: its tokens
//   int64     for each sequence: the byte where it begins
//   int64     for each document: its first sequence; then the number of sequences
#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "common/data/byte_order.h"
#include "common/data/token_files.h"
#include "common/status_macros.h"

namespace penstock {
namespace {

constexpr char kMark[] = "MMIDIDX\0";  // with the literal's own zero: 9 bytes
constexpr char kOldMark[] = "TNTIDX\0";
constexpr uint64_t kHeaderBytes = sizeof(kMark) + 8 + 1 + 8 + 8;
constexpr uint64_t kVersion = 1;
constexpr uint64_t kLengthBytes = 4, kPointerBytes = 8;

// Entries that are read at a time.
constexpr uint64_t kEntries = 1 << 14;

struct Header {
  TokenType type;
  uint64_t sequences, documents;
};

absl::Status Fault(const File& index, absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat(index.path(), ": ", what));
}

absl::StatusOr<TokenType> TypeOfCode(const File& index, int code) {
  static constexpr const char* kNames[] = {nullptr, "uint8",   "int8",    "int16", "int32",
                                           "int64", "float64", "float32", "uint16"};
  if (code == 4) return TokenType::kInt32;
  if (code == 8) return TokenType::kUint16;
  const char* name = code >= 1 && code <= 8 ? kNames[code] : nullptr;
  return Fault(index, absl::StrCat("states tokens of type ", code, " (byte 17)",
                                   name == nullptr ? ", which is none" : absl::StrCat(", ", name),
                                   "; int32 (4) and uint16 (8) are read"));
}

absl::StatusOr<Header> ReadHeader(const File& index, uint64_t bytes) {
  unsigned char raw[kHeaderBytes];
  if (bytes < sizeof(raw)) return Fault(index, absl::StrCat("has ", bytes, " bytes, its header alone ", sizeof(raw)));
  PENSTOCK_RETURN_IF_ERROR(index.ReadAt(0, raw, sizeof(raw)));
  if (std::memcmp(raw, kOldMark, sizeof(kOldMark)) == 0) {
    return Fault(index, "is an index of the old kind (TNTIDX): write the data again as MMIDIDX, Megatron's 'mmap'");
  }
  if (std::memcmp(raw, kMark, sizeof(kMark)) != 0) {
    return Fault(index, "does not begin with MMIDIDX: it is not the index of a Megatron dataset");
  }
  const uint64_t version = LittleEndian64(raw + 9);
  if (version != kVersion) {
    return Fault(index, absl::StrCat("states version ", version, " (byte 9); version ", kVersion, " is read"));
  }
  Header header;
  PENSTOCK_ASSIGN_OR_RETURN(header.type, TypeOfCode(index, raw[17]));
  header.sequences = LittleEndian64(raw + 18);
  header.documents = LittleEndian64(raw + 26);
  // Compared by division: the counts may be anything.
  const uint64_t left = bytes - kHeaderBytes;
  const bool possible = header.sequences <= left / (kLengthBytes + kPointerBytes) &&
                        header.documents <= left / kPointerBytes &&
                        header.sequences * (kLengthBytes + kPointerBytes) + header.documents * kPointerBytes == left;
  if (!possible) {
    return Fault(index, absl::StrCat("states ", header.sequences, " sequences (byte 18) and ", header.documents,
                                     " entries of documents (byte 26), which does not make its ", bytes,
                                     " bytes: it is damaged, or of a multimodal dataset"));
  }
  if (header.sequences == 0) return Fault(index, "has no sequences");
  return header;
}

// Calls `check(number, entry)` for each entry of `entry_bytes`, from byte `begin` on.
template <typename Check>
absl::Status ForEach(const File& index, uint64_t begin, uint64_t count, uint64_t entry_bytes, Check check) {
  std::vector<unsigned char> raw(static_cast<size_t>(std::min(count, kEntries) * entry_bytes));
  for (uint64_t first = 0; first < count; first += kEntries) {
    const uint64_t here = std::min(kEntries, count - first);
    PENSTOCK_RETURN_IF_ERROR(index.ReadAt(begin + first * entry_bytes, raw.data(), here * entry_bytes));
    for (uint64_t i = 0; i < here; ++i) PENSTOCK_RETURN_IF_ERROR(check(first + i, raw.data() + i * entry_bytes));
  }
  return absl::OkStatus();
}

// Sequences lie back to back. Lengths and pointers stand apart: a block of each is read in turn.
absl::Status CheckSequences(const File& index, const Header& header, uint64_t token_bytes) {
  const uint64_t lengths_at = kHeaderBytes, pointers_at = kHeaderBytes + header.sequences * kLengthBytes;
  const uint64_t size = TokenBytes(header.type);
  std::vector<unsigned char> lengths(static_cast<size_t>(std::min(header.sequences, kEntries) * kLengthBytes));
  uint64_t at = 0;
  return ForEach(
      index, pointers_at, header.sequences, kPointerBytes, [&](uint64_t i, const unsigned char* raw) -> absl::Status {
        if (i % kEntries == 0) {
          const uint64_t here = std::min(kEntries, header.sequences - i);
          PENSTOCK_RETURN_IF_ERROR(index.ReadAt(lengths_at + i * kLengthBytes, lengths.data(), here * kLengthBytes));
        }
        const auto begin = static_cast<int64_t>(LittleEndian64(raw));
        const auto length = static_cast<int32_t>(LittleEndian32(&lengths[(i % kEntries) * kLengthBytes]));
        if (length < 0) return Fault(index, absl::StrCat("sequence ", i, " states ", length, " tokens"));
        if (begin != static_cast<int64_t>(at)) {
          return Fault(index, absl::StrCat("sequence ", i, " begins at byte ", begin, " of the tokens, the one before ",
                                           "it ends at ", at, ": sequences must lie one after the other"));
        }
        if (static_cast<uint64_t>(length) > (token_bytes - at) / size) {
          return Fault(index, absl::StrCat("sequence ", i, " has ", length, " tokens from byte ", at, " on; the file ",
                                           "of tokens has ", token_bytes, " bytes: it is truncated, or another's"));
        }
        at += static_cast<uint64_t>(length) * size;
        if (i + 1 == header.sequences && at != token_bytes) {
          return Fault(index, absl::StrCat("its sequences end at byte ", at, " of the tokens; their file has ",
                                           token_bytes, " bytes: it is another's"));
        }
        return absl::OkStatus();
      });
}

absl::Status CheckDocuments(const File& index, const Header& header) {
  const uint64_t begin = kHeaderBytes + header.sequences * (kLengthBytes + kPointerBytes);
  uint64_t last = 0;
  PENSTOCK_RETURN_IF_ERROR(
      ForEach(index, begin, header.documents, kPointerBytes, [&](uint64_t i, const unsigned char* raw) -> absl::Status {
        const auto first = static_cast<int64_t>(LittleEndian64(raw));
        const bool good = i == 0
                              ? first == 0
                              : first >= static_cast<int64_t>(last) && first <= static_cast<int64_t>(header.sequences);
        if (!good) {
          return Fault(index,
                       absl::StrCat("document ", i, " begins with sequence ", first, ": documents begin with 0, ",
                                    "do not go back, and there are ", header.sequences, " sequences"));
        }
        last = static_cast<uint64_t>(first);
        return absl::OkStatus();
      }));
  if (last == header.sequences) return absl::OkStatus();
  return Fault(index, absl::StrCat("its documents end with sequence ", last, " of ", header.sequences));
}

}  // namespace

MegatronPaths MegatronPathsOf(const std::string& path) {
  absl::string_view prefix = path;
  if (absl::EndsWith(prefix, ".bin") || absl::EndsWith(prefix, ".idx")) prefix.remove_suffix(4);
  return {absl::StrCat(prefix, ".idx"), absl::StrCat(prefix, ".bin")};
}

absl::StatusOr<TokenType> CheckMegatronIndex(const File& index, const std::string& tokens_path, uint64_t token_bytes) {
  PENSTOCK_ASSIGN_OR_RETURN(const uint64_t bytes, index.Bytes());
  PENSTOCK_ASSIGN_OR_RETURN(const Header header, ReadHeader(index, bytes));
  if (token_bytes % TokenBytes(header.type) != 0) {
    return absl::InvalidArgumentError(absl::StrCat(tokens_path, ": has ", token_bytes, " bytes; its tokens are ",
                                                   TokenBytes(header.type), " bytes each: it is truncated"));
  }
  PENSTOCK_RETURN_IF_ERROR(CheckSequences(index, header, token_bytes));
  PENSTOCK_RETURN_IF_ERROR(CheckDocuments(index, header));
  return header.type;
}

}  // namespace penstock
