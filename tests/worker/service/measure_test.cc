// Measuring on a worker that is idle, and probes of the link between two.
#include <grpcpp/server.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/channel.h"
#include "common/clock.h"
#include "common/grpc_status.h"
#include "common/logging.h"
#include "tests/worker/runtime/rank_cluster.h"
#include "worker/runtime/exchange_service.h"
#include "worker/runtime/fake_rank.h"
#include "worker/service.h"

namespace penstock {
namespace {

constexpr uint64_t kIncarnation = 100;  // MakeLoad's, of rank 0; rank r has 100 + r

// A worker behind a loopback socket. Its committer refuses to be asked.
struct IdleWorker {
  explicit IdleWorker(uint64_t own_incarnation)
      : incarnation(own_incarnation),
        service(
            {.device = &device,
             .exchange = &exchange,
             .committer = &committer,
             .log = &log,
             .clock = Clock::Real(),
             .worker = absl::StrCat("localhost/cpu.", own_incarnation)},
            [this] { return incarnation; }, [] {}) {
    grpc::ServerBuilder builder;
    int port = 0;
    PrepareServer(&builder, "127.0.0.1:0", &port);
    PrepareForTensors(&builder);
    builder.RegisterService(&exchange);
    builder.RegisterService(&service);
    server = builder.BuildAndStart();
    CHECK(server != nullptr);
    address = absl::StrCat("127.0.0.1:", port);
    stub = v1::Worker::NewStub(OpenChannel(address));
  }
  ~IdleWorker() {
    service.Close(absl::CancelledError("the test is over"));
    server->Shutdown(absl::ToChronoTime(Clock::Real()->Wall()));
  }

  template <typename Request, typename Reply>
  absl::Status Call(grpc::Status (v1::Worker::Stub::*method)(grpc::ClientContext*, const Request&, Reply*),
                    const Request& request, Reply* reply) {
    grpc::ClientContext context;
    return FromGrpc((stub.get()->*method)(&context, request, reply));
  }

  const uint64_t incarnation;
  FakeDevice device;
  FakeCommitter committer{1};
  FakeJobLog log;
  ExchangeService exchange;
  WorkerService service;
  std::string address;
  std::unique_ptr<grpc::Server> server;
  std::unique_ptr<v1::Worker::Stub> stub;
};

v1::MeasureRequest MeasureRequestFor(uint64_t incarnation) {
  v1::MeasureRequest request;
  request.set_incarnation(incarnation);
  *request.mutable_spec() = MakeLoad({.ranks = 1}).spec();
  request.set_samples(2);
  request.add_layers(0);
  return request;
}

TEST(MeasureTest, AsksTheDeviceOfAnIdleWorker) {
  IdleWorker worker(kIncarnation);
  v1::MeasureReply reply;
  ASSERT_EQ(worker.Call(&v1::Worker::Stub::Measure, MeasureRequestFor(kIncarnation), &reply), absl::OkStatus());
  ASSERT_EQ(reply.costs().layers_size(), 1);
  EXPECT_EQ(reply.costs().layers(0).samples(), 2u);
}

TEST(MeasureTest, RefusesAnotherIncarnation) {
  IdleWorker worker(kIncarnation);
  v1::MeasureReply reply;
  EXPECT_EQ(worker.Call(&v1::Worker::Stub::Measure, MeasureRequestFor(kIncarnation + 1), &reply).code(),
            absl::StatusCode::kAborted);
}

TEST(MeasureTest, RefusesWhileAJobIsLoaded) {
  IdleWorker worker(kIncarnation);
  v1::LoadRequest load = MakeLoad({.ranks = 1});
  load.set_incarnation(kIncarnation);
  load.mutable_ranks(0)->set_address(worker.address);
  v1::LoadReply loaded;
  ASSERT_EQ(worker.Call(&v1::Worker::Stub::Load, load, &loaded), absl::OkStatus());
  v1::MeasureReply reply;
  const absl::Status status = worker.Call(&v1::Worker::Stub::Measure, MeasureRequestFor(kIncarnation), &reply);
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_TRUE(absl::StrContains(status.message(), "job job-1 is loaded here")) << status;
}

TEST(ProbeTest, TwoWorkersTimeTheirLinkWithoutComputingOrVoting) {
  IdleWorker first(kIncarnation), second(kIncarnation + 1);
  IdleWorker* const workers[] = {&first, &second};
  v1::LoadRequest load = MakeLoad({.ranks = 2, .schedule = "1f1b"});
  load.set_probe(true);
  for (int r = 0; r < 2; ++r) load.mutable_ranks(r)->set_address(workers[r]->address);
  for (int r = 0; r < 2; ++r) {
    load.set_rank(r);
    load.set_incarnation(workers[r]->incarnation);
    v1::LoadReply loaded;
    ASSERT_EQ(workers[r]->Call(&v1::Worker::Stub::Load, load, &loaded), absl::OkStatus());
    EXPECT_EQ(workers[r]->device.live_ranks(), 0) << "the device itself has nothing to do with it";
  }
  v1::RunReply replies[2];
  absl::Status statuses[2];
  std::vector<std::thread> runs;
  for (int r = 0; r < 2; ++r) {
    runs.emplace_back([&, r] {
      v1::RunRequest run = RankCluster::Train(1, 1, 5);
      run.set_job("job-1");
      run.set_plan_epoch(1);
      run.set_incarnation(workers[r]->incarnation);
      statuses[r] = workers[r]->Call(&v1::Worker::Stub::Run, run, &replies[r]);
    });
  }
  for (std::thread& run : runs) run.join();
  for (int r = 0; r < 2; ++r) {
    ASSERT_EQ(statuses[r], absl::OkStatus());
    EXPECT_EQ(replies[r].completed_step(), 5u);
    EXPECT_GT(replies[r].pass_seconds(), 0);
    EXPECT_TRUE(workers[r]->committer.votes().empty());
  }
}

}  // namespace
}  // namespace penstock
