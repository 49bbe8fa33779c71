#include "common/tokenizer/text_stream.h"

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/string_view.h"
#include "common/tokenizer/utf8.h"

namespace penstock {
namespace {

// How much of the text no later token can change: not a character that lacks bytes, nor what a tokenizer puts in the
// place of one.
size_t CertainBytes(absl::string_view text) {
  const absl::string_view whole = text;
  text.remove_suffix(IncompleteUtf8Bytes(text));
  if (text.size() < whole.size()) return text.size();
  while (absl::EndsWith(text, kReplacementCharacter)) text.remove_suffix(kReplacementCharacter.size());
  return text.size();
}

}  // namespace

TextStream::TextStream(const Tokenizer* tokenizer, std::vector<int64_t> prompt)
    : tokenizer_(tokenizer), tokens_(std::move(prompt)), given_(tokenizer_->Decode(tokens_)) {
  given_.resize(CertainBytes(given_));
}

std::string TextStream::Push(int64_t token) {
  tokens_.push_back(token);
  const std::string text = tokenizer_->Decode(tokens_);
  return Advance(text, CertainBytes(text));
}

std::string TextStream::Finish() {
  const std::string text = tokenizer_->Decode(tokens_);
  return Advance(text, text.size());
}

std::string TextStream::Advance(const std::string& text, size_t end) {
  const auto changed = std::mismatch(text.begin(), text.end(), given_.begin(), given_.end()).first;
  const auto begin = static_cast<size_t>(changed - text.begin());
  if (begin >= end) return "";
  given_ = text.substr(0, end);
  return text.substr(begin, end - begin);
}

}  // namespace penstock
