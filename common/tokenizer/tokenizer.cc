#include "common/tokenizer/tokenizer.h"

#include <limits>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "common/status_macros.h"
#include "common/tokenizer/bpe.h"
#include "common/tokenizer/sentencepiece.h"
#include "common/tokenizer/utf8.h"

namespace penstock {
namespace {

// A byte is a token.
class ByteTokenizer final : public Tokenizer {
 public:
  int64_t size() const override { return 256; }

  absl::StatusOr<std::vector<int32_t>> Encode(absl::string_view text) const override {
    std::vector<int32_t> tokens;
    for (const char c : text) tokens.push_back(static_cast<unsigned char>(c));
    return tokens;
  }

  std::string Decode(absl::Span<const int64_t> tokens) const override {
    std::string text;
    for (const int64_t token : tokens) {
      if (token >= 0 && token < size()) {
        text.push_back(static_cast<char>(token));
      } else {
        absl::StrAppend(&text, kReplacementCharacter);
      }
    }
    return text;
  }
};

// Tokens without a text: "17 4".
class NumberTokenizer final : public Tokenizer {
 public:
  int64_t size() const override { return 0; }

  absl::StatusOr<std::vector<int32_t>> Encode(absl::string_view text) const override {
    std::vector<int32_t> tokens;
    for (absl::string_view word : absl::StrSplit(text, absl::ByAnyChar(" ,\t\n"), absl::SkipEmpty())) {
      int32_t token = 0;
      if (!absl::SimpleAtoi(word, &token) || token < 0) {
        return absl::InvalidArgumentError(
            absl::StrCat("'", word.substr(0, 40), "' is not a token: the job's data have no text form; write numbers, ",
                         "or give the job data.tokenizer"));
      }
      tokens.push_back(token);
    }
    return tokens;
  }

  std::string Decode(absl::Span<const int64_t> tokens) const override { return absl::StrJoin(tokens, " "); }
};

}  // namespace

absl::StatusOr<std::unique_ptr<Tokenizer>> Tokenizer::Open(const v1::Tokenizer& tokenizer) {
  switch (tokenizer.kind()) {
    case v1::Tokenizer::BPE:
      return BpeTokenizer::Open(tokenizer.path());
    case v1::Tokenizer::SENTENCEPIECE:
      return SentencePieceTokenizer::Open(tokenizer.path());
    default:
      return absl::InvalidArgumentError("data.tokenizer is of no kind: bpe or sentencepiece");
  }
}

absl::StatusOr<std::unique_ptr<Tokenizer>> Tokenizer::OfJob(const v1::Data& data) {
  if (data.has_tokenizer()) return Open(data.tokenizer());
  if (data.train().format() == v1::Dataset::FORMAT_TEXT) return std::make_unique<ByteTokenizer>();
  return std::make_unique<NumberTokenizer>();
}

uint64_t MaxTextBytes(v1::Tokenizer::Kind kind) {
  return uint64_t{kind == v1::Tokenizer::SENTENCEPIECE ? 16u : 256u} << 20;
}

absl::Status CheckTextBytes(v1::Tokenizer::Kind kind, uint64_t bytes, const std::string& path) {
  if (bytes <= MaxTextBytes(kind)) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      path, ": has ", bytes, " bytes of text; a ", kind == v1::Tokenizer::SENTENCEPIECE ? "sentencepiece" : "bpe",
      " tokenizer reads at most ", MaxTextBytes(kind),
      " when a job is loaded: encode it once into a file of the format tokens, or train on less of it"));
}

absl::StatusOr<std::vector<int64_t>> EncodePrompt(const Tokenizer& tokenizer, absl::string_view text) {
  PENSTOCK_ASSIGN_OR_RETURN(const std::vector<int32_t> tokens, tokenizer.Encode(text));
  if (tokens.empty()) {
    return absl::InvalidArgumentError("the prompt has no tokens: the model needs at least one to go on from");
  }
  return std::vector<int64_t>(tokens.begin(), tokens.end());
}

}  // namespace penstock
