// GPT-2's cutting of a text into words, before they are encoded. Thread-safe.
// Source: docs/training.md, "Tokenizers".
#ifndef PENSTOCK_COMMON_TOKENIZER_WORD_SPLITTER_H_
#define PENSTOCK_COMMON_TOKENIZER_WORD_SPLITTER_H_

#include <functional>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace penstock {

class WordSplitter {
 public:
  // Errors: Internal: the expression could not be compiled.
  static absl::StatusOr<WordSplitter> Create();

  // Calls `word` for each word of the text, in order; they join to it. Runs of bytes that are not UTF-8 are words.
  // Errors: Internal: the matcher failed. ResourceExhausted: it ran out of memory.
  absl::Status Split(absl::string_view text, const std::function<void(absl::string_view)>& word) const;

 private:
  struct Code;
  explicit WordSplitter(std::shared_ptr<const Code> code) : code_(std::move(code)) {}
  // The same for text that is UTF-8.
  absl::Status SplitUtf8(absl::string_view text, const std::function<void(absl::string_view)>& word) const;

  std::shared_ptr<const Code> code_;
};

}  // namespace penstock

#endif  // PENSTOCK_COMMON_TOKENIZER_WORD_SPLITTER_H_
