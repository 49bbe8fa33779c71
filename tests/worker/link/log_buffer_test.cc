#include "worker/log_buffer.h"

#include <gtest/gtest.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "common/fake_clock.h"
#include "common/limits.h"

namespace penstock {
namespace {

TEST(LogBufferTest, HandsOutLinesOnceInOrderWithJobRankAndTime) {
  FakeClock clock;
  LogBuffer log(&clock);
  log.Write("job-1", 2, "first");
  clock.Advance(absl::Seconds(1));
  log.Write("job-1", 2, "second");
  const std::vector<v1::LogLine> lines = log.Take();
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_EQ(lines[0].text(), "first");
  EXPECT_EQ(lines[1].text(), "second");
  EXPECT_EQ(lines[0].job(), "job-1");
  EXPECT_EQ(lines[0].rank(), 2u);
  EXPECT_EQ(lines[1].unix_ms() - lines[0].unix_ms(), 1000);
  EXPECT_TRUE(log.Take().empty());
}

TEST(LogBufferTest, GivesOneHeartbeatNoMoreThanItMayCarry) {
  FakeClock clock;
  LogBuffer log(&clock);
  const size_t count = limits::kMaxLogLinesPerHeartbeat;
  for (size_t i = 0; i < count + 3; ++i) log.Write("job-1", 0, absl::StrCat(i));
  EXPECT_EQ(log.Take().size(), count);
  const std::vector<v1::LogLine> rest = log.Take();
  ASSERT_EQ(rest.size(), 3u);
  EXPECT_EQ(rest[0].text(), absl::StrCat(count));
}

TEST(LogBufferTest, DropsTheOldestLinesOfAFloodAndSaysHowMany) {
  FakeClock clock;
  LogBuffer log(&clock);
  for (size_t i = 0; i < limits::kMaxPendingLogLines + 5; ++i) log.Write("job-1", 0, absl::StrCat(i));
  const std::vector<v1::LogLine> lines = log.Take();
  ASSERT_GE(lines.size(), 2u);
  EXPECT_EQ(lines[0].text(), "5 earlier lines were dropped: the coordinator did not take them in time");
  EXPECT_EQ(lines[0].job(), "job-1");
  EXPECT_EQ(lines[1].text(), "5");
  EXPECT_EQ(log.Take()[0].text(), absl::StrCat(5 + limits::kMaxLogLinesPerHeartbeat)) << "the loss is told once";
}

}  // namespace
}  // namespace penstock
