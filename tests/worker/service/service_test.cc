#include "worker/service.h"

#include <grpcpp/server.h>
#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "common/channel.h"
#include "common/clock.h"
#include "common/grpc_status.h"
#include "common/logging.h"
#include "tests/worker/runtime/rank_cluster.h"
#include "worker/runtime/exchange_service.h"
#include "worker/runtime/fake_rank.h"

namespace penstock {
namespace {

constexpr uint64_t kIncarnation = 100;  // MakeLoad's, of rank 0

// A worker of one rank behind a loopback socket, with a fake device.
class WorkerServiceTest : public ::testing::Test {
 protected:
  WorkerServiceTest()
      : device_([this](const Pass&, const Action&) {
          if (hold_) {
            if (!running_.HasBeenNotified()) running_.Notify();
            go_on_.WaitForNotification();
          }
          return absl::OkStatus();
        }),
        committer_(/*ranks=*/1),
        service_(
            SessionEnvironment{.device = &device_,
                               .exchange = &exchange_,
                               .committer = &committer_,
                               .log = &log_,
                               .clock = Clock::Real(),
                               .worker = "localhost/cpu.0"},
            [this] { return incarnation_.load(); }, [this] { shutdown_.Notify(); }) {
    grpc::ServerBuilder builder;
    int port = 0;
    PrepareServer(&builder, "127.0.0.1:0", &port);
    builder.RegisterService(&exchange_);
    builder.RegisterService(&service_);
    server_ = builder.BuildAndStart();
    CHECK(server_ != nullptr);
    address_ = absl::StrCat("127.0.0.1:", port);
    stub_ = v1::Worker::NewStub(OpenChannel(address_));
  }
  ~WorkerServiceTest() override {
    if (!go_on_.HasBeenNotified()) go_on_.Notify();
    service_.Close(absl::CancelledError("the test is over"));
    server_->Shutdown(absl::ToChronoTime(Clock::Real()->Wall()));
  }

  v1::LoadRequest LoadRequestFor(uint64_t epoch = 1, uint64_t incarnation = kIncarnation) const {
    v1::LoadRequest request = MakeLoad({.ranks = 1, .micro_batches = 2});
    request.mutable_ranks(0)->set_address(address_);
    request.set_plan_epoch(epoch);
    request.set_incarnation(incarnation);
    return request;
  }
  static v1::RunRequest RunRequestFor(uint64_t epoch = 1, const std::string& job = "job-1") {
    v1::RunRequest request = RankCluster::Train(1, 1, 3);
    request.set_job(job);
    request.set_plan_epoch(epoch);
    request.set_incarnation(kIncarnation);
    return request;
  }

  absl::Status Load(const v1::LoadRequest& request) {
    grpc::ClientContext context;
    v1::LoadReply reply;
    return FromGrpc(stub_->Load(&context, request, &reply));
  }
  absl::Status Run(const v1::RunRequest& request, v1::RunReply* reply, grpc::ClientContext* context) {
    return FromGrpc(stub_->Run(context, request, reply));
  }
  absl::Status Run(const v1::RunRequest& request) {
    grpc::ClientContext context;
    v1::RunReply reply;
    return Run(request, &reply, &context);
  }
  absl::Status Save(uint64_t epoch = 1, uint64_t incarnation = kIncarnation) {
    grpc::ClientContext context;
    v1::SaveRequest request;
    request.set_job("job-1");
    request.set_plan_epoch(epoch);
    request.set_incarnation(incarnation);
    v1::SaveReply reply;
    return FromGrpc(stub_->Save(&context, request, &reply));
  }
  absl::Status Unload(const std::string& job = "job-1", uint64_t incarnation = kIncarnation) {
    grpc::ClientContext context;
    v1::UnloadRequest request;
    request.set_job(job);
    request.set_incarnation(incarnation);
    v1::UnloadReply reply;
    return FromGrpc(stub_->Unload(&context, request, &reply));
  }
  absl::Status Shutdown(uint64_t incarnation) {
    grpc::ClientContext context;
    v1::ShutdownRequest request;
    request.set_incarnation(incarnation);
    v1::ShutdownReply reply;
    return FromGrpc(stub_->Shutdown(&context, request, &reply));
  }

  std::atomic<uint64_t> incarnation_ = kIncarnation;
  std::atomic<bool> hold_ = false;  // compute actions wait for go_on_
  absl::Notification running_, go_on_, shutdown_;
  FakeDevice device_;
  FakeCommitter committer_;
  FakeJobLog log_;
  ExchangeService exchange_;
  WorkerService service_;
  std::string address_;
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<v1::Worker::Stub> stub_;
};

TEST_F(WorkerServiceTest, LoadsRunsSavesAndUnloads) {
  ASSERT_EQ(Load(LoadRequestFor()), absl::OkStatus());
  grpc::ClientContext context;
  v1::RunReply reply;
  ASSERT_EQ(Run(RunRequestFor(), &reply, &context), absl::OkStatus());
  EXPECT_EQ(reply.completed_step(), 3u);
  EXPECT_EQ(Save(), absl::OkStatus());
  EXPECT_EQ(service_.Counters().job(), "job-1");
  EXPECT_EQ(device_.live_ranks(), 1);
  EXPECT_EQ(Unload(), absl::OkStatus());
  EXPECT_EQ(device_.live_ranks(), 0);
  EXPECT_EQ(service_.Counters().job(), "");
  EXPECT_EQ(Unload(), absl::OkStatus()) << "nothing to unload is no error";
}

TEST_F(WorkerServiceTest, RefusesEveryCallThatIsMeantForAnotherIncarnation) {
  ASSERT_EQ(Load(LoadRequestFor()), absl::OkStatus());
  const absl::Status load = Load(LoadRequestFor(2, kIncarnation + 1));
  EXPECT_EQ(load.code(), absl::StatusCode::kAborted);
  EXPECT_TRUE(absl::StrContains(
      load.message(), "this is incarnation 100 of worker localhost/cpu.0; the request is for incarnation 101"))
      << load;
  v1::RunRequest run = RunRequestFor();
  run.set_incarnation(kIncarnation - 1);
  EXPECT_EQ(Run(run).code(), absl::StatusCode::kAborted);
  EXPECT_EQ(Save(1, kIncarnation + 1).code(), absl::StatusCode::kAborted);
  EXPECT_EQ(Unload("job-1", kIncarnation + 1).code(), absl::StatusCode::kAborted);
  EXPECT_EQ(Shutdown(kIncarnation + 1).code(), absl::StatusCode::kAborted);
  EXPECT_FALSE(shutdown_.HasBeenNotified());
  EXPECT_EQ(device_.live_ranks(), 1);
  EXPECT_EQ(Run(RunRequestFor()), absl::OkStatus()) << "the refusals have harmed nothing";
}

TEST_F(WorkerServiceTest, RefusesEveryCallBeforeItHasRegistered) {
  incarnation_ = 0;
  EXPECT_EQ(Load(LoadRequestFor(1, 0)).code(), absl::StatusCode::kAborted) << "0 is nobody's incarnation";
  EXPECT_EQ(Shutdown(0).code(), absl::StatusCode::kAborted);
}

TEST_F(WorkerServiceTest, TheSameLoadAgainKeepsWhatIsLoaded) {
  ASSERT_EQ(Load(LoadRequestFor()), absl::OkStatus());
  ASSERT_EQ(Run(RunRequestFor()), absl::OkStatus());
  ASSERT_EQ(Load(LoadRequestFor()), absl::OkStatus());
  v1::RunRequest next = RunRequestFor();
  next.set_first_pass(4);
  next.set_from_step(4);
  next.set_to_step(4);
  EXPECT_EQ(Run(next), absl::OkStatus());
  EXPECT_EQ(device_.live_ranks(), 1);
}

TEST_F(WorkerServiceTest, ANewerEpochReplacesAndAnOlderOneIsRefused) {
  ASSERT_EQ(Load(LoadRequestFor(2)), absl::OkStatus());
  const absl::Status older = Load(LoadRequestFor(1));
  EXPECT_EQ(older.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_TRUE(absl::StrContains(older.message(), "plan epoch 1 of job job-1 is older than 2")) << older;
  ASSERT_EQ(Load(LoadRequestFor(3)), absl::OkStatus());
  EXPECT_EQ(device_.live_ranks(), 1);
  const absl::Status run = Run(RunRequestFor(2));
  EXPECT_EQ(run.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_TRUE(absl::StrContains(run.message(), "loaded here is job job-1, plan epoch 3")) << run;
  EXPECT_EQ(Run(RunRequestFor(3)), absl::OkStatus());
}

TEST_F(WorkerServiceTest, RefusesAJobThatIsNotLoaded) {
  EXPECT_EQ(Run(RunRequestFor()).code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(Save().code(), absl::StatusCode::kFailedPrecondition);
  ASSERT_EQ(Load(LoadRequestFor()), absl::OkStatus());
  EXPECT_EQ(Run(RunRequestFor(1, "job-2")).code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(Unload("job-2"), absl::OkStatus());
  EXPECT_EQ(device_.live_ranks(), 1) << "another job's Unload leaves this one alone";
}

TEST_F(WorkerServiceTest, ACancelledRunStopsTheRankUntilItIsLoadedAgain) {
  ASSERT_EQ(Load(LoadRequestFor()), absl::OkStatus());
  hold_ = true;
  grpc::ClientContext context;
  absl::Status status;
  v1::RunReply reply;
  std::thread caller([&] { status = Run(RunRequestFor(), &reply, &context); });
  running_.WaitForNotification();
  context.TryCancel();
  caller.join();
  EXPECT_EQ(status.code(), absl::StatusCode::kCancelled);
  // The cancellation and the next call come over two streams: until the first has come, a run is under way.
  absl::Status next;
  do {
    next = Run(RunRequestFor());
    ASSERT_EQ(next.code(), absl::StatusCode::kFailedPrecondition);
  } while (!absl::StrContains(next.message(), "has stopped on this worker and must be loaded again"));
  hold_ = false;
  go_on_.Notify();
  log_.Await("run failed");
  ASSERT_EQ(Load(LoadRequestFor()), absl::OkStatus());
  EXPECT_EQ(device_.live_ranks(), 1);
  EXPECT_EQ(Run(RunRequestFor()), absl::OkStatus());
}

TEST_F(WorkerServiceTest, EndsTheProcessWhenItsCoordinatorSaysSo) {
  EXPECT_EQ(Shutdown(kIncarnation), absl::OkStatus());
  EXPECT_TRUE(shutdown_.HasBeenNotified());
}

TEST_F(WorkerServiceTest, ClosingStopsWhatRunsAndLoadsNothingAnyMore) {
  ASSERT_EQ(Load(LoadRequestFor()), absl::OkStatus());
  hold_ = true;
  absl::Status status;
  v1::RunRequest endless = RunRequestFor();
  endless.set_to_step(1'000'000'000);
  std::thread caller([&] { status = Run(endless); });
  running_.WaitForNotification();
  go_on_.Notify();
  service_.Close(absl::CancelledError("the worker is ending"));
  caller.join();
  EXPECT_EQ(status.code(), absl::StatusCode::kCancelled);
  EXPECT_TRUE(absl::StrContains(status.message(), "the worker is ending")) << status;
  EXPECT_EQ(Load(LoadRequestFor(2)).code(), absl::StatusCode::kCancelled);
}

}  // namespace
}  // namespace penstock
