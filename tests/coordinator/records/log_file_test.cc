#include "coordinator/records/log_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "tests/common/scratch_dir.h"

namespace penstock {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr size_t kNever = ~size_t{0};

// All lines from a position on, read in pieces.
std::vector<std::string> ReadAll(const std::string& path, uint64_t from, size_t max_bytes) {
  std::vector<std::string> lines;
  while (true) {
    const auto piece = ReadLogPiece(path, from, max_bytes);
    EXPECT_TRUE(piece.ok()) << piece.status();
    if (!piece.ok() || piece->next <= from) return lines;
    from = piece->next;
    lines.insert(lines.end(), piece->lines.begin(), piece->lines.end());
  }
}

TEST(LogFileTest, IsReadByPositionWhileItGrows) {
  const ScratchDir dir;
  EXPECT_THAT(ReadLogPiece(dir / "log", 0, 100)->lines, IsEmpty());
  ASSERT_TRUE(AppendToLog(dir / "log", "a\nbb\n", kNever).ok());
  const auto first = ReadLogPiece(dir / "log", 0, 100);
  EXPECT_THAT(first->lines, ElementsAre("a", "bb"));
  EXPECT_EQ(first->next, 5u);
  EXPECT_THAT(ReadLogPiece(dir / "log", first->next, 100)->lines, IsEmpty());
  EXPECT_EQ(ReadLogPiece(dir / "log", first->next, 100)->next, 5u);
  ASSERT_TRUE(AppendToLog(dir / "log", "c\n", kNever).ok());
  EXPECT_THAT(ReadLogPiece(dir / "log", first->next, 100)->lines, ElementsAre("c"));
}

TEST(LogFileTest, PiecesEndAtLinesButALongLineIsNotAnEndlessWait) {
  const ScratchDir dir;
  ASSERT_TRUE(AppendToLog(dir / "log", "aa\nbb\ncc\n" + std::string(25, 'x') + "\ndd\n", kNever).ok());
  EXPECT_THAT(ReadLogPiece(dir / "log", 0, 8)->lines, ElementsAre("aa", "bb"));
  EXPECT_THAT(ReadAll(dir / "log", 0, 10),
              ElementsAre("aa", "bb", "cc", std::string(10, 'x'), std::string(10, 'x'), std::string(5, 'x'), "dd"));
}

TEST(LogFileTest, ALineThatIsBeingWrittenIsNotCutInTwo) {
  const ScratchDir dir;
  Spill(dir / "log", "whole\nhal");
  const auto piece = ReadLogPiece(dir / "log", 0, 100);
  EXPECT_THAT(piece->lines, ElementsAre("whole"));
  EXPECT_EQ(piece->next, 6u);
}

TEST(LogFileTest, PositionsGoOnThroughRotation) {
  const ScratchDir dir;
  uint64_t position = 0;
  std::vector<std::string> followed, written;
  for (int i = 0; i < 100; ++i) {
    written.push_back(absl::StrCat("line ", i));
    ASSERT_TRUE(AppendToLog(dir / "log", written.back() + "\n", 50).ok());
    const auto piece = ReadLogPiece(dir / "log", position, 1000);
    position = piece->next;
    followed.insert(followed.end(), piece->lines.begin(), piece->lines.end());
  }
  EXPECT_EQ(followed, written) << "a follower misses nothing";
  EXPECT_LE(std::filesystem::file_size(dir / "log.1"), 60u);
  EXPECT_FALSE(std::filesystem::exists(dir / "log.2"));
}

TEST(LogFileTest, AFollowerThatFellBehindRotationGoesOnWithWhatIsLeft) {
  const ScratchDir dir;
  for (int i = 0; i < 100; ++i) ASSERT_TRUE(AppendToLog(dir / "log", absl::StrCat("line ", i, "\n"), 50).ok());
  const std::vector<std::string> left = ReadAll(dir / "log", 0, 1000);
  ASSERT_FALSE(left.empty());
  EXPECT_EQ(left.back(), "line 99");
  for (size_t i = 0; i < left.size(); ++i) EXPECT_EQ(left[i], absl::StrCat("line ", 100 - left.size() + i));
}

TEST(LogFileTest, LastLinesReachBackThroughRotation) {
  const ScratchDir dir;
  EXPECT_THAT(LastLines(dir / "log", 3), IsEmpty());
  for (int i = 0; i < 8; ++i) ASSERT_TRUE(AppendToLog(dir / "log", absl::StrCat("line ", i, "\n"), 50).ok());
  EXPECT_THAT(LastLines(dir / "log", 3), ElementsAre("line 5", "line 6", "line 7"));
  EXPECT_THAT(LastLines(dir / "log", 0), IsEmpty());
  EXPECT_EQ(LastLines(dir / "log", 100).size(), 8u);
}

TEST(LogFileTest, LastLinesOfALongLogAreWhole) {
  const ScratchDir dir;
  std::string text;
  for (int i = 0; i < 20'000; ++i) absl::StrAppend(&text, "line ", i, "\n");
  ASSERT_TRUE(AppendToLog(dir / "log", text, kNever).ok());
  EXPECT_THAT(LastLines(dir / "log", 2), ElementsAre("line 19998", "line 19999"));
  for (const std::string& line : LastLines(dir / "log", 1'000'000))
    EXPECT_TRUE(absl::StartsWith(line, "line 1")) << line;
}

// A reader once came between the two steps of a rotation, and skipped what it had not read yet.
TEST(LogFileTest, WritersAndReadersThatMeetAtARotationLoseNothing) {
  const ScratchDir dir;
  // Rotations are so few that a follower cannot fall behind two of them.
  constexpr int kWriters = 4, kLines = 200;
  std::atomic<bool> done{false};
  std::multiset<std::string> followed;
  std::thread follower([&] {
    uint64_t position = 0;
    bool last = false;
    while (true) {
      const auto piece = ReadLogPiece(dir / "log", position, 1 << 20);
      if (!piece.ok()) break;
      followed.insert(piece->lines.begin(), piece->lines.end());
      if (piece->next == position && last) break;
      position = piece->next;
      last = done;
    }
  });
  std::vector<std::thread> writers;
  for (int w = 0; w < kWriters; ++w) {
    writers.emplace_back([&, w] {
      for (int i = 0; i < kLines; ++i) {
        EXPECT_TRUE(AppendToLog(dir / "log", absl::StrCat(w, ":", i, "\n"), 3000).ok());
      }
    });
  }
  for (std::thread& writer : writers) writer.join();
  done = true;
  follower.join();
  EXPECT_EQ(followed.size(), static_cast<size_t>(kWriters * kLines));
  EXPECT_EQ(std::set<std::string>(followed.begin(), followed.end()).size(), static_cast<size_t>(kWriters * kLines));
}

TEST(LogFileTest, AFolderThatIsMissingIsReported) {
  const ScratchDir dir;
  EXPECT_TRUE(absl::IsNotFound(AppendToLog(dir / "no/log", "x\n", kNever)));
}

}  // namespace
}  // namespace penstock
