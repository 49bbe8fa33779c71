#include "cli/exit_code.h"

#include <filesystem>
#include <sstream>

#include "cli/arguments.h"
#include "cli/console.h"
#include "cli/reach.h"
#include "common/file.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace penstock {
namespace {

using ::testing::HasSubstr;

TEST(ExitCodeTest, TellsAFailedCallByItsCode) {
  EXPECT_EQ(ExitCodeOf(absl::OkStatus()), ExitCode::kDone);
  EXPECT_EQ(ExitCodeOf(absl::InvalidArgumentError("")), ExitCode::kBadUsage);
  EXPECT_EQ(ExitCodeOf(absl::AlreadyExistsError("")), ExitCode::kBadUsage);
  EXPECT_EQ(ExitCodeOf(absl::UnavailableError("")), ExitCode::kUnreachable);
  EXPECT_EQ(ExitCodeOf(absl::DeadlineExceededError("")), ExitCode::kUnreachable);
  EXPECT_EQ(ExitCodeOf(absl::PermissionDeniedError("")), ExitCode::kUnreachable);
  EXPECT_EQ(ExitCodeOf(absl::NotFoundError("")), ExitCode::kNotFound);
  EXPECT_EQ(ExitCodeOf(absl::CancelledError("")), ExitCode::kInterrupted);
  EXPECT_EQ(ExitCodeOf(absl::DataLossError("")), ExitCode::kFailed);
  EXPECT_EQ(ExitCodeOf(absl::FailedPreconditionError("")), ExitCode::kFailed);
}

TEST(ExitCodeTest, TellsHowAJobEnded) {
  v1::JobStatus job;
  job.set_state(v1::SUCCEEDED);
  EXPECT_EQ(ExitCodeOf(job), ExitCode::kDone);
  job.set_state(v1::FAILED);
  EXPECT_EQ(ExitCodeOf(job), ExitCode::kFailed);
  job.set_state(v1::STOPPED);
  EXPECT_EQ(ExitCodeOf(job), ExitCode::kInterrupted);  // nothing to go on from
  job.set_checkpoint("/tmp/step-3");
  EXPECT_EQ(ExitCodeOf(job), ExitCode::kStopped);
  EXPECT_EQ(static_cast<int>(ExitCode::kStopped), 75);
}

TEST(ConsoleTest, SaysCauseAndNextCommandOnStandardErrorAlone) {
  std::ostringstream out, err;
  Console console(&out, &err, {});
  EXPECT_EQ(console.Fail(ExitCode::kNotFound, "no job kjv\n", "penstock status"), 4);
  EXPECT_EQ(out.str(), "");
  EXPECT_EQ(err.str(), "error: no job kjv\nnext: penstock status\n");
}

TEST(ConsoleTest, LeavesTheErrorsOfAFileAsTheyAre) {
  std::ostringstream out, err;
  Console console(&out, &err, {.colour = true});
  console.Fail(ExitCode::kBadUsage, "job.yaml:1:2: error: unknown key 'x'");
  EXPECT_EQ(err.str(), "job.yaml:1:2: error: unknown key 'x'\n");
}

TEST(ConsoleTest, ColoursOnlyWhereAllowed) {
  std::ostringstream out, err;
  Console(&out, &err, {.colour = true}).Fail(ExitCode::kFailed, "broken");
  EXPECT_EQ(err.str(), "\x1b[31merror: \x1b[0mbroken\n");
}

TEST(SuggestTest, QuotesWhatAShellWouldTakeApart) {
  // A path with a blank, or a split in brackets, was suggested as it is: pasted back, it was another command.
  std::ostringstream out, err;
  const Console console(&out, &err, {.program = "./penstock"});
  EXPECT_EQ(Suggest(console, {"run", "-f", "my jobs/a.yaml", "--set", "pipeline.split=[2,6]"}),
            "./penstock run -f 'my jobs/a.yaml' --set 'pipeline.split=[2,6]'");
  EXPECT_EQ(Suggest(console, {"stop", "@last"}, "127.0.0.1:1"), "./penstock stop @last --addr 127.0.0.1:1");
  EXPECT_EQ(ShellWord("it's"), "'it'\\''s'");
  EXPECT_EQ(ShellWord(""), "''");
}

TEST(SuggestTest, NamesAnExampleOnlyWhereItStands) {
  // "up -f cluster.yaml" was suggested in a checkout, where that is configs/cluster.yaml.
  EXPECT_EQ(ExampleFile("no-such-file.yaml", "cluster.yaml"), "cluster.yaml");
  std::filesystem::current_path(::testing::TempDir());
  ASSERT_TRUE(MakeDirs("configs").ok());
  ASSERT_TRUE(WriteFileAtomically("configs/example.yaml", "").ok());
  EXPECT_EQ(ExampleFile("example.yaml", "cluster.yaml"), "configs/example.yaml");
}

TEST(ArgumentsTest, ReadsSizesWithBinaryUnits) {
  EXPECT_EQ(*ParseBytes("1000"), 1000u);
  EXPECT_EQ(*ParseBytes("1.5KiB"), 1536u);
  EXPECT_EQ(*ParseBytes("78GiB"), uint64_t{78} << 30);
  for (const char* bad : {"", "GiB", "-1", "1 GB", "nan", "1e300", "12x"}) {
    EXPECT_THAT(std::string(ParseBytes(bad).status().message()), HasSubstr("is not a size")) << bad;
  }
}

}  // namespace
}  // namespace penstock
