// The text of tokens that come one by one. Thread-compatible.
#ifndef PENSTOCK_COMMON_TOKENIZER_TEXT_STREAM_H_
#define PENSTOCK_COMMON_TOKENIZER_TEXT_STREAM_H_

#include <cstdint>
#include <string>
#include <vector>

#include "common/tokenizer/tokenizer.h"

namespace penstock {

// Gives the text behind a prompt in pieces that join to it. A character that is not whole yet is held back, and a token
// is read in the light of those before it: the pieces are not what each token alone would say.
class TextStream {
 public:
  // Args: tokenizer: outlives this. prompt: what the text begins with; it is not given out.
  TextStream(const Tokenizer* tokenizer, std::vector<int64_t> prompt);

  // The text that one more token makes certain; may be empty.
  std::string Push(int64_t token);
  // The rest, when no token follows.
  std::string Finish();

 private:
  // The text from what was given out to `end` bytes of `text`.
  std::string Advance(const std::string& text, size_t end);

  const Tokenizer* tokenizer_;
  std::vector<int64_t> tokens_;
  std::string given_;  // the prompt, and what was given out
};

}  // namespace penstock

#endif  // PENSTOCK_COMMON_TOKENIZER_TEXT_STREAM_H_
