// What is said of the values in a job's data before anything starts.
#include "spec/data_content.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "spec/job_file.h"
#include "tests/spec/spec_fixture.h"

namespace penstock {
namespace {

using DataContentTest = SpecTest;

TEST_F(DataContentTest, ReportsValuesInDataThatTheModelCannotTake) {
  // They were found by the workers, after these had started.
  const std::string job = CsvJob();
  EXPECT_EQ(ErrorsOf(job), "OK");
  Write("points.csv", "a,b,c,d,label\n1,2,3,4,0\n5,6,x7,8,1\n");
  EXPECT_EQ(ErrorsOf(job),
            "job.yaml:8:35: error: data.train.path: points.csv:3:5: 'x7' in column 'c' is not a finite "
            "number\n");
  Write("points.csv", "a,b,c,d,label\n1,2,3,4\n");
  EXPECT_EQ(ErrorsOf(job),
            "job.yaml:8:35: error: data.train.path: points.csv:2:7: the row has 4 cells, the header 5\n");
  Write("points.csv", "a,b,c,d,label\n1,2,3,4,0\n5,6,7,8,2\n");
  EXPECT_EQ(ErrorsOf(job),
            "job.yaml:8:35: error: data.train.path: points.csv:3: column 'label': 2 is not a class: the "
            "last layer of the model has 2, from 0 to 1\n");
  // Rows that are not used may hold other classes.
  EXPECT_EQ(ErrorsOf(job, {"data.train.part=[0,0.5]"}), "OK");
  const std::string tokens = JobWith("format: text, path: text.txt", "format: tokens, path: tokens.bin");
  Write("tokens.bin", std::string(4000, '\0'));
  EXPECT_EQ(ErrorsOf(tokens), "OK");
  Write("tokens.bin", std::string(4000, '\0') + std::string("\x00\x01", 2));
  EXPECT_EQ(ErrorsOf(tokens),
            "job.yaml:13:33: error: data.train.path: tokens.bin: token 2000 is 256, but the model's "
            "vocabulary has 256 entries\n");
}

TEST_F(DataContentTest, ALineWithoutAnEndIsNotCalledAnEmptyFile) {
  // Of a file whose first line was longer than what is looked at, nothing was left: it was called empty.
  const std::string wide = std::string(9 << 20, ' ');
  Write("points.csv", wide + "a,b,c,d,label\n1,2,3,4,0\n5,6,7,8,1\n");
  EXPECT_EQ(ErrorsOf(CsvJob()), "OK");
  Write("points.csv", "a,b,c,d,label\n1,2,3,4," + wide + "0\n5,6,7,8,1\n");
  EXPECT_EQ(ErrorsOf(CsvJob()), "OK");
  Write("points.csv", "a,b,c,d,label\n" + wide + wide + "1,2,3,4,0\n5,6,7,8,1\n");
  EXPECT_EQ(ErrorsOf(CsvJob()),
            "job.yaml:8:35: error: data.train.path: points.csv:2:1: the line is longer than 16 MiB\n");
  Write("points.csv", std::string(17 << 20, 'a'));
  EXPECT_EQ(ErrorsOf(CsvJob()),
            "job.yaml:8:35: error: data.train.path: points.csv:1:1: the line is longer than 16 MiB\n");
}

TEST_F(DataContentTest, SaysHowMuchOfTheDataWasLookedAt) {
  // Nobody could tell whether a large file had been checked to its end.
  const std::string job = JobWith("format: text, path: text.txt", "format: tokens, path: tokens.bin");
  Write("tokens.bin", std::string(4000, '\0'));
  std::vector<std::string> notes;
  ASSERT_TRUE(ReadJobFile(Write("job.yaml", job), {}, &notes).ok());
  EXPECT_EQ(notes, std::vector<std::string>{"data.train: all 2000 tokens were looked at"});
  std::filesystem::resize_file(folder_ + "/tokens.bin", uint64_t{100} << 20);
  notes.clear();
  ASSERT_TRUE(ReadJobFile(folder_ + "/job.yaml", {}, &notes).ok());
  EXPECT_EQ(notes,
            std::vector<std::string>{"data.train: the first 64 MiB of 100 were looked at; workers check the rest "
                                     "when they load it"});
}

}  // namespace
}  // namespace penstock
