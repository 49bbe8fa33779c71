// The command as a process: what it says of wrong arguments, where it says it, and with which exit code.
#include <sys/wait.h>

#include <array>
#include <cstdio>
#include <fstream>
#include <string>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace penstock {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

struct Outcome {
  int code = -1;
  std::string out;  // standard output
  std::string err;  // standard error
};

std::string ReadAll(const std::string& path) {
  std::ifstream file(path);
  return std::string(std::istreambuf_iterator<char>(file), {});
}

// Runs `penstock ARGUMENTS` as a shell would. Port 1 is served by nothing.
Outcome Penstock(const std::string& arguments) {
  const std::string base = absl::StrCat(::testing::TempDir(), "/command_test");
  const std::string command = absl::StrCat("PENSTOCK_ADDR=127.0.0.1:1 cli/penstock ", arguments, " >", base, ".out 2>",
                                           base, ".err </dev/null");
  const int status = std::system(command.c_str());
  return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, ReadAll(base + ".out"), ReadAll(base + ".err")};
}

TEST(CommandTest, ListsItsCommandsInItsHelp) {
  const Outcome help = Penstock("--help");
  EXPECT_EQ(help.code, 0);
  for (const char* command : {"run", "up", "down", "validate", "plan", "simulate", "submit", "status", "workers",
                              "logs", "stop", "checkpoints", "hash", "generate", "version"}) {
    EXPECT_THAT(help.out, HasSubstr(absl::StrCat("\n  ", command, " ")));
  }
}

TEST(CommandTest, AnswersWrongArgumentsWithCauseAndNextCommand) {
  struct Case {
    const char* arguments;
    const char* says;
    const char* next;
  };
  for (const Case& wrong : {Case{"", "subcommand is required", "next: penstock --help"},
                            Case{"frobnicate", "no command 'frobnicate'", "next: penstock --help"},
                            Case{"checkpoint x", "did you mean 'checkpoints'?", "next: penstock --help"},
                            Case{"run", "--file is required", "next: penstock run --help"},
                            Case{"status -o xml", "xml", "next: penstock status --help"},
                            Case{"status a b", "b", "next: penstock status --help"},
                            // An empty JOB, such as an unset variable of a script, showed the whole cluster.
                            Case{"status ''", "JOB: is empty", "next: penstock status --help"},
                            Case{"stop ''", "JOB: is empty", "next: penstock stop --help"},
                            Case{"hash ''", "CKPT|JOB: is empty", "next: penstock hash --help"},
                            // The coordinator refused the cluster file that was made for it, with a place in that file.
                            Case{"run -f x --devices cpu,foo", "--devices: 'foo' is not a device: cpu, or cuda:N",
                                 "next: penstock run --help"},
                            Case{"logs", "JOB is required", "next: penstock logs --help"},
                            Case{"generate x --temperature -1", "--temperature", "next: penstock generate --help"}}) {
    const Outcome outcome = Penstock(wrong.arguments);
    EXPECT_EQ(outcome.code, 2) << wrong.arguments;
    EXPECT_EQ(outcome.out, "") << wrong.arguments;
    EXPECT_THAT(outcome.err, StartsWith("error: penstock")) << wrong.arguments;
    EXPECT_THAT(outcome.err, HasSubstr(wrong.says));
    EXPECT_THAT(outcome.err, HasSubstr(wrong.next));
  }
}

TEST(CommandTest, SimulatesASchedule) {
  const std::string times = "simulate -p 4 -m 8 --forward 1 --input-grad 1 --weight-grad 1 ";
  const Outcome json = Penstock(times + "--schedule zb-h1 -o json");
  EXPECT_EQ(json.code, 0) << json.err;
  EXPECT_THAT(json.out, StartsWith("{\n  \"schedule\": \"zb-h1\",\n  \"makespan\": 27.0,\n"));
  EXPECT_EQ(json.err, "");
  EXPECT_THAT(Penstock(times + "--schedule all").out, HasSubstr("\nzb-v "));
  EXPECT_THAT(Penstock(times + "--schedule 1f1b -o svg").out, StartsWith("<svg "));
  for (const char* wrong : {"", "--schedule 2f2b", "--schedule 1f1b --chunks 3", "--schedule 1f1b --comm nan",
                            "--schedule 1f1b --ranks 1e9", "--schedule all -o svg", "--schedule 1f1b --forward=-1"}) {
    const Outcome outcome = Penstock(times + wrong);
    EXPECT_EQ(outcome.code, 2) << wrong;
    EXPECT_EQ(outcome.out, "") << wrong;
    EXPECT_THAT(outcome.err, StartsWith("error: ")) << wrong;
    EXPECT_THAT(outcome.err, HasSubstr("simulate --help")) << wrong;
  }
}

TEST(CommandTest, SimulatesListsOfAFile) {
  const std::string file = absl::StrCat(::testing::TempDir(), "/lists.csv");
  std::ofstream(file) << "0F0,0F1,0B0,0B1\n1F0,1B0,1F1,1B1\n";
  const std::string command = absl::StrCat("simulate --csv ", file, " --forward 1 --input-grad 1 --weight-grad 1 ");
  EXPECT_THAT(Penstock(command + "-o json").out, HasSubstr("\"makespan\": 9.0"));
  EXPECT_EQ(Penstock(command + "--schedule 1f1b").code, 2);
  std::ofstream(file) << "0F0,0F1,0B0,0B1\n1F0,1X0,1F1,1B1\n";
  const Outcome wrong = Penstock(command);
  EXPECT_EQ(wrong.code, 2);
  EXPECT_THAT(wrong.err, HasSubstr("lists.csv:2:5: error: "));
  EXPECT_EQ(Penstock("simulate --csv /nowhere.csv").code, 2);
}

TEST(CommandTest, SaysWhereNoCoordinatorAnswers) {
  for (const char* arguments : {"status", "status kjv", "workers", "logs kjv", "stop kjv", "down", "checkpoints kjv",
                                "hash kjv", "generate kjv --prompt a"}) {
    const Outcome outcome = Penstock(arguments);
    EXPECT_EQ(outcome.code, 3) << arguments;
    EXPECT_THAT(outcome.err, StartsWith("error: no coordinator answers at 127.0.0.1:1: nothing listens there\n"));
  }
}

TEST(CommandTest, RefusesAnAddressThatNeedsTls) {
  const Outcome outcome = Penstock("status --addr 10.0.0.1:7400");
  EXPECT_EQ(outcome.code, 2);
  EXPECT_THAT(outcome.err, HasSubstr("not a loopback address"));
}

TEST(CommandTest, TellsAMissingFileFromAMissingCheckpoint) {
  EXPECT_EQ(Penstock("run -f /nowhere/job.yaml").code, 2);
  EXPECT_EQ(Penstock("submit -f /nowhere/job.yaml").code, 2);
  EXPECT_EQ(Penstock("plan -f /nowhere/job.yaml").code, 2);
  EXPECT_EQ(Penstock("up -f /nowhere/cluster.yaml").code, 2);
  EXPECT_EQ(Penstock("validate /nowhere/job.yaml").code, 2);
  EXPECT_EQ(Penstock("hash /nowhere/step-3").code, 4);
  EXPECT_EQ(Penstock("checkpoints /nowhere").code, 4);
}

TEST(CommandTest, ChecksEveryFileThatItIsGiven) {
  const std::string good = absl::StrCat(::testing::TempDir(), "/good.yaml");
  const std::string bad = absl::StrCat(::testing::TempDir(), "/bad.yaml");
  std::ofstream(good) << "version: 1\nkind: cluster\nworkers: [{host: localhost, devices: [cpu, cpu]}]\n";
  std::ofstream(bad) << "version: 1\nkind: cluster\nworker: [{host: localhost, devices: [cpu, cpu]}]\n";
  const Outcome outcome = Penstock(absl::StrCat("validate ", bad, " ", good));
  EXPECT_EQ(outcome.code, 2);
  EXPECT_EQ(outcome.out, good + ": ok\n");
  EXPECT_THAT(outcome.err, HasSubstr(bad + ":3:1: error: unknown key 'worker'"));
  EXPECT_THAT(Penstock("validate --print " + good).out, HasSubstr("listen: \"127.0.0.1:7400\""));
  const Outcome dry_run = Penstock("up --dry-run -f " + good);
  EXPECT_EQ(dry_run.code, 0);
  EXPECT_THAT(dry_run.out, HasSubstr("kind: cluster"));
}

TEST(CommandTest, PrintsItsVersionAsTextOrJson) {
  EXPECT_THAT(Penstock("version").out, StartsWith("penstock "));
  EXPECT_THAT(Penstock("version -o json").out, StartsWith("{\n  \"version\": \""));
}

}  // namespace
}  // namespace penstock
