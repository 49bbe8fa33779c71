// UTF-8, as far as tokenizers need it. Pure.
#ifndef PENSTOCK_COMMON_TOKENIZER_UTF8_H_
#define PENSTOCK_COMMON_TOKENIZER_UTF8_H_

#include <cstddef>
#include <cstdint>

#include "absl/strings/string_view.h"

namespace penstock {

// U+FFFD.
inline constexpr absl::string_view kReplacementCharacter = "\xEF\xBF\xBD";

// Bytes of the character at the front of `text`; 0: what stands there is none (overlong, a surrogate, above U+10FFFF,
// cut off, or the text is empty).
size_t Utf8CharBytes(absl::string_view text);

// The number of the character at the front. REQUIRES: Utf8CharBytes(text) > 0.
uint32_t Utf8CodePoint(absl::string_view text);

// Bytes at the end of `text` that begin a character and lack its rest: 0 to 3.
size_t IncompleteUtf8Bytes(absl::string_view text);

}  // namespace penstock

#endif  // PENSTOCK_COMMON_TOKENIZER_UTF8_H_
