// What the command shows: progress lines, tables and JSON, as goldens.
#include <limits>
#include <nlohmann/json.hpp>

#include "absl/strings/str_split.h"
#include "cli/job_view.h"
#include "cli/progress.h"
#include "cli/status_json.h"
#include "cli/text_table.h"
#include "cli/units.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace penstock {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr int64_t kSubmitted = 1'700'000'000'000;
const absl::Time kNow = absl::FromUnixMillis(kSubmitted) + absl::Seconds(75);

v1::JobStatus RunningJob() {
  v1::JobStatus job;
  job.set_job("gpt2-owt-7");
  job.set_name("gpt2-owt");
  job.set_state(v1::RUNNING);
  job.set_step(12400);
  job.set_steps(20000);
  job.set_loss(3.1415);
  job.set_lr(2.1e-4);
  job.set_tokens_per_second(311234);
  job.set_bubble(0.1684);
  job.set_eta_seconds(6360);
  job.set_submitted_unix_ms(kSubmitted);
  job.set_unit("tokens");
  v1::StageStatus* const stage = job.add_stages();
  stage->set_worker("localhost/cpu.0");
  stage->set_layers("wte .. h.1");
  stage->set_parameters(53600000);
  stage->set_parameter_bytes(214400000);
  stage->set_frames_sent(640);
  stage->set_frames_received(320);
  stage->set_bytes_sent(uint64_t{3} << 30);
  stage->set_busy(0.83);
  return job;
}

TEST(UnitsTest, WritesBytesWithThreeDigits) {
  EXPECT_EQ(BytesText(0), "0 B");
  EXPECT_EQ(BytesText(1023), "1023 B");
  EXPECT_EQ(BytesText(1024), "1.00 KiB");
  EXPECT_EQ(BytesText(1536 * 1024), "1.50 MiB");
  EXPECT_EQ(BytesText(1048575), "1.00 MiB");
  EXPECT_EQ(BytesText(std::numeric_limits<uint64_t>::max()), "16384 PiB");
}

TEST(UnitsTest, WritesCountsWithThreeDigits) {
  EXPECT_EQ(CountText(0), "0");
  EXPECT_EQ(CountText(972), "972");
  EXPECT_EQ(CountText(12.345), "12.3");
  EXPECT_EQ(CountText(999.7), "1.00k");
  EXPECT_EQ(CountText(311234), "311k");
  EXPECT_EQ(CountText(53.6e6), "53.6M");
}

TEST(UnitsTest, WritesTheTwoLargestUnitsOfADuration) {
  EXPECT_EQ(DurationText(absl::Seconds(-3)), "0s");
  EXPECT_EQ(DurationText(absl::Milliseconds(59499)), "59s");
  EXPECT_EQ(DurationText(absl::Milliseconds(59500)), "1m00s");
  EXPECT_EQ(DurationText(absl::Seconds(6360)), "1h46m");
  EXPECT_EQ(DurationText(absl::Hours(76)), "3d04h");
}

TEST(UnitsTest, KeepsTextFromCommandingTheTerminal) {
  EXPECT_EQ(WithoutControls("a\x1b[2Jb\r\n\tc\x7f\xc3\xa4"), "a?[2Jb?\n\tc?\xc3\xa4");
}

TEST(ProgressTest, LeavesOutTheLeastImportantFirst) {
  const v1::JobStatus job = RunningJob();
  // Everything fits.
  const std::string whole =
      "train  62% ############........  12400/20000  loss 3.142  lr 2.1e-04  311k tok/s  bubble 17%  ETA 1h46m";
  EXPECT_EQ(ProgressLine(job, 0, kNow), whole);
  EXPECT_EQ(ProgressLine(job, 200, kNow), whole);
  EXPECT_EQ(ProgressLine(job, TextWidth(whole), kNow), whole);
  // The learning rate goes first, then the bubble, then the rate,
  EXPECT_EQ(ProgressLine(job, 100, kNow),
            "train  62% ############........  12400/20000  loss 3.142  311k tok/s  bubble 17%  ETA 1h46m");
  EXPECT_EQ(ProgressLine(job, 80, kNow),
            "train  62% ############........  12400/20000  loss 3.142  311k tok/s  ETA 1h46m");
  EXPECT_EQ(ProgressLine(job, 76, kNow), "train  62% ############........  12400/20000  loss 3.142  ETA 1h46m");
  // then the bar, then the time left; at last the line is cut.
  EXPECT_EQ(ProgressLine(job, 60, kNow), "train  62%  12400/20000  loss 3.142  ETA 1h46m");
  EXPECT_EQ(ProgressLine(job, 40, kNow), "train  62%  12400/20000  loss 3.142");
  EXPECT_EQ(ProgressLine(job, 12, kNow), "train  62% \xe2\x80\xa6");
}

TEST(ProgressTest, NeverExceedsTheWidth) {
  for (int width = 1; width < 130; ++width) {
    EXPECT_LE(TextWidth(ProgressLine(RunningJob(), width, kNow)), width);
  }
}

TEST(ProgressTest, ShowsNoNumbersBeforeTheFirstStep) {
  v1::JobStatus job = RunningJob();
  job.set_step(0);
  job.set_eta_seconds(0);
  EXPECT_EQ(ProgressLine(job, 0, kNow), "train   0% ....................  0/20000");
}

TEST(ProgressTest, ShowsNoNumbersOfAResumedJobBeforeItsFirstStep) {
  // It showed a loss of 0 from the moment that its checkpoint was loaded.
  v1::JobStatus job = RunningJob();
  job.set_resumed_step(job.step());
  job.set_eta_seconds(0);
  job.set_loss(0);
  EXPECT_EQ(ProgressLine(job, 0, kNow), "train  62% ############........  12400/20000");
  EXPECT_TRUE(nlohmann::json::parse(JobJson(job))["loss"].is_null());
}

TEST(ProgressTest, CountsSamplesWhereTheInputIsNotTokens) {
  v1::JobStatus job = RunningJob();
  job.set_unit("samples");
  job.set_tokens_per_second(95.5);
  EXPECT_THAT(ProgressLine(job, 0, kNow), HasSubstr("  95.5 samples/s  "));
}

TEST(ProgressTest, ShowsALossThatIsNotANumber) {
  v1::JobStatus job = RunningJob();
  job.set_loss(std::numeric_limits<double>::quiet_NaN());
  EXPECT_THAT(ProgressLine(job, 0, kNow), HasSubstr("  loss nan  "));
}

TEST(ProgressTest, SaysForWhatAJobWaits) {
  v1::JobStatus job = RunningJob();
  job.set_state(v1::PENDING);
  job.set_reason("waits for 2 idle workers: job kjv-1 runs");
  EXPECT_EQ(ProgressLine(job, 0, kNow), "wait   1m15s  waits for 2 idle workers: job kjv-1 runs");
  EXPECT_EQ(ProgressLine(job, 24, kNow), "wait   1m15s  waits for\xe2\x80\xa6");
}

TEST(ProgressTest, ShowsAFullBarAtTheEndWithoutTimeLeft) {
  v1::JobStatus job = RunningJob();
  job.set_state(v1::SUCCEEDED);
  job.set_step(20000);
  EXPECT_EQ(ProgressLine(job, 60, kNow), "done  100% ####################  20000/20000  loss 3.142");
}

TEST(ProgressDisplayTest, WritesAPlainLineForAChangeOfStateAndNowAndThen) {
  ProgressDisplay display(/*terminal=*/false, /*width=*/0);
  v1::JobStatus job = RunningJob();
  const std::string line = ProgressLine(job, 0, kNow) + "\n";
  EXPECT_EQ(display.Update(job, kNow), line);
  EXPECT_EQ(display.Update(job, kNow + absl::Milliseconds(9999)), "");
  EXPECT_EQ(display.Update(job, kNow + absl::Seconds(10)), line);
  job.set_state(v1::CHECKPOINTING);  // no news: a job that saves often would fill the log
  EXPECT_EQ(display.Update(job, kNow + absl::Seconds(11)), "");
  job.set_state(v1::STOPPING);
  EXPECT_THAT(display.Update(job, kNow + absl::Seconds(11)), HasSubstr("stop   62%"));
  EXPECT_EQ(display.Clear(), "");
}

TEST(ProgressDisplayTest, DrawsOverTheLineOfATerminalCalmly) {
  ProgressDisplay display(/*terminal=*/true, /*width=*/61);
  const v1::JobStatus job = RunningJob();
  EXPECT_EQ(display.Update(job, kNow), "\r\x1b[Ktrain  62%  12400/20000  loss 3.142  ETA 1h46m");
  EXPECT_EQ(display.Update(job, kNow + absl::Milliseconds(249)), "");
  EXPECT_NE(display.Update(job, kNow + absl::Milliseconds(250)), "");
  EXPECT_EQ(display.Clear(), "\r\x1b[K");
  EXPECT_EQ(display.Clear(), "");
}

TEST(ProgressDisplayTest, GivesEachEvaluationALineOfItsOwn) {
  ProgressDisplay display(/*terminal=*/true, /*width=*/61);
  v1::JobStatus job = RunningJob();
  display.Update(job, kNow);
  job.mutable_eval()->set_step(12400);
  job.mutable_eval()->set_loss(3.25);
  job.mutable_eval()->set_accuracy(0.314);
  const absl::Time later = kNow + absl::Milliseconds(1);
  EXPECT_EQ(display.Update(job, later),
            "\r\x1b[Keval   step 12400: loss 3.250, accuracy 31.4%\n"
            "\r\x1b[Ktrain  62%  12400/20000  loss 3.142  ETA 1h46m");
  EXPECT_EQ(display.Update(job, later), "");
}

TEST(TextTableTest, AlignsAndShrinksOnlyWhatMayShrink) {
  TextTable table({{"JOB", TableColumn::Align::kLeft},
                   {"STEP", TableColumn::Align::kRight},
                   {"REASON", TableColumn::Align::kLeft, TableColumn::Fit::kWrap}});
  table.AddRow({"kjv-1", "20", "the reason is a long one"});
  table.AddRow({"digits-12", "1000", ""});
  EXPECT_EQ(table.Render(0),
            "JOB        STEP  REASON\n"
            "kjv-1        20  the reason is a long one\n"
            "digits-12  1000\n");
  EXPECT_EQ(table.Render(30),
            "JOB        STEP  REASON\n"
            "kjv-1        20  the reason is\n"
            "                 a long one\n"
            "digits-12  1000\n");
}

TEST(TextTableTest, FitsLongNamesAndReasonsIntoTheTerminal) {
  // A name as long as names may be pushed everything else off the line, and a reason ended in the middle.
  TextTable table({{"JOB", TableColumn::Align::kLeft, TableColumn::Fit::kCut},
                   {"STATE", TableColumn::Align::kLeft},
                   {"REASON", TableColumn::Align::kLeft, TableColumn::Fit::kWrap}});
  table.AddRow(
      {"a-very-long-name-of-a-job-12", "FAILED", "stage 1: killed by signal 9 and then much more was said of it"});
  EXPECT_EQ(table.Render(40),
            "JOB              STATE   REASON\n"
            "a-very-\xe2\x80\xa6-job-12  FAILED  stage 1: killed\n"
            "                         by signal 9 and\n"
            "                         then much more\n"
            "                         was said of it\n");
  for (int width = 1; width < 100; ++width) {
    for (const absl::string_view line : absl::StrSplit(table.Render(width), '\n')) {
      EXPECT_LE(TextWidth(std::string(line)), width);
    }
  }
}

TEST(TextTableTest, WrapsAtBlanksAndWithinWordsThatAreTooLong) {
  EXPECT_EQ(WrapText("ab cd efghijk l", 5, 9), (std::vector<std::string>{"ab cd", "efghi", "jk l"}));
  EXPECT_EQ(WrapText("ab cd ef", 2, 2), (std::vector<std::string>{"ab", "c\xe2\x80\xa6"}));
  EXPECT_EQ(WrapText("\xc3\xa4\xc3\xb6\xc3\xbc", 2, 2), (std::vector<std::string>{"\xc3\xa4\xc3\xb6", "\xc3\xbc"}));
  EXPECT_EQ(CutMiddle("abcdefg", 4),
            "a\xe2\x80\xa6"
            "fg");
  EXPECT_EQ(CutMiddle("abcdefg", 1), "\xe2\x80\xa6");
}

TEST(TextTableTest, CountsCharactersNotBytes) {
  EXPECT_EQ(TextWidth("\xc3\xa4\xe2\x80\xa6"), 2);
  EXPECT_EQ(CutText("\xc3\xa4\xc3\xb6\xc3\xbc", 2), "\xc3\xa4\xe2\x80\xa6");
}

TEST(JobViewTest, ShowsAJobWithItsStages) {
  EXPECT_EQ(
      JobText(RunningJob(), 0, kNow),
      "gpt2-owt-7  RUNNING\n"
      "  progress    train  62% ############........  12400/20000  loss 3.142  lr 2.1e-04  311k tok/s  bubble 17%  "
      "ETA 1h46m\n"
      "  submitted   1m15s ago\n"
      "\n"
      "STAGE  LAYERS      PARAMS    BYTES  FRAMES SENT  RECEIVED  BYTES SENT  PEAK  BUSY  WORKER\n"
      "    0  wte .. h.1   53.6M  204 MiB          640       320    3.00 GiB     -   83%  localhost/cpu.0\n");
}

TEST(JobViewTest, ShowsTheRootCauseOfAFailureBeforeItsConsequences) {
  v1::JobStatus job = RunningJob();
  job.set_state(v1::FAILED);
  job.add_failure("stage 1 on localhost/cpu.1 was killed by signal 9 (SIGKILL)");
  job.add_failure("its last lines:\n\x1b[31mI1 step 3\n");
  job.add_failure("stage 0 lost its neighbour");
  EXPECT_EQ(FailureText(job),
            "job gpt2-owt-7 failed at step 12400: stage 1 on localhost/cpu.1 was killed by signal 9 (SIGKILL)\n"
            "  its last lines:\n"
            "  ?[31mI1 step 3\n"
            "  stage 0 lost its neighbour");
  EXPECT_THAT(JobText(job, 0, kNow), HasSubstr("gpt2-owt-7  FAILED\njob gpt2-owt-7 failed at step 12400: stage 1"));
}

TEST(JobViewTest, SaysFromWhichCheckpointAJobWentOn) {
  v1::JobStatus job = RunningJob();
  job.set_resumed_from("/ckpt/step-300");
  job.set_resumed_step(300);
  EXPECT_THAT(JobText(job, 0, kNow), HasSubstr("  resumed     from step 300, /ckpt/step-300\n"));
  EXPECT_EQ(nlohmann::json::parse(JobJson(job))["resumed"]["step"], 300);
}

TEST(JobViewTest, PutsAReasonOfManyLinesOnOneLineOfTheTable) {
  v1::ClusterStatus cluster;
  v1::JobStatus* const job = cluster.add_jobs();
  *job = RunningJob();
  job->set_reason("first\nsecond");
  EXPECT_EQ(JobTable(cluster.jobs(), 0, kNow),
            "JOB         STATE           STEP    LOSS        RATE    AGE  REASON\n"
            "gpt2-owt-7  RUNNING  12400/20000  3.1415  311k tok/s  1m15s  first | second\n");
  // A rate of "311/s" said not of what.
  job->set_reason("");
  job->set_unit("samples");
  job->set_tokens_per_second(311);
  EXPECT_EQ(JobTable(cluster.jobs(), 0, kNow),
            "JOB         STATE           STEP    LOSS           RATE    AGE  REASON\n"
            "gpt2-owt-7  RUNNING  12400/20000  3.1415  311 samples/s  1m15s  -\n");
}

TEST(JobViewTest, SaysSoWhenThereIsNothingToShow) {
  const v1::ClusterStatus empty;
  EXPECT_THAT(JobTable(empty.jobs(), 80, kNow), HasSubstr("no jobs yet"));
  EXPECT_THAT(WorkerTable(empty.workers(), 80), HasSubstr("no workers"));
}

TEST(JobViewTest, ShowsWorkersWithTheirReason) {
  v1::ClusterStatus cluster;
  v1::WorkerStatus* worker = cluster.add_workers();
  worker->set_id("localhost/cpu.0");
  worker->set_state("busy");
  worker->set_device("cpu");
  worker->set_resident_bytes(400 << 20);
  worker->set_pid(4711);
  worker->set_incarnation(3);
  worker->set_job("kjv-1");
  worker = cluster.add_workers();
  worker->set_id("localhost/cpu.1");
  worker->set_state("lost");
  worker->set_device("cpu");
  worker->set_memory_bytes(uint64_t{2} << 30);
  worker->set_reason("killed by signal 9 (SIGKILL)");
  EXPECT_EQ(
      WorkerTable(cluster.workers(), 0),
      "WORKER           STATE  DEVICE  RESIDENT     LIMIT   PID  INCARNATION  JOB    REASON\n"
      "localhost/cpu.0  busy   cpu      400 MiB         -  4711            3  kjv-1  -\n"
      "localhost/cpu.1  lost   cpu            -  2.00 GiB     -            0  -      killed by signal 9 (SIGKILL)\n");
}

TEST(StatusJsonTest, HoldsWhatScriptsReadOfAJob) {
  const nlohmann::json json = nlohmann::json::parse(JobJson(RunningJob()));
  EXPECT_EQ(json["state"], "RUNNING");
  EXPECT_EQ(json["step"], 12400);
  EXPECT_EQ(json["steps"], 20000);
  EXPECT_EQ(json["loss"], 3.1415);
  EXPECT_EQ(json["tokens_per_second"], 311234);
  EXPECT_EQ(json["bubble"], 0.1684);
  ASSERT_EQ(json["stages"].size(), 1u);
  EXPECT_EQ(json["stages"][0]["parameter_bytes"], 214400000);
  EXPECT_EQ(json["stages"][0]["frames_sent"], 640);
}

TEST(StatusJsonTest, WritesNullForALossThatIsNotANumberOrNotThereYet) {
  v1::JobStatus job = RunningJob();
  job.set_loss(std::numeric_limits<double>::infinity());
  EXPECT_TRUE(nlohmann::json::parse(JobJson(job))["loss"].is_null());
  EXPECT_TRUE(nlohmann::json::parse(JobJson(v1::JobStatus()))["loss"].is_null());
}

TEST(StatusJsonTest, MakesValidJsonOfBytesThatAreNotText) {
  EXPECT_EQ(nlohmann::json::parse(GeneratedJson("a\xff\xfe z", {97, 255}))["text"], "a\xef\xbf\xbd\xef\xbf\xbd z");
}

TEST(StatusJsonTest, PrintsAHashWithEveryTensor) {
  Manifest manifest;
  manifest.step = 12;
  manifest.sha256 = "ab";
  for (const char* name : {"b", "a"}) {
    v1::TensorHash& tensor = manifest.files.emplace_back().tensors.emplace_back();
    tensor.set_name(name);
    tensor.set_sha256(std::string(name) + "0");
  }
  EXPECT_EQ(
      HashJson(manifest),
      "{\n  \"step\": 12,\n  \"sha256\": \"ab\",\n  \"tensors\": {\n    \"a\": \"a0\",\n    \"b\": \"b0\"\n  }\n}\n");
}

TEST(JobViewTest, StagesOfOneRankShareTheLineOfTheFirst) {
  // Bug: the counters of a rank stood beside each of its stages, as if each had sent all of it.
  v1::JobStatus job = RunningJob();
  v1::StageStatus* const second = job.add_stages();
  *second = job.stages(0);
  second->set_stage(1);
  second->set_layers("h.2 .. head");
  const std::string text = JobText(job, 0, kNow);
  EXPECT_EQ(text.find("640"), text.rfind("640"));
  EXPECT_EQ(text.find("localhost/cpu.0"), text.rfind("localhost/cpu.0"));
  EXPECT_THAT(text, HasSubstr("h.2 .. head"));
  EXPECT_THAT(text, HasSubstr("with stage 0\n"));
}

}  // namespace
}  // namespace penstock
