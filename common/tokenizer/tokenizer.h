// Text as tokens, and tokens as text. Thread-safe once open.
// Source: docs/training.md, "Tokenizers".
#ifndef PENSTOCK_COMMON_TOKENIZER_TOKENIZER_H_
#define PENSTOCK_COMMON_TOKENIZER_TOKENIZER_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "proto/job.pb.h"

namespace penstock {

class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  // Opens a tokenizer's files and checks them whole.
  // Errors: NotFound: a file is missing. InvalidArgument: damaged, or of a kind that is not read; names file and place.
  static absl::StatusOr<std::unique_ptr<Tokenizer>> Open(const v1::Tokenizer& tokenizer);

  // How a job's tokens are read and shown: by data.tokenizer; without one, the tokens of text are its bytes, and those
  // of other data are numbers, which stand between spaces or commas. Errors: as Open.
  static absl::StatusOr<std::unique_ptr<Tokenizer>> OfJob(const v1::Data& data);

  // Tokens are numbers in [0, size); 0: any.
  virtual int64_t size() const = 0;

  // Adds no token at the beginning or the end. Text that is not UTF-8 is taken as the class says.
  // Errors: InvalidArgument: the text has no tokens (numbers only); names the place.
  virtual absl::StatusOr<std::vector<int32_t>> Encode(absl::string_view text) const = 0;

  // What the tokens say. One that is outside of [0, size) says U+FFFD.
  virtual std::string Decode(absl::Span<const int64_t> tokens) const = 0;
};

// The largest text that a tokenizer of this kind takes at once, in bytes: bpe reads it word by word, and holds little
// beside the text and its tokens; sentencepiece weighs a whole text at once, in some 80 times its bytes (1.25 GiB).
uint64_t MaxTextBytes(v1::Tokenizer::Kind kind);

// Whether a data set's text is not larger. Errors: InvalidArgument: says so, and what to do.
absl::Status CheckTextBytes(v1::Tokenizer::Kind kind, uint64_t bytes, const std::string& path);

// Encode, as the passes take tokens. Errors: as Encode. InvalidArgument: `text` is empty.
absl::StatusOr<std::vector<int64_t>> EncodePrompt(const Tokenizer& tokenizer, absl::string_view text);

}  // namespace penstock

#endif  // PENSTOCK_COMMON_TOKENIZER_TOKENIZER_H_
