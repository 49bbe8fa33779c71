#include "coordinator/status/html.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "coordinator/status/status_page.h"

namespace penstock {
namespace {

TEST(HtmlTest, EscapesWhatCouldBeMarkup) {
  EXPECT_EQ(EscapeHtml("<script>\"a\" & 'b'</script>"), "&lt;script&gt;&quot;a&quot; &amp; &#39;b&#39;&lt;/script&gt;");
}

TEST(HtmlTest, FiguresReadAsPeopleWriteThem) {
  EXPECT_EQ(BytesText(0), "0 B");
  EXPECT_EQ(BytesText(1023), "1023 B");
  EXPECT_EQ(BytesText(1536), "1.5 KiB");
  EXPECT_EQ(BytesText(uint64_t{5} << 50), "5120.0 TiB");
  EXPECT_EQ(ShareText(0.158), "16 %");
  EXPECT_EQ(DurationText(0.0213), "21 ms");
  EXPECT_EQ(DurationText(0.9999), "1.00 s");
  EXPECT_EQ(DurationText(12.3), "12.30 s");
  EXPECT_EQ(DurationText(100), "2 min");
  EXPECT_EQ(DurationText(3599), "1 h 00 min");
  EXPECT_EQ(DurationText(16740), "4 h 39 min");
  EXPECT_EQ(AgeText(7.24), "7 s");
  EXPECT_EQ(AgeText(73.24), "1 min 13 s");
  EXPECT_EQ(AgeText(7500), "2 h 05 min");
  EXPECT_EQ(AgeText(360000), "4 d 4 h");
  EXPECT_EQ(CountText(972), "972");
  EXPECT_EQ(CountText(247424), "247.4k");
  EXPECT_EQ(TimeText(1767225600000), "2026-01-01 00:00:00 UTC");
  EXPECT_EQ(TimeText(0), "");
  EXPECT_EQ(NumberText(2.3125, 5), "2.3125");
  EXPECT_EQ(NumberText(3e-4, 3), "0.0003");
}

TEST(HtmlTest, WhatIsNotANumberIsSaidToBeNone) {
  const double nan = std::nan(""), infinity = std::numeric_limits<double>::infinity();
  EXPECT_EQ(NumberText(nan, 3), "not a number");
  EXPECT_EQ(ShareText(infinity), "not a number");
  EXPECT_EQ(DurationText(nan), "");
}

TEST(HtmlTest, TablesAlignNumbersRight) {
  const HtmlTable table{{{"Name"}, {"Count", true}}, {{"a", "1"}}};
  EXPECT_EQ(ToHtml(table),
            "<div class=\"wide\"><table>\n<tr><th>Name</th><th class=\"n\">Count</th></tr>\n"
            "<tr><td>a</td><td class=\"n\">1</td></tr>\n</table></div>\n");
}

}  // namespace
}  // namespace penstock
