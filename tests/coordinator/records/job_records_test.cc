#include "coordinator/records/job_records.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/common/scratch_dir.h"

namespace penstock {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

v1::LogLine Line(uint32_t rank, int64_t unix_ms, const std::string& text) {
  v1::LogLine line;
  line.set_job("kjv-1");
  line.set_rank(rank);
  line.set_unix_ms(unix_ms);
  line.set_text(text);
  return line;
}

class JobRecordsTest : public ::testing::Test {
 protected:
  JobRecordsTest() : records_(dir_.path()) { EXPECT_TRUE(records_.Create("kjv-1", "kind: job\n").ok()); }

  const ScratchDir dir_;
  JobRecords records_;
};

TEST_F(JobRecordsTest, KeepsTheResolvedJobFile) {
  EXPECT_EQ(records_.RunDir("kjv-1"), dir_ / "runs/kjv-1");
  EXPECT_EQ(Slurp(dir_ / "runs/kjv-1/job.yaml"), "kind: job\n");
}

TEST_F(JobRecordsTest, MetricsKeepEveryDigit) {
  StepMetrics metrics;
  metrics.step = 7;
  metrics.loss = 0.1;
  metrics.lr = 3e-4;
  metrics.grad_norm = 1.0 / 3;
  ASSERT_TRUE(records_.AppendMetrics("kjv-1", metrics).ok());
  metrics.step = 8;
  metrics.sha256 = "abc";
  ASSERT_TRUE(records_.AppendMetrics("kjv-1", metrics).ok());
  EXPECT_EQ(Slurp(dir_ / "runs/kjv-1/metrics.jsonl"),
            "{\"step\":7,\"loss\":0.1,\"lr\":0.0003,\"grad_norm\":0.3333333333333333,\"step_seconds\":0.0,"
            "\"tokens_per_second\":0.0,\"bubble\":0.0}\n"
            "{\"step\":8,\"loss\":0.1,\"lr\":0.0003,\"grad_norm\":0.3333333333333333,\"step_seconds\":0.0,"
            "\"tokens_per_second\":0.0,\"bubble\":0.0,\"sha256\":\"abc\"}\n");
}

TEST_F(JobRecordsTest, AnEvaluationHasALineOfItsOwn) {
  StepMetrics metrics;
  metrics.step = 7;
  metrics.loss = 99;
  metrics.eval.emplace();
  metrics.eval->set_loss(2.25);
  metrics.eval->set_accuracy(0.5);
  ASSERT_TRUE(records_.AppendMetrics("kjv-1", metrics).ok());
  EXPECT_EQ(Slurp(dir_ / "runs/kjv-1/metrics.jsonl"), "{\"step\":7,\"eval_loss\":2.25,\"eval_accuracy\":0.5}\n");
}

TEST_F(JobRecordsTest, ALossThatIsNotANumberLeavesALineOfJson) {
  StepMetrics metrics;
  metrics.loss = std::numeric_limits<double>::quiet_NaN();
  metrics.grad_norm = std::numeric_limits<double>::infinity();
  ASSERT_TRUE(records_.AppendMetrics("kjv-1", metrics).ok());
  const json line = json::parse(Slurp(dir_ / "runs/kjv-1/metrics.jsonl"), nullptr, false);
  ASSERT_FALSE(line.is_discarded());
  EXPECT_TRUE(line["loss"].is_null());
  EXPECT_TRUE(line["grad_norm"].is_null());
}

TEST_F(JobRecordsTest, TheSummaryHoldsTheResult) {
  v1::JobStatus status;
  status.set_job("kjv-1");
  status.set_state(v1::SUCCEEDED);
  status.set_step(400);
  status.set_steps(400);
  status.set_loss(2.125);
  status.set_step_seconds(0.25);
  status.set_tokens_per_second(4096);
  status.set_sha256("abc");
  status.set_checkpoint("/data/step-400");
  status.set_sample("In the beginning\xff");
  ASSERT_TRUE(records_.WriteSummary(status).ok());
  json summary = json::parse(Slurp(dir_ / "runs/kjv-1/summary.json"), nullptr, false);
  EXPECT_EQ(summary["state"], "SUCCEEDED");
  EXPECT_EQ(summary["step"], 400);
  EXPECT_EQ(summary["loss"], 2.125);
  EXPECT_EQ(summary["step_seconds"], 0.25);
  EXPECT_EQ(summary["sha256"], "abc");
  EXPECT_EQ(summary["checkpoint"], "/data/step-400");
  EXPECT_TRUE(summary["eval_loss"].is_null());
  status.mutable_eval()->set_loss(2.25);
  ASSERT_TRUE(records_.WriteSummary(status).ok());
  summary = json::parse(Slurp(dir_ / "runs/kjv-1/summary.json"), nullptr, false);
  EXPECT_EQ(summary["eval_loss"], 2.25);
}

TEST_F(JobRecordsTest, LogLinesGoToTheirRankAndToAll) {
  ASSERT_TRUE(
      records_.AppendLog("kjv-1", {Line(0, 1767225600123, "loaded"), Line(1, 1767225601000, "two\nlines\n")}).ok());
  ASSERT_TRUE(records_.AppendLog("kjv-1", {Line(0, 1767225602000, "done")}).ok());
  EXPECT_THAT(records_.ReadLog("kjv-1", std::nullopt, 0)->lines(),
              ElementsAre("2026-01-01T00:00:00.123Z rank 0: loaded", "2026-01-01T00:00:01.000Z rank 1: two",
                          "2026-01-01T00:00:01.000Z rank 1: lines", "2026-01-01T00:00:02.000Z rank 0: done"));
  EXPECT_THAT(records_.ReadLog("kjv-1", 1, 0)->lines(),
              ElementsAre("2026-01-01T00:00:01.000Z two", "2026-01-01T00:00:01.000Z lines"));
  EXPECT_THAT(records_.TailLog("kjv-1", 0, 1), ElementsAre("2026-01-01T00:00:02.000Z done"));
  EXPECT_EQ(Slurp(dir_ / "logs/kjv-1/rank-0.replica-0.log"),
            "2026-01-01T00:00:00.123Z loaded\n2026-01-01T00:00:02.000Z done\n");
  const auto chunk = records_.ReadLog("kjv-1", 0, 0);
  EXPECT_THAT(records_.ReadLog("kjv-1", 0, chunk->next())->lines(), IsEmpty());
}

TEST_F(JobRecordsTest, AWorkersOutputCannotSteerATerminal) {
  ASSERT_TRUE(records_.AppendLog("kjv-1", {Line(0, 0, "\x1b[2Jcleared\rover\ttab")}).ok());
  EXPECT_THAT(records_.ReadLog("kjv-1", 0, 0)->lines(), ElementsAre("1970-01-01T00:00:00.000Z ?[2Jcleared?over\ttab"));
}

TEST_F(JobRecordsTest, AJobsNameCannotLeadOutOfTheFolder) {
  for (const std::string job : {"", "..", "../x", "a/b"}) {
    EXPECT_TRUE(absl::IsInvalidArgument(records_.Create(job, "x"))) << job;
    EXPECT_TRUE(absl::IsInvalidArgument(records_.AppendLog(job, {Line(0, 0, "x")}))) << job;
    EXPECT_TRUE(absl::IsInvalidArgument(records_.AppendMetrics(job, {}))) << job;
    EXPECT_TRUE(absl::IsInvalidArgument(records_.ReadLog(job, 0, 0).status())) << job;
    EXPECT_THAT(records_.TailLog(job, 0, 5), IsEmpty());
  }
}

TEST_F(JobRecordsTest, ARankThatSaidNothingHasAnEmptyLog) {
  const auto chunk = records_.ReadLog("kjv-1", 5, 0);
  ASSERT_TRUE(chunk.ok());
  EXPECT_THAT(chunk->lines(), IsEmpty());
  EXPECT_THAT(records_.TailLog("kjv-1", 5, 5), IsEmpty());
}

}  // namespace
}  // namespace penstock
