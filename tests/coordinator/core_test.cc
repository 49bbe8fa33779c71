// The whole coordinator over real sockets, with workers that compute nothing.
#include "coordinator/core.h"

#include <gtest/gtest.h>

#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/checkpoint/checkpoint_dir.h"
#include "common/file.h"
#include "common/grpc_status.h"
#include "tests/coordinator/fake_cluster.h"

namespace penstock {
namespace {

using Calls = std::vector<std::string>;

std::string ReadAll(const std::string& path) {
  const absl::StatusOr<std::string> text = ReadFile(path, 1 << 20);
  EXPECT_TRUE(text.ok()) << text.status();
  return text.value_or("");
}

TEST(CoreTest, RunsAJobFromSubmitToItsLastCheckpoint) {
  FakeCluster cluster;
  FakeWorker& w0 = cluster.AddWorker();
  FakeWorker& w1 = cluster.AddWorker();
  const auto job = cluster.Submit(cluster.Spec("tiny", 3));
  ASSERT_TRUE(job.ok()) << job.status();
  EXPECT_EQ(*job, "tiny-1");
  const v1::JobStatus end = cluster.AwaitEnd(*job);
  EXPECT_EQ(end.state(), v1::SUCCEEDED) << end.reason();
  EXPECT_EQ(end.step(), 3u);
  EXPECT_DOUBLE_EQ(end.loss(), 1.0 / 3);
  EXPECT_EQ(end.unit(), "tokens");
  EXPECT_DOUBLE_EQ(end.bubble(), 0.5);
  EXPECT_DOUBLE_EQ(end.tokens_per_second(), 32);
  EXPECT_DOUBLE_EQ(end.eval().loss(), 1.5);
  EXPECT_DOUBLE_EQ(end.eval().accuracy(), 0.5);
  ASSERT_EQ(end.stages_size(), 2);
  EXPECT_EQ(end.stages(0).worker(), "w0");
  EXPECT_GT(end.stages(0).parameters(), 0u);
  EXPECT_EQ(end.checkpoint(), cluster.state_dir() + "/checkpoints/tiny-1/step-3");
  EXPECT_EQ(VerifyCheckpoint(end.checkpoint())->sha256, end.sha256());
  EXPECT_EQ(w0.loaded_jobs() + w1.loaded_jobs(), 0);
  EXPECT_TRUE(FileExists(end.run_dir() + "/summary.json"));
  const std::string metrics = ReadAll(end.run_dir() + "/metrics.jsonl");
  for (const char* part : {"\"step\":1", "\"step\":2", "\"step\":3", "eval_loss"}) {
    EXPECT_TRUE(absl::StrContains(metrics, part)) << part << " is not in\n" << metrics;
  }
}

TEST(CoreTest, EvaluatesSamplesAndSavesAtTheirBoundaries) {
  FakeCluster cluster;
  FakeWorker& worker = cluster.AddWorker();
  const v1::JobSpec spec = cluster.Spec("tiny", 4, 1,
                                        "eval: {every: 2, batches: 3, sample: {prompt: ab, tokens: 2}}\n"
                                        "checkpoint: {every: 3, keep: 2}\n");
  const v1::JobStatus end = cluster.AwaitEnd(*cluster.Submit(spec));
  EXPECT_EQ(end.state(), v1::SUCCEEDED) << end.reason();
  EXPECT_EQ(end.sample(), "abcd");
  EXPECT_EQ(worker.calls(),
            (Calls{"load", "train 1..2", "eval 0..2", "generate 2", "generate 3", "train 3..3", "save 3", "train 4..4",
                   "eval 0..2", "generate 2", "generate 3", "save 4", "unload"}));
  EXPECT_EQ(cluster.Get("tiny").checkpoints_size(), 2);
}

TEST(CoreTest, RecordsTheHashOfEveryStepWhereItIsAskedFor) {
  FakeCluster cluster;
  cluster.AddWorker();
  cluster.AddWorker();
  v1::JobSpec spec = cluster.Spec("tiny", 2);
  spec.mutable_log()->set_hash(true);
  const v1::JobStatus end = cluster.AwaitEnd(*cluster.Submit(spec));
  EXPECT_EQ(end.state(), v1::SUCCEEDED) << end.reason();
  const std::string metrics = ReadAll(end.run_dir() + "/metrics.jsonl");
  EXPECT_TRUE(absl::StrContains(metrics, "\"sha256\"")) << metrics;
}

TEST(CoreTest, AStepWhoseHashDoesNotComeHasItsLineOfMetrics) {
  // The line waited for the hash of all ranks, and was lost where one of them failed before that.
  FakeCluster cluster;
  cluster.AddWorker();
  FakeWorkerOptions options;
  options.after_step = [](uint64_t step) {
    return step < 2 ? absl::OkStatus() : absl::ResourceExhaustedError("out of memory");
  };
  cluster.AddWorker(options);
  v1::JobSpec spec = cluster.Spec("tiny", 5);
  spec.mutable_log()->set_hash(true);
  const v1::JobStatus end = cluster.AwaitEnd(*cluster.Submit(spec));
  EXPECT_EQ(end.state(), v1::FAILED);
  EXPECT_EQ(end.step(), 2u);
  const std::string metrics = ReadAll(end.run_dir() + "/metrics.jsonl");
  EXPECT_TRUE(absl::StrContains(metrics, "{\"step\":2,")) << metrics;
}

TEST(CoreTest, StopsAtTheEndOfTheStepAndGoesOnFromThere) {
  FakeCluster cluster;
  FakeWorker& w0 = cluster.AddWorker();
  cluster.AddWorker();
  w0.HoldAt(3);
  const std::string first = *cluster.Submit(cluster.Spec("tiny", 6));
  w0.AwaitHeld();
  ASSERT_TRUE(cluster.Stop(first).ok());
  EXPECT_EQ(cluster.Get(first).status().state(), v1::STOPPING);
  w0.Release();
  const v1::JobStatus stopped = cluster.AwaitEnd(first);
  EXPECT_EQ(stopped.state(), v1::STOPPED);
  EXPECT_EQ(stopped.step(), 3u);
  EXPECT_EQ(BaseName(stopped.checkpoint()), "step-3");
  EXPECT_TRUE(absl::IsFailedPrecondition(cluster.Stop(first)));
  // At another number of stages.
  const auto second = cluster.Submit(cluster.Spec("tiny", 6, 1), /*resume=*/true);
  ASSERT_TRUE(second.ok()) << second.status();
  const v1::JobStatus end = cluster.AwaitEnd(*second);
  EXPECT_EQ(end.state(), v1::SUCCEEDED) << end.reason();
  EXPECT_EQ(end.step(), 6u);
  const Calls calls = w0.calls();
  EXPECT_EQ(std::count(calls.begin(), calls.end(), "train 4..6"), 1);
}

TEST(CoreTest, StopWithoutCheckpointLeavesNone) {
  FakeCluster cluster;
  FakeWorker& worker = cluster.AddWorker();
  worker.HoldAt(2);
  const std::string job = *cluster.Submit(cluster.Spec("tiny", 6, 1));
  worker.AwaitHeld();
  ASSERT_TRUE(cluster.Stop(job, /*no_checkpoint=*/true).ok());
  worker.Release();
  EXPECT_EQ(cluster.AwaitEnd(job).state(), v1::STOPPED);
  EXPECT_EQ(cluster.Get(job).checkpoints_size(), 0);
}

TEST(CoreTest, JobsWaitForEachOtherWithAReason) {
  FakeCluster cluster;
  FakeWorker& worker = cluster.AddWorker();
  worker.HoldAt(1);
  const std::string first = *cluster.Submit(cluster.Spec("first", 2, 1));
  const std::string second = *cluster.Submit(cluster.Spec("second", 2, 1));
  const std::string third = *cluster.Submit(cluster.Spec("third", 2, 1));
  const std::string huge = *cluster.Submit(cluster.Spec("huge", 2, 3));
  worker.AwaitHeld();
  EXPECT_EQ(cluster.Get(second).status().reason(),
            absl::StrCat("waits for 1 idle worker; 0 of 1 are idle; job ", first, " holds the others"));
  EXPECT_EQ(cluster.Get(third).status().reason(), "waits behind job second-2");
  EXPECT_EQ(cluster.Get(huge).status().reason(),
            "needs 3 workers; the cluster has 1: waits until 2 more join (fewer pipeline.stages need fewer)");
  worker.Release();
  EXPECT_EQ(cluster.AwaitEnd(third).state(), v1::SUCCEEDED);
  EXPECT_EQ(cluster.Get(first).status().state(), v1::SUCCEEDED);
  EXPECT_EQ(cluster.Get(second).status().state(), v1::SUCCEEDED);
  ASSERT_TRUE(cluster.Stop(huge).ok());
  EXPECT_EQ(cluster.AwaitEnd(huge).state(), v1::STOPPED);
}

TEST(CoreTest, AWatchRepeatsAStatusThatDoesNotChange) {
  // Whoever watched a job that waited for workers heard nothing for as long as it waited.
  FakeCluster cluster;
  v1::WatchRequest request;
  request.set_job(*cluster.Submit(cluster.Spec("tiny", 1)));
  grpc::ClientContext context;
  const auto reader = cluster.jobs().Watch(&context, request);
  v1::JobStatus first, second;
  ASSERT_TRUE(reader->Read(&first));
  ASSERT_TRUE(reader->Read(&second));
  EXPECT_EQ(first.state(), v1::PENDING);
  EXPECT_EQ(second.SerializeAsString(), first.SerializeAsString());
  context.TryCancel();
}

TEST(CoreTest, WorkersOfOtherArithmeticShareNoJob) {
  FakeCluster cluster;
  cluster.AddWorker();
  FakeWorkerOptions other;
  other.self_test = "bb";
  cluster.AddWorker(other);
  const std::string job = *cluster.Submit(cluster.Spec("tiny", 1));
  EXPECT_EQ(cluster.Get(job).status().reason(),
            "needs 2 workers with the same numeric fingerprint; the cluster's 2 have 2 different ones");
}

TEST(CoreTest, TheSameRequestIsTheSameJob) {
  FakeCluster cluster;
  const v1::JobSpec spec = cluster.Spec("tiny", 1);
  std::vector<std::thread> threads;
  std::vector<std::string> jobs(8);
  for (std::string& job : jobs) {
    threads.emplace_back([&cluster, &spec, &job] { job = *cluster.Submit(spec, false, "request-1"); });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(std::set<std::string>(jobs.begin(), jobs.end()).size(), 1u);
  v1::JobSpec other = spec;
  other.mutable_train()->set_steps(2);
  EXPECT_TRUE(absl::IsAlreadyExists(cluster.Submit(other, false, "request-1").status()));
}

TEST(CoreTest, GeneratesFromAJobThatHasEnded) {
  FakeCluster cluster;
  FakeWorker& worker = cluster.AddWorker();
  cluster.AddWorker();
  const std::string job = *cluster.Submit(cluster.Spec("tiny", 1));
  ASSERT_EQ(cluster.AwaitEnd(job).state(), v1::SUCCEEDED);
  v1::GenerateRequest request;
  request.set_job("tiny");
  request.set_prompt("abc");
  request.set_tokens(10);
  grpc::ClientContext context;
  const auto reader = cluster.jobs().Generate(&context, request);
  std::string text;
  for (v1::GenerateReply reply; reader->Read(&reply);) text += reply.text();
  EXPECT_TRUE(reader->Finish().ok());
  EXPECT_EQ(text, "defghijklm");
  EXPECT_EQ(worker.loaded_jobs(), 0);
  // The context never grows beyond seq_len.
  const Calls calls = worker.calls();
  EXPECT_EQ(std::count(calls.begin(), calls.end(), "generate 8"), 5);
  EXPECT_EQ(std::count(calls.begin(), calls.end(), "generate 9"), 0);
}

TEST(CoreTest, GenerationNeedsAnIdleWorkerAndACheckpoint) {
  FakeCluster cluster;
  v1::GenerateRequest request;
  request.set_job("tiny");
  request.set_prompt("a");
  const auto generate = [&cluster, &request] {
    grpc::ClientContext context;
    const auto reader = cluster.jobs().Generate(&context, request);
    v1::GenerateReply reply;
    EXPECT_FALSE(reader->Read(&reply));
    return FromGrpc(reader->Finish());
  };
  EXPECT_TRUE(absl::IsNotFound(generate()));
  FakeWorker& worker = cluster.AddWorker();
  ASSERT_EQ(cluster.AwaitEnd(*cluster.Submit(cluster.Spec("tiny", 1, 1))).state(), v1::SUCCEEDED);
  worker.HoldAt(1);
  const std::string busy = *cluster.Submit(cluster.Spec("busy", 1, 1));
  worker.AwaitHeld();
  EXPECT_TRUE(absl::IsFailedPrecondition(generate()));
  worker.Release();
  EXPECT_EQ(cluster.AwaitEnd(busy).state(), v1::SUCCEEDED);
}

TEST(CoreTest, LogLinesReachTheJobsLog) {
  FakeCluster cluster;
  FakeWorker& worker = cluster.AddWorker();
  worker.HoldAt(1);
  const std::string job = *cluster.Submit(cluster.Spec("tiny", 1, 1));
  worker.AwaitHeld();
  v1::LogsRequest request;
  request.set_job(job);
  request.set_follow(true);
  grpc::ClientContext context;
  const auto reader = cluster.jobs().Logs(&context, request);
  v1::LogChunk chunk;
  ASSERT_TRUE(reader->Read(&chunk));
  EXPECT_TRUE(absl::StrContains(chunk.lines(0), "beat ")) << chunk.lines(0);
  worker.Release();
  while (reader->Read(&chunk)) {
  }
  EXPECT_TRUE(reader->Finish().ok()) << "the stream ends with the job";
}

TEST(CoreTest, TheLogOfARankThatTheJobHasNotIsAnError) {
  // It was an empty log: nothing on the screen, and no error.
  FakeCluster cluster;
  v1::LogsRequest request;
  request.set_job(*cluster.Submit(cluster.Spec("tiny", 1)));
  request.set_rank(7);
  grpc::ClientContext context;
  const auto reader = cluster.jobs().Logs(&context, request);
  v1::LogChunk chunk;
  EXPECT_FALSE(reader->Read(&chunk));
  const absl::Status refused = FromGrpc(reader->Finish());
  EXPECT_EQ(refused, absl::InvalidArgumentError("job tiny-1 has no rank 7: it has 2 ranks, 0 to 1"));
}

TEST(CoreTest, StatusShowsWorkersAndJobs) {
  FakeCluster cluster;
  FakeWorker& worker = cluster.AddWorker();
  worker.HoldAt(1);
  const std::string job = *cluster.Submit(cluster.Spec("tiny", 1, 1));
  worker.AwaitHeld();
  v1::ClusterStatus status;
  grpc::ClientContext context;
  ASSERT_TRUE(cluster.cluster().GetStatus(&context, {}, &status).ok());
  ASSERT_EQ(status.workers_size(), 1);
  EXPECT_EQ(status.workers(0).state(), "busy");
  EXPECT_EQ(status.workers(0).job(), job);
  ASSERT_EQ(status.jobs_size(), 1);
  EXPECT_EQ(status.jobs(0).state(), v1::RUNNING);
  EXPECT_EQ(status.state_dir(), cluster.state_dir());
  worker.Release();
  cluster.AwaitEnd(job);
}

}  // namespace
}  // namespace penstock
