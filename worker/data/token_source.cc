// Sequences of tokens: text, whose bytes are tokens or which a tokenizer reads; token files; Megatron's. Tokens on disk
// are read sample by sample, those that a tokenizer makes are made at once and kept.
#include <algorithm>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/data/token_files.h"
#include "common/status_macros.h"
#include "common/tokenizer/tokenizer.h"
#include "worker/data/sources.h"

namespace penstock {
namespace {

// Where tokens come from, by their position in the whole dataset.
class Tokens {
 public:
  virtual ~Tokens() = default;
  virtual int64_t size() const = 0;
  // Fills `tokens` with those from position `first` on. Errors: as DataSource::Read.
  virtual absl::Status Read(int64_t first, std::vector<int64_t>* tokens) const = 0;
  // "FILE: token 17", for errors.
  virtual std::string PlaceOf(int64_t position) const = 0;
};

class TokensOnDisk final : public Tokens {
 public:
  explicit TokensOnDisk(TokenFiles files) : files_(std::move(files)) {}

  int64_t size() const override { return files_.tokens(); }

  absl::Status Read(int64_t first, std::vector<int64_t>* tokens) const override {
    const size_t size = TokenBytes(files_.type);
    std::vector<unsigned char> raw(tokens->size() * size);
    PENSTOCK_RETURN_IF_ERROR(files_.run.ReadAt(static_cast<uint64_t>(first) * size, raw.data(), raw.size()));
    for (size_t i = 0; i < tokens->size(); ++i) (*tokens)[i] = TokenAt(&raw[i * size], files_.type);
    return absl::OkStatus();
  }

  std::string PlaceOf(int64_t position) const override {
    const FilePlace place = files_.run.PlaceOf(static_cast<uint64_t>(position) * TokenBytes(files_.type));
    if (files_.run.files() == 1) return absl::StrCat(place.path, ": token ", position);
    return absl::StrCat(place.path, ": byte ", place.byte, ": token ", position, " of the whole");
  }

 private:
  const TokenFiles files_;
};

class EncodedTokens final : public Tokens {
 public:
  EncodedTokens(std::string path, std::vector<int32_t> tokens) : path_(std::move(path)), tokens_(std::move(tokens)) {}

  int64_t size() const override { return static_cast<int64_t>(tokens_.size()); }
  absl::Status Read(int64_t first, std::vector<int64_t>* tokens) const override {
    std::copy_n(tokens_.begin() + first, tokens->size(), tokens->begin());
    return absl::OkStatus();
  }
  std::string PlaceOf(int64_t position) const override {
    return absl::StrCat(path_, ": token ", position, " of the encoded text");
  }

 private:
  const std::string path_;
  const std::vector<int32_t> tokens_;
};

class TokenSource final : public DataSource {
 public:
  TokenSource(std::unique_ptr<const Tokens> tokens, Part part, const TokenOptions& options)
      : tokens_(std::move(tokens)), part_(part), options_(options) {
    layout_.input_dtype = layout_.target_dtype = v1::DTYPE_INT64;
    layout_.input_shape = layout_.target_shape = {options.seq_len};
    layout_.input_bytes = layout_.target_bytes = static_cast<size_t>(options.seq_len) * sizeof(int64_t);
  }

  int64_t samples() const override { return (part_.size() - 1) / options_.seq_len; }
  const SampleLayout& layout() const override { return layout_; }

  absl::Status Read(absl::Span<const SampleRef> samples, char* inputs, char* targets) const override {
    // One token more than a sequence: targets are the inputs shifted by one.
    std::vector<int64_t> tokens(static_cast<size_t>(options_.seq_len) + 1);
    for (const SampleRef& sample : samples) {
      PENSTOCK_RETURN_IF_ERROR(tokens_->Read(part_.begin + sample.index * options_.seq_len, &tokens));
      if (inputs != nullptr) {
        PENSTOCK_RETURN_IF_ERROR(Check(sample, absl::MakeConstSpan(tokens).first(options_.seq_len), 0, options_.vocab));
        inputs = Put(tokens.data(), inputs);
      }
      if (targets != nullptr) {
        PENSTOCK_RETURN_IF_ERROR(Check(sample, absl::MakeConstSpan(tokens).subspan(1), 1, options_.classes));
        if (!sample.counted) std::fill(tokens.begin(), tokens.end(), kIgnoredTarget);
        targets = Put(tokens.data() + 1, targets);
      }
    }
    return absl::OkStatus();
  }

 private:
  absl::Status Check(const SampleRef& sample, absl::Span<const int64_t> tokens, int64_t shift, int64_t bound) const {
    for (size_t i = 0; i < tokens.size(); ++i) {
      if (tokens[i] >= 0 && (bound == 0 || tokens[i] < bound)) continue;
      const int64_t position = part_.begin + sample.index * options_.seq_len + shift + static_cast<int64_t>(i);
      return absl::InvalidArgumentError(
          absl::StrCat(tokens_->PlaceOf(position), " is ", tokens[i],
                       tokens[i] < 0 ? ": tokens are not negative"
                                     : absl::StrCat(", but the model's vocabulary has ", bound, " entries")));
    }
    return absl::OkStatus();
  }

  char* Put(const int64_t* tokens, char* to) const {
    const char* from = reinterpret_cast<const char*>(tokens);
    return std::copy(from, from + layout_.input_bytes, to);
  }

  const std::unique_ptr<const Tokens> tokens_;
  const Part part_;
  const TokenOptions options_;
  SampleLayout layout_;
};

// The text of all files, one after the other, as tokens.
absl::StatusOr<std::unique_ptr<const Tokens>> EncodeText(const std::string& path, const TokenFiles& files,
                                                         const TokenOptions& options) {
  PENSTOCK_RETURN_IF_ERROR(CheckTextBytes(options.tokenizer->kind(), files.run.bytes(), path));
  PENSTOCK_ASSIGN_OR_RETURN(const std::unique_ptr<Tokenizer> tokenizer, Tokenizer::Open(*options.tokenizer));
  std::string text(files.run.bytes(), '\0');
  PENSTOCK_RETURN_IF_ERROR(files.run.ReadAt(0, text.data(), text.size()));
  PENSTOCK_ASSIGN_OR_RETURN(std::vector<int32_t> tokens, tokenizer->Encode(text));
  return std::make_unique<EncodedTokens>(path, std::move(tokens));
}

}  // namespace

absl::StatusOr<std::unique_ptr<DataSource>> OpenTokens(const v1::Dataset& dataset, const TokenOptions& options) {
  if (options.seq_len < 1) {
    return absl::InvalidArgumentError(absl::StrCat(dataset.path(), ": data.seq_len must be at least 1"));
  }
  PENSTOCK_ASSIGN_OR_RETURN(TokenFiles files, OpenTokenFiles(dataset));
  std::unique_ptr<const Tokens> tokens;
  if (dataset.format() == v1::Dataset::FORMAT_TEXT && options.tokenizer != nullptr) {
    PENSTOCK_ASSIGN_OR_RETURN(tokens, EncodeText(dataset.path(), files, options));
  } else {
    tokens = std::make_unique<TokensOnDisk>(std::move(files));
  }
  PENSTOCK_ASSIGN_OR_RETURN(const Part part, PartOf(dataset, tokens->size()));
  if (part.size() <= options.seq_len) {
    return absl::InvalidArgumentError(absl::StrCat(dataset.path(), ": its part has ", part.size(),
                                                   " tokens; one sequence and its targets need ", options.seq_len + 1,
                                                   " (data.seq_len + 1)"));
  }
  return std::make_unique<TokenSource>(std::move(tokens), part, options);
}

}  // namespace penstock
