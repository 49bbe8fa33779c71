// Into the coordinator's queue and out of it: submissions that meet other jobs, the cluster's end, or a store that
// does not take what it is told.
#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/clock.h"
#include "common/grpc_status.h"
#include "common/sqlite.h"
#include "coordinator/plan/planner.h"
#include "coordinator/submission.h"
#include "tests/coordinator/fake_cluster.h"

namespace penstock {
namespace {

// Runs a test's own code once, where the core reads the time of day.
class HookedClock final : public Clock {
 public:
  absl::Duration Monotonic() const override { return Clock::Real()->Monotonic(); }
  absl::Time Wall() const override {
    if (const std::function<void()> hook = std::exchange(hook_, nullptr)) hook();
    return Clock::Real()->Wall();
  }
  bool AwaitUntil(absl::Mutex* mu, const absl::Condition& condition, absl::Duration deadline) override {
    return Clock::Real()->AwaitUntil(mu, condition, deadline);
  }
  void Sleep(absl::Duration duration) override { Clock::Real()->Sleep(duration); }

  // Not while another thread uses the clock.
  void HookWall(std::function<void()> hook) { hook_ = std::move(hook); }

 private:
  mutable std::function<void()> hook_;
};

TEST(CoreQueueTest, ACheckpointFolderBelongsToOneJobUntilItHasEnded) {
  // The folder was only looked at for checkpoints when a job was submitted: two jobs could own one empty folder, and
  // each deleted what the other had begun to write there.
  FakeCluster cluster;
  FakeWorker& worker = cluster.AddWorker();
  worker.HoldAt(1);
  v1::JobSpec spec = cluster.Spec("tiny", 2, 1);
  spec.mutable_checkpoint()->set_dir(cluster.state_dir() + "/mine");
  const std::string first = *cluster.Submit(spec);
  worker.AwaitHeld();
  spec.mutable_checkpoint()->set_dir(cluster.state_dir() + "/./mine/");
  for (const bool resume : {false, true}) {
    const absl::Status refused = cluster.Submit(spec, resume).status();
    EXPECT_TRUE(absl::IsAlreadyExists(refused)) << refused;
    EXPECT_TRUE(absl::StartsWith(refused.message(), absl::StrCat("job ", first, ", which has not ended,"))) << refused;
  }
  worker.Release();
  ASSERT_EQ(cluster.AwaitEnd(first).state(), v1::SUCCEEDED);
  spec.mutable_train()->set_steps(3);
  const auto next = cluster.Submit(spec, /*resume=*/true);
  ASSERT_TRUE(next.ok()) << next.status();
  EXPECT_EQ(cluster.AwaitEnd(*next).step(), 3u);
}

TEST(CoreQueueTest, AJobDoesNotGoOnFromACheckpointThatARunningOneMayRemove) {
  // A job without a folder of its own name went on from the newest checkpoint of the running job with its name, waited
  // for that job's end, and found that it had been pruned meanwhile.
  FakeCluster cluster;
  FakeWorker& worker = cluster.AddWorker();
  worker.HoldAt(3);
  const v1::JobSpec spec = cluster.Spec("tiny", 4, 1, "checkpoint: {every: 1, keep: 2}\n");
  const std::string first = *cluster.Submit(spec);
  worker.AwaitHeld();
  const absl::Status refused = cluster.Submit(spec, /*resume=*/true).status();
  EXPECT_TRUE(absl::IsAlreadyExists(refused)) << refused;
  EXPECT_TRUE(absl::StartsWith(refused.message(), absl::StrCat("job ", first, ", which has not ended, may remove ")))
      << refused;
  worker.Release();
  EXPECT_EQ(cluster.AwaitEnd(first).state(), v1::SUCCEEDED);
}

TEST(CoreQueueTest, AJobThatHasNothingLeftToDoIsRefused) {
  // It ran for a moment and ended with loss 0, or failed after it had loaded.
  FakeCluster cluster;
  cluster.AddWorker();
  ASSERT_EQ(cluster.AwaitEnd(*cluster.Submit(cluster.Spec("tiny", 3, 1))).state(), v1::SUCCEEDED);
  for (const int steps : {3, 2}) {
    const absl::Status refused = cluster.Submit(cluster.Spec("tiny", steps, 1), /*resume=*/true).status();
    EXPECT_TRUE(absl::IsInvalidArgument(refused)) << refused;
    EXPECT_EQ(refused.message(),
              absl::StrCat("nothing is left to do: the newest checkpoint, ", cluster.state_dir(),
                           "/checkpoints/tiny-1/step-3, is at step 3 and train.steps is ", steps,
                           ": raise train.steps to train longer, or submit without --resume to start anew"));
  }
}

TEST(CoreQueueTest, AJobThatGoesOnSaysFromWhere) {
  // From which of several checkpoints a job went on stood nowhere.
  FakeCluster cluster;
  cluster.AddWorker();
  const v1::JobStatus first = cluster.AwaitEnd(*cluster.Submit(cluster.Spec("tiny", 3, 1)));
  const std::string second = *cluster.Submit(cluster.Spec("tiny", 5, 2), /*resume=*/true);  // waits for a second worker
  v1::JobStatus status = cluster.Get(second).status();
  EXPECT_EQ(status.state(), v1::PENDING);
  EXPECT_EQ(status.resumed_from(), first.checkpoint());
  EXPECT_EQ(status.resumed_step(), 3u);
  EXPECT_EQ(status.step(), 3u);
  ASSERT_TRUE(cluster.Stop(second).ok());
  status = cluster.AwaitEnd(second);
  EXPECT_EQ(status.step(), 3u);
  EXPECT_EQ(status.reason(), "stopped; submit it again with --resume to go on from step 3");
}

TEST(CoreQueueTest, ASubmissionThatMeetsADrainWaitsForTheNextCoordinator) {
  // A job that was checked before a drain and came into the queue after it was never stopped, and the drain never
  // returned.
  FakeCluster maker;
  ClusterSpec spec;
  spec.state_dir = NewTestDir();
  spec.launch = LaunchWith::kNone;
  const auto store = JobStore::Open(spec.state_dir, absl::UnixEpoch());
  ASSERT_TRUE(store.ok()) << store.status();
  JobRecords records(spec.state_dir);
  HookedClock clock;
  Core core(spec, store->get(), &records, &clock);
  v1::SubmitRequest request;
  request.set_request_id("request-1");
  *request.mutable_spec() = maker.Spec("tiny", 1, 1);
  // The time of the submission is read between the last check and the job's way into the store.
  clock.HookWall([&core] { core.Drain(/*no_checkpoint=*/true); });
  const auto job = core.Submit(request);
  ASSERT_TRUE(job.ok()) << job.status();
  core.Drain(/*no_checkpoint=*/true);
  EXPECT_TRUE(core.drained());
  EXPECT_EQ((*store)->Get(*job)->status.state(), v1::PENDING);
}

TEST(CoreQueueTest, APlanOfSeveralMegabytesReachesItsWorkersAndWhoeverAsksForIt) {
  // gRPC's own 4 MiB ended the loading of such a job, and every question after it.
  FakeCluster cluster;
  cluster.AddWorker();
  cluster.AddWorker();
  v1::JobSpec spec = cluster.Spec("long", 1);
  spec.mutable_train()->set_batch_size(65536);
  spec.mutable_pipeline()->set_micro_batches(65536);
  const auto job = cluster.Submit(spec);
  ASSERT_TRUE(job.ok()) << job.status();
  EXPECT_EQ(cluster.AwaitEnd(*job).state(), v1::SUCCEEDED);
  EXPECT_GT(cluster.Get(*job).plan().ByteSizeLong(), size_t{5} << 20);
}

TEST(CoreQueueTest, APlanThatNoMessageHoldsIsRefused) {
  FakeCluster cluster;
  v1::Plan plan;
  plan.set_micro_batches(70000);
  plan.add_stages();
  plan.set_cost_source(std::string(size_t{56} << 20, 'x'));
  const absl::Status refused = CheckPlanTravels(cluster.Spec("tiny", 1), plan);
  EXPECT_TRUE(absl::IsInvalidArgument(refused)) << refused;
  EXPECT_EQ(refused.message(),
            "the plan's lists take 56 MiB, one message holds 56: lower pipeline.micro_batches (70000) or "
            "pipeline.stages (1)");
  plan.clear_cost_source();
  EXPECT_TRUE(CheckPlanTravels(cluster.Spec("tiny", 1), plan).ok());
}

TEST(CoreQueueTest, AJobThatNeedsMoreWorkersThanTheClustersFileNamesIsRefused) {
  // It waited for ever, without a word of what to do.
  FakeCluster maker;
  ClusterSpec spec;
  spec.name = "lab";
  spec.state_dir = NewTestDir();
  spec.workers = {{"h/cpu.0", "h", "cpu", 0}};
  const auto store = JobStore::Open(spec.state_dir, absl::UnixEpoch());
  ASSERT_TRUE(store.ok()) << store.status();
  JobRecords records(spec.state_dir);
  Core core(spec, store->get(), &records, Clock::Real());
  v1::SubmitRequest request;
  request.set_request_id("request-1");
  *request.mutable_spec() = maker.Spec("tiny", 1, 2);
  const absl::Status refused = core.Submit(request).status();
  EXPECT_TRUE(absl::IsFailedPrecondition(refused)) << refused;
  EXPECT_EQ(refused.message(),
            "the plan has 2 ranks, cluster lab has 1 worker: lower pipeline.stages, or add workers to the cluster's "
            "file and start it anew");
  *request.mutable_spec() = maker.Spec("tiny", 1, 1);
  EXPECT_TRUE(core.Submit(request).ok());
  core.Drain(/*no_checkpoint=*/true);
}

TEST(CoreQueueTest, WatchingAJobThatWaitsInTheStoreEndsWithTheCluster) {
  // The watch of a job that had left the queue with a drain asked for its state again and again without a pause, for
  // as long as somebody listened.
  FakeCluster cluster;
  const std::string job = *cluster.Submit(cluster.Spec("tiny", 1));
  cluster.core().Drain(/*no_checkpoint=*/true);
  v1::WatchRequest request;
  request.set_job(job);
  grpc::ClientContext context;
  const auto reader = cluster.jobs().Watch(&context, request);
  v1::JobStatus status;
  ASSERT_TRUE(reader->Read(&status));
  EXPECT_EQ(status.state(), v1::PENDING);
  EXPECT_FALSE(reader->Read(&status));
  const absl::Status ended = FromGrpc(reader->Finish());
  EXPECT_TRUE(absl::IsUnavailable(ended)) << ended;
}

TEST(CoreQueueTest, AnEndThatTheStoreDoesNotTakeIsSeenNevertheless) {
  // Where the job's end could not be stored, the store went on to say that it runs, and whoever watched it never heard
  // of its end.
  FakeCluster cluster;
  cluster.AddWorker();
  auto database = SqliteDatabase::Open(cluster.state_dir() + "/jobs.db");
  ASSERT_TRUE(database.ok()) << database.status();
  const absl::Status broken = database->Exec(
      "CREATE TRIGGER no_end BEFORE UPDATE ON jobs WHEN NEW.ended_unix_ms > 0 "
      "BEGIN SELECT RAISE(ABORT, 'the disk is broken'); END");
  ASSERT_TRUE(broken.ok()) << broken;
  const std::string job = *cluster.Submit(cluster.Spec("tiny", 1, 1));
  EXPECT_EQ(cluster.AwaitEnd(job).state(), v1::SUCCEEDED);
  EXPECT_EQ(cluster.Get(job).status().state(), v1::SUCCEEDED);
  EXPECT_EQ(cluster.core().List(1)->front().state(), v1::SUCCEEDED);
}

TEST(CoreQueueTest, ALeaseIsNotTakenForAJobThatIsNamedLikeIt) {
  // A job named "generate" and a lease had the same name, "generate-1": the end of the lease gave the job's worker to
  // the next one.
  FakeCluster cluster;
  FakeWorker& worker = cluster.AddWorker();
  worker.HoldAt(1);
  const std::string job = *cluster.Submit(cluster.Spec("generate", 1, 1));
  worker.AwaitHeld();
  cluster.AddWorker();
  {
    const auto lease = cluster.core().Lease(1, "test");
    ASSERT_TRUE(lease.ok()) << lease.status();
    EXPECT_NE((*lease)->name(), job);
  }
  EXPECT_EQ(cluster.core().Status().workers(0).state(), "busy");
  EXPECT_EQ(cluster.core().Status().workers(1).state(), "idle");
  worker.Release();
  EXPECT_EQ(cluster.AwaitEnd(job).state(), v1::SUCCEEDED);
}

TEST(CoreQueueTest, AStoredJobThatCannotRunFailsAndTheClusterStarts) {
  // One such job in the store, say of an earlier version, kept the coordinator from starting at all.
  const std::string dir = NewTestDir();
  std::string broken, whole;
  {
    FakeCluster maker;
    const auto store = JobStore::Open(dir, absl::UnixEpoch());
    ASSERT_TRUE(store.ok()) << store.status();
    NewJob job{"request-1", maker.Spec("broken", 1, 1), {}, "", false, ""};
    job.plan = *MakePlan(job.spec);
    v1::JobSpec without_model = job.spec;
    without_model.clear_model();
    broken = *(*store)->Insert({"request-1", without_model, job.plan, "", false, ""}, absl::UnixEpoch());
    job.request_id = "request-2";
    whole = *(*store)->Insert(job, absl::UnixEpoch());
  }
  FakeCluster cluster(dir);
  const v1::JobStatus failed = cluster.AwaitEnd(broken);
  EXPECT_EQ(failed.state(), v1::FAILED);
  EXPECT_FALSE(failed.reason().empty());
  ASSERT_EQ(failed.failure_size(), 1);
  EXPECT_EQ(failed.failure(0), failed.reason());
  cluster.AddWorker();
  EXPECT_EQ(cluster.AwaitEnd(whole).state(), v1::SUCCEEDED);
}

TEST(CoreQueueTest, AJobWaitsForAWorkerThatItFits) {
  // The memory was checked once, at the submission, against the first workers of the cluster; the job then ran on
  // whichever were idle, as here on one of a single KiB.
  FakeCluster cluster;
  FakeWorker& large = cluster.AddWorker();
  FakeWorkerOptions options;
  options.memory_bytes = 1024;
  FakeWorker& small = cluster.AddWorker(options);
  large.HoldAt(1);
  const std::string first = *cluster.Submit(cluster.Spec("first", 1, 1));
  large.AwaitHeld();
  const std::string second = *cluster.Submit(cluster.Spec("second", 1, 1));
  const std::string reason = cluster.Get(second).status().reason();
  EXPECT_TRUE(absl::StartsWith(reason, "waits for a larger worker: rank 0 needs ")) << reason;
  EXPECT_TRUE(absl::EndsWith(reason, " MiB, and w1, the largest that is idle and left for it, has 0.0 MiB")) << reason;
  large.Release();
  EXPECT_EQ(cluster.AwaitEnd(second).state(), v1::SUCCEEDED);
  EXPECT_EQ(cluster.Get(first).status().state(), v1::SUCCEEDED);
  EXPECT_TRUE(small.calls().empty());
}

TEST(CoreQueueTest, AJobTakesTheWorkersThatAreLargeEnough) {
  // Only the first workers of the cluster were looked at: the submission was refused, or waited for them to grow, with
  // larger ones idle beside them.
  FakeCluster cluster;
  FakeWorkerOptions options;
  options.memory_bytes = 1024;
  FakeWorker& small = cluster.AddWorker(options);
  cluster.AddWorker();
  const auto job = cluster.Submit(cluster.Spec("tiny", 1, 1));
  ASSERT_TRUE(job.ok()) << job.status();
  EXPECT_EQ(cluster.AwaitEnd(*job).state(), v1::SUCCEEDED);
  EXPECT_TRUE(small.calls().empty());
}

}  // namespace
}  // namespace penstock
