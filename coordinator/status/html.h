// The pieces of the status pages: frame, tables, figures as text. Pure.
#ifndef PENSTOCK_COORDINATOR_STATUS_HTML_H_
#define PENSTOCK_COORDINATOR_STATUS_HTML_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "proto/job.pb.h"

namespace penstock {

// A cell's content is HTML: escape what comes from outside.
struct HtmlTable {
  struct Column {
    std::string title;
    bool number = false;  // aligned right
  };
  std::vector<Column> columns;
  std::vector<std::vector<std::string>> rows;
};

std::string ToHtml(const HtmlTable& table);

// A whole page. Args: refresh: reload after this many seconds; 0: never.
std::string HtmlPage(absl::string_view title, int refresh, absl::string_view body);

// A state as a coloured word.
std::string StateHtml(v1::JobState state);
std::string WordHtml(absl::string_view word, absl::string_view css_class);

bool HasEnded(v1::JobState state);

// "1.5 MiB", "12 %", "2 h 05 min", "2026-01-31 10:11:12 UTC"; empty where there is nothing to say.
std::string BytesText(uint64_t bytes);
std::string ShareText(double share);
std::string DurationText(double seconds);
// The same of something that goes on: "7 s", "1 min 13 s", "2 h 05 min", "3 d 4 h".
std::string AgeText(double seconds);
// "972", "247.4k", "53.6M".
std::string CountText(uint64_t count);
std::string TimeText(int64_t unix_ms);
// Up to `digits` significant digits; "not a number" where it is none.
std::string NumberText(double value, int digits);

}  // namespace penstock

#endif  // PENSTOCK_COORDINATOR_STATUS_HTML_H_
