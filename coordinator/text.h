// Text that may travel in a protobuf string. Pure.
#ifndef PENSTOCK_COORDINATOR_TEXT_H_
#define PENSTOCK_COORDINATOR_TEXT_H_

#include <string>

#include "absl/strings/string_view.h"

namespace penstock {

// The text with each byte that is not part of well-formed UTF-8 replaced by U+FFFD. A message whose string is not
// UTF-8 is refused by its receiver, and a byte-level model writes what it likes.
std::string ToUtf8(absl::string_view bytes);

}  // namespace penstock

#endif  // PENSTOCK_COORDINATOR_TEXT_H_
