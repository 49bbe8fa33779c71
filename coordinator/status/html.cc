#include "coordinator/status/html.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "coordinator/status/status_page.h"

namespace penstock {
namespace {

constexpr char kStyle[] = R"(
:root{color-scheme:light dark;--text:#1b1f24;--back:#fff;--soft:#5b6470;--line:#d9dee4;
--good:#1a7f37;--busy:#0b5cad;--bad:#b3261e}
@media(prefers-color-scheme:dark){:root{--text:#e4e8ed;--back:#14171b;--soft:#98a2ae;--line:#333a42;
--good:#5cc47a;--busy:#79b4f0;--bad:#ff8a80}}
body{font:15px/1.45 system-ui,sans-serif;color:var(--text);background:var(--back);
max-width:76rem;margin:0 auto;padding:1rem}
h1{font-size:1.35rem;margin:.2rem 0}h2{font-size:1.1rem;margin:1.6rem 0 .4rem}h3{font-size:1rem;margin:1.2rem 0 .3rem}
p{margin:.3rem 0;overflow-wrap:anywhere}b{font-weight:600}a{color:inherit}
.soft{color:var(--soft)}.good{color:var(--good)}.busy{color:var(--busy)}.bad{color:var(--bad)}
.wide{overflow-x:auto}table{border-collapse:collapse;font-variant-numeric:tabular-nums}
th,td{text-align:left;padding:.25rem .8rem .25rem 0;border-bottom:1px solid var(--line);
vertical-align:top;white-space:nowrap}
th{color:var(--soft);font-weight:500}th.n,td.n{text-align:right}
.why{display:inline-block;white-space:normal;min-width:14rem}
progress{width:100%;max-width:24rem}pre{white-space:pre-wrap;overflow-wrap:anywhere;margin:.3rem 0}
)";

}  // namespace

std::string EscapeHtml(absl::string_view text) {
  return absl::StrReplaceAll(text, {{"&", "&amp;"}, {"<", "&lt;"}, {">", "&gt;"}, {"\"", "&quot;"}, {"'", "&#39;"}});
}

std::string ToHtml(const HtmlTable& table) {
  std::string html = "<div class=\"wide\"><table>\n<tr>";
  for (const HtmlTable::Column& column : table.columns) {
    absl::StrAppend(&html, column.number ? "<th class=\"n\">" : "<th>", EscapeHtml(column.title), "</th>");
  }
  html += "</tr>\n";
  for (const std::vector<std::string>& row : table.rows) {
    html += "<tr>";
    for (size_t i = 0; i < row.size(); ++i) {
      const bool number = i < table.columns.size() && table.columns[i].number;
      absl::StrAppend(&html, number ? "<td class=\"n\">" : "<td>", row[i], "</td>");
    }
    html += "</tr>\n";
  }
  return html + "</table></div>\n";
}

std::string HtmlPage(absl::string_view title, int refresh, absl::string_view body) {
  return absl::StrCat("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n",
                      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n",
                      refresh > 0 ? absl::StrCat("<meta http-equiv=\"refresh\" content=\"", refresh, "\">\n") : "",
                      "<title>", EscapeHtml(title), "</title>\n<style>", kStyle, "</style></head>\n<body>\n", body,
                      "</body></html>\n");
}

std::string WordHtml(absl::string_view word, absl::string_view css_class) {
  return absl::StrCat("<b class=\"", css_class, "\">", EscapeHtml(word), "</b>");
}

std::string StateHtml(v1::JobState state) {
  const char* css_class = "busy";
  if (state == v1::SUCCEEDED) css_class = "good";
  if (state == v1::FAILED) css_class = "bad";
  if (state == v1::PENDING || state == v1::STOPPED) css_class = "soft";
  return WordHtml(v1::JobState_Name(state), css_class);
}

bool HasEnded(v1::JobState state) { return state == v1::SUCCEEDED || state == v1::FAILED || state == v1::STOPPED; }

std::string BytesText(uint64_t bytes) {
  const char* const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  double value = static_cast<double>(bytes);
  int unit = 0;
  for (; value >= 1024 && unit < 4; ++unit) value /= 1024;
  return unit == 0 ? absl::StrCat(bytes, " B") : absl::StrFormat("%.1f %s", value, units[unit]);
}

std::string ShareText(double share) {
  return std::isfinite(share) ? absl::StrFormat("%.0f %%", 100 * share) : std::string("not a number");
}

std::string DurationText(double seconds) {
  if (!std::isfinite(seconds) || seconds < 0) return "";
  if (seconds < 0.9995) return absl::StrFormat("%.0f ms", seconds * 1000);
  if (seconds < 100) return absl::StrFormat("%.2f s", seconds);
  const int64_t minutes = std::llround(seconds / 60);
  if (minutes < 60) return absl::StrFormat("%d min", minutes);
  return absl::StrFormat("%d h %02d min", minutes / 60, minutes % 60);
}

std::string AgeText(double seconds) {
  if (!std::isfinite(seconds) || seconds < 0) return "";
  const int64_t whole = std::llround(seconds);
  if (whole < 60) return absl::StrCat(whole, " s");
  if (whole < 3600) return absl::StrFormat("%d min %02d s", whole / 60, whole % 60);
  if (whole < 86400) return absl::StrFormat("%d h %02d min", whole / 3600, whole / 60 % 60);
  return absl::StrFormat("%d d %d h", whole / 86400, whole / 3600 % 24);
}

std::string CountText(uint64_t count) {
  const char* const units[] = {"", "k", "M", "G", "T"};
  double value = static_cast<double>(count);
  int unit = 0;
  for (; value >= 1000 && unit < 4; ++unit) value /= 1000;
  return unit == 0 ? absl::StrCat(count) : absl::StrFormat("%.1f%s", value, units[unit]);
}

std::string TimeText(int64_t unix_ms) {
  if (unix_ms == 0) return "";
  return absl::FormatTime("%Y-%m-%d %H:%M:%S UTC", absl::FromUnixMillis(unix_ms), absl::UTCTimeZone());
}

std::string NumberText(double value, int digits) {
  return std::isfinite(value) ? absl::StrFormat("%.*g", digits, value) : std::string("not a number");
}

}  // namespace penstock
