// What goes wrong around the coordinator, over real sockets: workers that fail or die, bad requests, its own end.
#include <gtest/gtest.h>

#include <string>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/checkpoint/checkpoint_dir.h"
#include "common/fake_clock.h"
#include "common/file.h"
#include "common/logging.h"
#include "coordinator/core.h"
#include "coordinator/submission.h"
#include "tests/coordinator/fake_cluster.h"

namespace penstock {
namespace {

// A cluster of one worker, on which one job is held in its second step while another waits for it.
struct BusyCluster {
  // Args: steps: of the job that runs.
  BusyCluster(const std::string& dir, int steps) : cluster(dir), worker(cluster.AddWorker()) {
    worker.HoldAt(2);
    ran = *cluster.Submit(cluster.Spec("ran", steps, 1));
    worker.AwaitHeld();
    waited = *cluster.Submit(cluster.Spec("waited", 1, 1));
  }

  FakeCluster cluster;
  FakeWorker& worker;
  std::string ran, waited;  // ids
};

TEST(CoreFaultsTest, AnErrorOfAWorkerFailsTheJobWithItsCauseAndFreesTheOthers) {
  FakeCluster cluster;
  FakeWorker& w0 = cluster.AddWorker();
  FakeWorkerOptions options;
  options.on_step = [](uint64_t step) {
    return step < 2 ? absl::OkStatus() : absl::ResourceExhaustedError("stage 1, micro-batch 0: out of memory");
  };
  cluster.AddWorker(options);
  const v1::JobStatus end = cluster.AwaitEnd(*cluster.Submit(cluster.Spec("tiny", 5)));
  EXPECT_EQ(end.state(), v1::FAILED);
  EXPECT_TRUE(absl::StartsWith(end.reason(), "stage 1 (worker w1, pid ")) << end.reason();
  EXPECT_TRUE(absl::EndsWith(end.reason(), "out of memory")) << end.reason();
  EXPECT_EQ(end.failure(0), end.reason());
  EXPECT_EQ(end.step(), 1u);
  EXPECT_EQ(w0.calls().back(), "unload");
  // The coordinator lives on: the next job runs on the same workers.
  EXPECT_EQ(cluster.AwaitEnd(*cluster.Submit(cluster.Spec("next", 1))).state(), v1::SUCCEEDED);
}

TEST(CoreFaultsTest, AGradientThatIsNotFiniteFailsTheJobNamingStepAndParameter) {
  FakeCluster cluster;
  FakeWorkerOptions options;
  options.squared_norm = [](uint64_t step) { return step < 3 ? 1.0 : 0.0 / 0.0; };
  cluster.AddWorker(options);
  const v1::JobStatus end = cluster.AwaitEnd(*cluster.Submit(cluster.Spec("tiny", 5, 1)));
  EXPECT_EQ(end.state(), v1::FAILED);
  EXPECT_EQ(end.reason(), "step 3: the gradient of wte.weight is not finite");
  EXPECT_EQ(end.step(), 2u);
}

TEST(CoreFaultsTest, AnOverflowInFp16SkipsTheStepAndTheJobGoesOn) {
  FakeCluster cluster;
  FakeWorkerOptions options;
  options.squared_norm = [](uint64_t step) { return step == 2 || step == 3 ? 0.0 / 0.0 : 1.0; };
  cluster.AddWorker(options);
  v1::JobSpec spec = cluster.Spec("half", 6, 1);
  spec.mutable_train()->set_precision("fp16");
  spec.mutable_train()->mutable_loss_scale()->set_initial(64);
  spec.mutable_train()->mutable_loss_scale()->set_growth_interval(100);
  spec.mutable_model()->set_compute(v1::DTYPE_FLOAT16);
  const v1::JobStatus end = cluster.AwaitEnd(*cluster.Submit(spec));
  EXPECT_EQ(end.state(), v1::SUCCEEDED) << end.reason();
  EXPECT_EQ(end.step(), 6u);
  EXPECT_EQ(end.skipped_steps(), 2u);
  EXPECT_EQ(end.loss_scale(), 16);
  const absl::StatusOr<Manifest> manifest = ReadManifest(end.checkpoint());
  ASSERT_TRUE(manifest.ok()) << manifest.status();
  EXPECT_EQ(manifest->loss_scale.scale(), 16);
  EXPECT_EQ(manifest->loss_scale.steady(), 3u);
  EXPECT_EQ(manifest->loss_scale.skipped(), 2u);
}

TEST(CoreFaultsTest, AWorkerThatFallsSilentFailsTheJobAndTheOthersAreFreed) {
  FakeCluster cluster("", absl::Milliseconds(400));
  FakeWorker& w0 = cluster.AddWorker();
  FakeWorker& w1 = cluster.AddWorker();
  w1.HoldAt(2);
  const std::string job = *cluster.Submit(cluster.Spec("tiny", 5));
  w1.AwaitHeld();
  w1.Die();
  const v1::JobStatus end = cluster.AwaitEnd(job);
  EXPECT_EQ(end.state(), v1::FAILED);
  EXPECT_TRUE(absl::StrContains(end.reason(), "no heartbeat")) << end.reason();
  EXPECT_TRUE(absl::StartsWith(end.reason(), "stage 1 (worker w1")) << end.reason();
  EXPECT_EQ(w0.calls().back(), "unload");
  EXPECT_EQ(w0.loaded_jobs(), 0);
}

TEST(CoreFaultsTest, ALaunchedProcessesEndIsTheCauseNotTheBrokenStreams) {
  FakeCluster cluster;
  cluster.AddWorker();
  FakeWorker& w1 = cluster.AddWorker();
  w1.HoldAt(2);
  const std::string job = *cluster.Submit(cluster.Spec("tiny", 5));
  w1.AwaitHeld();
  w1.Die();
  cluster.core().OnWorkerExit({"w1", false, "killed by signal 9 (SIGKILL)", {"last words"}});
  const v1::JobStatus end = cluster.AwaitEnd(job);
  EXPECT_EQ(end.state(), v1::FAILED);
  EXPECT_TRUE(absl::EndsWith(end.reason(), "killed by signal 9 (SIGKILL)")) << end.reason();
  ASSERT_GE(end.failure_size(), 2);
  EXPECT_EQ(end.failure(1), "  | last words");
}

TEST(CoreFaultsTest, ResumeWithoutACheckpointIsNotFound) {
  FakeCluster cluster;
  const absl::Status refused = cluster.Submit(cluster.Spec("tiny", 6), /*resume=*/true).status();
  EXPECT_TRUE(absl::IsNotFound(refused)) << refused;
}

TEST(CoreFaultsTest, ACheckpointFolderOfAnotherRunIsRefusedUnlessItGoesOn) {
  FakeCluster cluster;
  cluster.AddWorker();
  v1::JobSpec spec = cluster.Spec("tiny", 2, 1);
  spec.mutable_checkpoint()->set_dir(cluster.state_dir() + "/mine");
  ASSERT_EQ(cluster.AwaitEnd(*cluster.Submit(spec)).state(), v1::SUCCEEDED);
  const absl::Status refused = cluster.Submit(spec).status();
  EXPECT_TRUE(absl::IsAlreadyExists(refused)) << refused;
  EXPECT_TRUE(absl::StrContains(refused.message(), "--resume")) << refused;
  spec.mutable_train()->set_steps(4);
  const v1::JobStatus end = cluster.AwaitEnd(*cluster.Submit(spec, /*resume=*/true));
  EXPECT_EQ(end.state(), v1::SUCCEEDED) << end.reason();
  EXPECT_EQ(end.step(), 4u);
}

TEST(CoreFaultsTest, ACheckpointFolderThatTakesNoFilesIsRefusedAtTheSubmission) {
  // It was found at the first checkpoint only, after hours of training.
  FakeCluster cluster;
  v1::JobSpec spec = cluster.Spec("tiny", 2, 1);
  const std::string dir = cluster.state_dir() + "/data.txt/inside";  // below a file
  spec.mutable_checkpoint()->set_dir(dir);
  const absl::Status refused = cluster.Submit(spec).status();
  EXPECT_TRUE(absl::IsInvalidArgument(refused)) << refused;
  EXPECT_TRUE(absl::StartsWith(refused.message(), absl::StrCat("no checkpoint can be written to ", dir))) << refused;
}

TEST(CoreFaultsTest, ASpecThatMakesNoSenseIsRefused) {
  FakeCluster cluster;
  v1::JobSpec spec = cluster.Spec("tiny", 1);
  spec.mutable_pipeline()->set_stages(9);
  EXPECT_TRUE(absl::IsInvalidArgument(cluster.Submit(spec).status()));
  spec = cluster.Spec("tiny", 1);
  spec.set_name("../outside");
  EXPECT_TRUE(absl::IsInvalidArgument(cluster.Submit(spec).status()));
}

TEST(CoreFaultsTest, AFloodOfSubmissionsEndsInResourceExhausted) {
  FakeCluster cluster;
  const v1::JobSpec spec = cluster.Spec("tiny", 1, 1);
  for (size_t i = 0; i < FakeCluster::kMaxQueued; ++i) ASSERT_TRUE(cluster.Submit(spec).ok()) << i;
  EXPECT_TRUE(absl::IsResourceExhausted(cluster.Submit(spec).status()));
}

TEST(CoreFaultsTest, AWorkerWithAKnownIdOrAnotherVersionIsRefused) {
  FakeCluster cluster;
  cluster.AddWorker();
  FakeWorkerOptions options;
  options.coordinator = cluster.address();
  FakeWorker twin(options);
  EXPECT_TRUE(absl::IsAlreadyExists(twin.Start()));
  options.id = "w9";
  options.version = "0.0.1";
  FakeWorker old(options);
  EXPECT_TRUE(absl::IsFailedPrecondition(old.Start()));
}

TEST(CoreFaultsTest, AVoteOfAnotherEpochOrProcessIsRefused) {
  FakeCluster cluster;
  FakeWorker& worker = cluster.AddWorker();
  worker.HoldAt(1);
  const std::string job = *cluster.Submit(cluster.Spec("tiny", 1, 1));
  worker.AwaitHeld();
  v1::StepVote vote;
  vote.set_job(job);
  vote.set_plan_epoch(9);
  absl::Status answer;
  const auto take = [&answer](absl::StatusOr<v1::StepDecision> decision) { answer = decision.status(); };
  cluster.core().CommitStep(vote, take);
  EXPECT_TRUE(absl::IsFailedPrecondition(answer)) << answer;
  vote.set_plan_epoch(1);
  vote.set_worker("w0");
  vote.set_incarnation(worker.incarnation() + 1);
  cluster.core().CommitStep(vote, take);
  EXPECT_TRUE(absl::IsAborted(answer)) << answer;
  worker.Release();
  EXPECT_EQ(cluster.AwaitEnd(job).state(), v1::SUCCEEDED);
}

TEST(CoreFaultsTest, AJobThatRanWhenTheCoordinatorDiedHasFailedAndOneThatWaitedRuns) {
  const std::string dir = NewTestDir();
  std::string ran, waited;
  {
    BusyCluster busy(dir, 3);
    ran = busy.ran;
    waited = busy.waited;
    busy.cluster.Crash();
  }
  FakeCluster cluster(dir);
  EXPECT_EQ(cluster.Get(ran).status().state(), v1::FAILED);
  cluster.AddWorker();
  EXPECT_EQ(cluster.AwaitEnd(waited).state(), v1::SUCCEEDED);
}

TEST(CoreFaultsTest, ShutdownStopsJobsWithACheckpointAndLeavesTheQueue) {
  const std::string dir = NewTestDir();
  std::string ran, waited;
  {
    BusyCluster busy(dir, 9);
    FakeCluster& cluster = busy.cluster;
    ran = busy.ran;
    waited = busy.waited;
    std::thread shutdown([&cluster] {
      v1::ShutdownClusterReply reply;
      grpc::ClientContext context;
      EXPECT_TRUE(cluster.cluster().Shutdown(&context, {}, &reply).ok());
    });
    uint64_t version = 0;
    while (cluster.core().AwaitChange(ran, absl::Seconds(1), &version)->state() != v1::STOPPING) {
    }
    busy.worker.Release();
    shutdown.join();
    EXPECT_TRUE(cluster.core().drained());
    EXPECT_TRUE(absl::IsUnavailable(cluster.Submit(cluster.Spec("late", 1)).status()));
  }
  FakeCluster cluster(dir);
  EXPECT_EQ(cluster.Get(ran).status().state(), v1::STOPPED);
  EXPECT_EQ(BaseName(cluster.Get(ran).status().checkpoint()), "step-2");
  EXPECT_EQ(cluster.Get(waited).status().state(), v1::PENDING);
}

TEST(CoreFaultsTest, APortInUseIsAClearError) {
  FakeCluster cluster;
  const auto second = CoordinatorServer::Start(cluster.address(), &cluster.core());
  EXPECT_TRUE(absl::IsUnavailable(second.status()));
  EXPECT_TRUE(absl::StrContains(second.status().message(), cluster.address())) << second.status();
}

// Takes note of what it is asked to start.
class NotingLauncher final : public Launcher {
 public:
  absl::Status Start(const WorkerLaunch& worker) override {
    absl::MutexLock lock(&mu_);
    started_.push_back(worker.id);
    return answer;
  }
  absl::Status answer;  // of every Start; set before the launcher is used
  void StopAll(absl::Duration) override {}
  // Turns the clock until the worker was started `count` times.
  void AwaitStarts(size_t count, FakeClock* clock) {
    absl::MutexLock lock(&mu_);
    const auto enough = [this, count]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return started_.size() >= count; };
    while (!mu_.AwaitWithTimeout(absl::Condition(&enough), absl::Milliseconds(1))) {
      clock->Advance(absl::Milliseconds(20));
    }
    EXPECT_EQ(started_, std::vector<std::string>(count, "h/cpu.0"));
  }

 private:
  absl::Mutex mu_;
  std::vector<std::string> started_ ABSL_GUARDED_BY(mu_);
};

// A core that launches one worker, whose time only the launcher turns.
struct LaunchingCore {
  // Args: answer: of the launcher to every start.
  explicit LaunchingCore(const absl::Status& answer = absl::OkStatus()) {
    CHECK(store.ok()) << store.status();
    launcher.answer = answer;
    CHECK(core.Start("127.0.0.1:1", "").ok());
    core.Launch(&launcher);
  }

  const ClusterSpec spec{.state_dir = NewTestDir(), .workers = {{"h/cpu.0", "h", "cpu", 0}}};
  const absl::StatusOr<std::unique_ptr<JobStore>> store = JobStore::Open(spec.state_dir, absl::UnixEpoch());
  JobRecords records{spec.state_dir};
  FakeClock clock;
  NotingLauncher launcher;
  Core core{spec, store->get(), &records, &clock};
};

TEST(CoreFaultsTest, AWorkerThatEndsUnaskedIsStartedAgainAfterAPause) {
  LaunchingCore launching;
  Core& core = launching.core;
  NotingLauncher& launcher = launching.launcher;
  FakeClock& clock = launching.clock;
  launcher.AwaitStarts(1, &clock);
  core.OnWorkerExit({"h/cpu.0", false, "killed by signal 9 (SIGKILL)", {}});
  EXPECT_EQ(core.Status().workers(0).state(), "lost");
  EXPECT_EQ(core.Ready().message(), "workers are missing: h/cpu.0 (killed by signal 9 (SIGKILL))");
  const absl::Duration ended_at = clock.Monotonic();
  launcher.AwaitStarts(2, &clock);
  EXPECT_GE(clock.Monotonic() - ended_at, absl::Milliseconds(500));
}

TEST(CoreFaultsTest, AWorkerThatCouldNotBeStartedAgainIsTriedAgain) {
  // A start that failed was counted as an end the first time only; after a relaunch it was written to the log, and the
  // worker stayed "starting" for ever.
  LaunchingCore launching(absl::ResourceExhaustedError("no process could be made"));
  EXPECT_EQ(launching.core.Ready().message(),
            "workers are missing: h/cpu.0 (could not be started: no process could be made)");
  launching.launcher.AwaitStarts(3, &launching.clock);
}

}  // namespace
}  // namespace penstock
