#include "coordinator/launch/last_words.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"

namespace penstock {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

std::string Logged(char severity, const std::string& text) {
  return absl::StrCat(std::string(1, severity), "1122 10:11:12.345678 77 rank_run.cc:12] ", text);
}

TEST(LastWordsTest, ShowsErrorsBeforeTheNoiseThatFollowedThem) {
  // The last twenty lines were shown: twenty times that a step was done, and the error above them was not.
  std::vector<std::string> lines = {Logged('I', "step 1"), Logged('E', "cannot read text.txt"), Logged('W', "waits")};
  for (int i = 2; i < 40; ++i) lines.push_back(Logged('I', absl::StrCat("step ", i)));
  EXPECT_THAT(LastWords(lines), ElementsAre(Logged('E', "cannot read text.txt"), Logged('I', "step 37"),
                                            Logged('I', "step 38"), Logged('I', "step 39")));
}

TEST(LastWordsTest, ShowsWhatWasWrittenPastTheLog) {
  EXPECT_THAT(LastWords({Logged('I', "step 1"), Logged('I', "step 2"), "terminate called after throwing",
                         Logged('I', "step 3"), Logged('I', "step 4"), Logged('I', "step 5")}),
              ElementsAre("terminate called after throwing", Logged('I', "step 3"), Logged('I', "step 4"),
                          Logged('I', "step 5")));
}

TEST(LastWordsTest, KeepsTheLatestOfManyErrors) {
  std::vector<std::string> lines;
  for (int i = 0; i < 100; ++i) lines.push_back(Logged('F', absl::StrCat("frame ", i)));
  const std::vector<std::string> words = LastWords(lines);
  ASSERT_EQ(words.size(), 8u);
  EXPECT_EQ(words.front(), Logged('F', "frame 92"));
}

TEST(LastWordsTest, SaysNothingOfAnEmptyLog) { EXPECT_THAT(LastWords({}), IsEmpty()); }

}  // namespace
}  // namespace penstock
