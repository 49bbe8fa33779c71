#include "common/tokenizer/utf8.h"

#include <algorithm>

namespace penstock {
namespace {

bool Continues(char c) { return (static_cast<unsigned char>(c) & 0xC0) == 0x80; }

// Bytes of the character that a byte begins; 0: it begins none.
size_t BytesAfter(unsigned char first) {
  if (first < 0x80) return 1;
  if (first < 0xC2) return 0;  // a continuation, or overlong
  if (first < 0xE0) return 2;
  if (first < 0xF0) return 3;
  return first < 0xF5 ? 4 : 0;
}

// Whether the second byte may follow the first: it rules out overlong forms, surrogates and what is above U+10FFFF.
bool SecondFits(unsigned char first, unsigned char second) {
  switch (first) {
    case 0xE0:
      return second >= 0xA0;
    case 0xED:
      return second < 0xA0;
    case 0xF0:
      return second >= 0x90;
    case 0xF4:
      return second < 0x90;
    default:
      return true;
  }
}

}  // namespace

size_t Utf8CharBytes(absl::string_view text) {
  if (text.empty()) return 0;
  const size_t bytes = BytesAfter(static_cast<unsigned char>(text[0]));
  if (bytes == 0 || bytes > text.size()) return 0;
  if (bytes > 1 && !SecondFits(static_cast<unsigned char>(text[0]), static_cast<unsigned char>(text[1]))) return 0;
  return std::all_of(text.begin() + 1, text.begin() + bytes, Continues) ? bytes : 0;
}

uint32_t Utf8CodePoint(absl::string_view text) {
  const size_t bytes = Utf8CharBytes(text);
  const auto first = static_cast<unsigned char>(text[0]);
  uint32_t code_point = bytes == 1 ? first : first & (0xFFu >> (bytes + 1));
  for (size_t i = 1; i < bytes; ++i) code_point = code_point << 6 | (static_cast<unsigned char>(text[i]) & 0x3F);
  return code_point;
}

size_t IncompleteUtf8Bytes(absl::string_view text) {
  for (size_t bytes = 1; bytes <= std::min<size_t>(text.size(), 3); ++bytes) {
    const absl::string_view tail = text.substr(text.size() - bytes);
    if (Continues(tail[0])) continue;
    const bool fits = bytes < 2 || SecondFits(static_cast<unsigned char>(tail[0]), static_cast<unsigned char>(tail[1]));
    return fits && BytesAfter(static_cast<unsigned char>(tail[0])) > bytes ? bytes : 0;
  }
  return 0;
}

}  // namespace penstock
