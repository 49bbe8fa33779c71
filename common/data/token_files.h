// Files of tokens, opened and checked: plain text, nanoGPT's and llm.c's .bin files, Megatron's .idx and .bin.
// Nothing a header says is believed before it is compared with the file, and no memory is taken by it.
// Source: docs/training.md, "Batches".
#ifndef PENSTOCK_COMMON_DATA_TOKEN_FILES_H_
#define PENSTOCK_COMMON_DATA_TOKEN_FILES_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/data/file_run.h"
#include "proto/job.pb.h"

namespace penstock {

// How one token lies in its file, little-endian.
enum class TokenType { kUint8, kUint16, kInt32, kUint32 };
size_t TokenBytes(TokenType type);
// The token at `raw`, at any address. REQUIRES: TokenBytes(type) bytes stand there.
int64_t TokenAt(const unsigned char* raw, TokenType type);

// The tokens of all files, one after the other.
struct TokenFiles {
  FileRun run;
  TokenType type = TokenType::kUint8;

  int64_t tokens() const { return static_cast<int64_t>(run.bytes() / TokenBytes(type)); }
};

// Opens the files of a dataset whose format HasTokens; of text, a byte is a token.
// Errors: NotFound: no such file, no match. InvalidArgument: empty, of half a token, a header that contradicts the
//         file, files of different token types; names the file, the place in it and what was expected.
absl::StatusOr<TokenFiles> OpenTokenFiles(const v1::Dataset& dataset);

// The two files of a Megatron dataset: "P.idx" and "P.bin" of the path P, P.bin or P.idx.
struct MegatronPaths {
  std::string index, tokens;
};
MegatronPaths MegatronPathsOf(const std::string& path);

// Checks the index of a Megatron dataset from its first byte to its last, in constant memory:
//   1. the mark, the version, the type of the tokens, and that the file is as long as its counts demand
//   2. each sequence's bytes begin where those of the one before it end, and the last ends where `token_bytes` does
//   3. documents begin at 0, never go back and end at the last sequence
// Returns: the tokens' type; uint16 and int32 are read.
// Errors:  InvalidArgument: names the entry that is wrong.
absl::StatusOr<TokenType> CheckMegatronIndex(const File& index, const std::string& tokens_path, uint64_t token_bytes);

}  // namespace penstock

#endif  // PENSTOCK_COMMON_DATA_TOKEN_FILES_H_
