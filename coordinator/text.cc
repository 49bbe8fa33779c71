#include "coordinator/text.h"

#include <cstddef>
#include <cstdint>

namespace penstock {
namespace {

// Bytes of the well-formed sequence that starts at `at`; 0 where there is none. Source: RFC 3629, section 4.
size_t SequenceLength(absl::string_view bytes, size_t at) {
  const auto byte = [&bytes](size_t i) { return i < bytes.size() ? static_cast<uint8_t>(bytes[i]) : 0; };
  const auto tail = [&byte](size_t i) { return (byte(i) & 0xc0) == 0x80; };
  const uint8_t first = byte(at);
  if (first < 0x80) return 1;
  if (first >= 0xc2 && first <= 0xdf) return tail(at + 1) ? 2 : 0;
  if (first >= 0xe0 && first <= 0xef) {
    const bool overlong = first == 0xe0 && byte(at + 1) < 0xa0;
    const bool surrogate = first == 0xed && byte(at + 1) > 0x9f;
    return !overlong && !surrogate && tail(at + 1) && tail(at + 2) ? 3 : 0;
  }
  if (first >= 0xf0 && first <= 0xf4) {
    const bool overlong = first == 0xf0 && byte(at + 1) < 0x90;
    const bool beyond = first == 0xf4 && byte(at + 1) > 0x8f;
    return !overlong && !beyond && tail(at + 1) && tail(at + 2) && tail(at + 3) ? 4 : 0;
  }
  return 0;
}

}  // namespace

std::string ToUtf8(absl::string_view bytes) {
  std::string text;
  for (size_t at = 0; at < bytes.size();) {
    const size_t length = SequenceLength(bytes, at);
    if (length == 0) {
      text += "\xef\xbf\xbd";
      ++at;
      continue;
    }
    text.append(bytes.data() + at, length);
    at += length;
  }
  return text;
}

}  // namespace penstock
