// Numbers as people read them. Pure.
#ifndef PENSTOCK_CLI_UNITS_H_
#define PENSTOCK_CLI_UNITS_H_

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace penstock {

// "512 B", "3.00 KiB", "1.25 GiB".
std::string BytesText(uint64_t bytes);

// Three significant digits: "972", "31.1k", "311k", "53.6M", "2.10G".
std::string CountText(double count);

// The two largest units: "0s", "12s", "4m05s", "1h46m", "3d04h". Negative durations are "0s".
std::string DurationText(absl::Duration duration);

// "0.17" -> "17%".
std::string PercentText(double share);

// Replaces control characters other than newline and tab by '?', so that text from a model or a log cannot command the
// terminal.
std::string WithoutControls(absl::string_view text);

}  // namespace penstock

#endif  // PENSTOCK_CLI_UNITS_H_
