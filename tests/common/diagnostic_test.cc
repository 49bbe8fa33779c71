// Diagnostics: what the user reads.
#include "common/diagnostic.h"

#include <gtest/gtest.h>

#include <fstream>
#include <string>

namespace penstock {
namespace {

std::string WriteFile(const std::string& name, const std::string& text) {
  const std::string path = testing::TempDir() + "/" + name;
  std::ofstream(path) << text;
  return path;
}

v1::SourceLocation At(const std::string& file, uint32_t line, uint32_t column) {
  v1::SourceLocation at;
  at.set_file(file);
  at.set_line(line);
  at.set_column(column);
  return at;
}

TEST(DiagnosticTest, IsOkWithoutErrors) {
  Diagnostics diagnostics;
  EXPECT_TRUE(diagnostics.ok());
  EXPECT_TRUE(diagnostics.ToStatus().ok());
}

TEST(DiagnosticTest, ShowsTheSourceLineAndUnderlinesTheWord) {
  const std::string file = WriteFile("shows.yaml", "pipeline:\n  micro_batch: 16\n");
  Diagnostics diagnostics;
  diagnostics.Error(At(file, 2, 3), "unknown key 'micro_batch'", 11);
  const absl::Status status = diagnostics.ToStatus();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(status.message(), file +
                                  ":2:3: error: unknown key 'micro_batch'\n"
                                  "    2 |   micro_batch: 16\n"
                                  "      |   ^~~~~~~~~~~");
}

TEST(DiagnosticTest, OrdersErrorsByPlaceAndFilesByFirstError) {
  Diagnostics diagnostics;
  diagnostics.Error(At("b.yaml", 9, 1), "last");
  diagnostics.Error(At("a.yaml", 1, 1), "other file");
  diagnostics.Error(At("b.yaml", 2, 7), "second");
  diagnostics.Error(At("b.yaml", 2, 3), "first");
  EXPECT_EQ(diagnostics.ToStatus().message(),
            "b.yaml:2:3: error: first\nb.yaml:2:7: error: second\nb.yaml:9:1: error: last\n"
            "a.yaml:1:1: error: other file");
}

TEST(DiagnosticTest, NamesThePlaceThatHasNoLine) {
  Diagnostics diagnostics;
  diagnostics.Error(At("--set train.steps", 0, 0), "expected a whole number");
  diagnostics.Error(v1::SourceLocation(), "no place at all");
  EXPECT_EQ(diagnostics.ToStatus().message(),
            "--set train.steps: error: expected a whole number\nerror: no place at all");
}

TEST(DiagnosticTest, StopsAtTwentyAndCountsTheRest) {
  Diagnostics diagnostics;
  for (uint32_t line = 1; line <= 23; ++line) diagnostics.Error(At("x.yaml", line, 1), "bad");
  const std::string text(diagnostics.ToStatus().message());
  EXPECT_NE(text.find("x.yaml:20:1: error: bad\nand 3 more"), std::string::npos) << text;
  EXPECT_EQ(text.find("x.yaml:21"), std::string::npos) << text;
}

TEST(DiagnosticTest, SaysTheSameThingOfTheSamePlaceOnce) {
  Diagnostics diagnostics;
  for (int i = 0; i < 6; ++i) diagnostics.Error(At("x.yaml", 3, 4), "heads must divide the width");
  EXPECT_EQ(diagnostics.count(), 1);
}

TEST(DiagnosticTest, PutsTheCaretUnderCharactersNotBytes) {
  const std::string file = WriteFile("utf8.yaml", "\tn\xc3\xa4me: x\r\n");
  Diagnostics diagnostics;
  diagnostics.Error(At(file, 1, 8), "bad");
  EXPECT_EQ(diagnostics.ToStatus().message(), file +
                                                  ":1:8: error: bad\n"
                                                  "    1 | \tn\xc3\xa4me: x\n"
                                                  "      | \t     ^");
}

TEST(DiagnosticTest, ShowsTheNeighbourhoodOfAnErrorInAVeryLongLine) {
  const std::string file = WriteFile("long.yaml", std::string(500, 'a') + "HERE" + std::string(500, 'b'));
  Diagnostics diagnostics;
  diagnostics.Error(At(file, 1, 501), "bad", 4);
  const std::string text(diagnostics.ToStatus().message());
  EXPECT_NE(text.find(std::string(80, 'a') + "HERE"), std::string::npos);
  EXPECT_NE(text.find("| " + std::string(80, ' ') + "^~~~"), std::string::npos);
  EXPECT_LT(text.size(), 600u);
}

// A job that came over the wire may name any file of the coordinator's host.
TEST(DiagnosticTest, ShowsNoSourceLineWhereItMustNot) {
  const std::string file = WriteFile("secret.txt", "secret\n");
  Diagnostics diagnostics(Diagnostics::Source::kHidden);
  diagnostics.Error(At(file, 1, 1), "bad");
  EXPECT_EQ(diagnostics.ToStatus().message(), file + ":1:1: error: bad");
}

TEST(DiagnosticTest, NearestWordForgivesTyposAndSwappedLettersOnly) {
  const std::vector<std::string> words = {"micro_batches", "stages", "split", "schedule"};
  EXPECT_EQ(NearestWord("micro_batch", words), "micro_batches");
  EXPECT_EQ(NearestWord("stagse", words), "stages");
  EXPECT_EQ(NearestWord("spilt", words), "split");
  EXPECT_EQ(NearestWord("banana", words), "");
  EXPECT_EQ(NearestWord("x", words), "");
}

}  // namespace
}  // namespace penstock
