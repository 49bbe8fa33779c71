// Text, whose bytes are tokens, and token files of little-endian uint16. Read sample by sample from the file, not
// mapped: a file that shrinks under a running job is an error to report, not a signal.
#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/file.h"
#include "common/status_macros.h"
#include "worker/data/sources.h"

namespace penstock {
namespace {

class TokenSource final : public DataSource {
 public:
  TokenSource(File file, Part part, int token_bytes, const TokenOptions& options)
      : file_(std::move(file)), part_(part), token_bytes_(token_bytes), options_(options) {
    layout_.input_dtype = layout_.target_dtype = v1::DTYPE_INT64;
    layout_.input_shape = layout_.target_shape = {options.seq_len};
    layout_.input_bytes = layout_.target_bytes = static_cast<size_t>(options.seq_len) * sizeof(int64_t);
  }

  int64_t samples() const override { return (part_.end - part_.begin - 1) / options_.seq_len; }
  const SampleLayout& layout() const override { return layout_; }

  absl::Status Read(absl::Span<const SampleRef> samples, char* inputs, char* targets) const override {
    std::string raw;
    // One token more than a sequence: targets are the inputs shifted by one.
    std::vector<int64_t> tokens(static_cast<size_t>(options_.seq_len) + 1);
    for (const SampleRef& sample : samples) {
      PENSTOCK_RETURN_IF_ERROR(ReadTokens(part_.begin + sample.index * options_.seq_len, &raw, &tokens));
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
  // Reads tokens->size() tokens from position `first` of the file.
  absl::Status ReadTokens(int64_t first, std::string* raw, std::vector<int64_t>* tokens) const {
    raw->resize(tokens->size() * static_cast<size_t>(token_bytes_));
    PENSTOCK_RETURN_IF_ERROR(file_.ReadAt(static_cast<uint64_t>(first * token_bytes_), raw->data(), raw->size()));
    const auto* bytes = reinterpret_cast<const unsigned char*>(raw->data());
    for (size_t i = 0; i < tokens->size(); ++i) {
      (*tokens)[i] = token_bytes_ == 1 ? bytes[i] : bytes[2 * i] | bytes[2 * i + 1] << 8;
    }
    return absl::OkStatus();
  }

  absl::Status Check(const SampleRef& sample, absl::Span<const int64_t> tokens, int64_t shift, int64_t bound) const {
    if (bound == 0) return absl::OkStatus();
    for (size_t i = 0; i < tokens.size(); ++i) {
      if (tokens[i] < bound) continue;
      const int64_t position = part_.begin + sample.index * options_.seq_len + shift + static_cast<int64_t>(i);
      return absl::InvalidArgumentError(absl::StrCat(file_.path(), ": token ", position, " is ", tokens[i],
                                                     ", but the model's vocabulary has ", bound, " entries"));
    }
    return absl::OkStatus();
  }

  char* Put(const int64_t* tokens, char* to) const {
    const char* from = reinterpret_cast<const char*>(tokens);
    return std::copy(from, from + layout_.input_bytes, to);
  }

  const File file_;
  const Part part_;
  const int token_bytes_;
  const TokenOptions options_;
  SampleLayout layout_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<DataSource>> OpenTokens(const v1::Dataset& dataset, const TokenOptions& options) {
  if (options.seq_len < 1) {
    return absl::InvalidArgumentError(absl::StrCat(dataset.path(), ": data.seq_len must be at least 1"));
  }
  const int token_bytes = dataset.format() == v1::Dataset::FORMAT_TOKENS ? 2 : 1;
  PENSTOCK_ASSIGN_OR_RETURN(File file, File::OpenToRead(dataset.path()));
  PENSTOCK_ASSIGN_OR_RETURN(const uint64_t bytes, file.Bytes());
  if (bytes == 0) return absl::InvalidArgumentError(absl::StrCat(dataset.path(), ": is empty"));
  if (bytes % token_bytes != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat(dataset.path(), ": has ", bytes, " bytes; tokens are 2 bytes each, so half of one is missing"));
  }
  PENSTOCK_ASSIGN_OR_RETURN(const Part part, PartOf(dataset, static_cast<int64_t>(bytes) / token_bytes));
  if (part.end - part.begin <= options.seq_len) {
    return absl::InvalidArgumentError(absl::StrCat(dataset.path(), ": its part has ", part.end - part.begin,
                                                   " tokens; one sequence and its targets need ", options.seq_len + 1,
                                                   " (data.seq_len + 1)"));
  }
  return std::make_unique<TokenSource>(std::move(file), part, token_bytes, options);
}

}  // namespace penstock
