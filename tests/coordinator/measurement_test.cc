// Measuring over real sockets, with workers that make up their figures.
#include "coordinator/measurement.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <string>
#include <thread>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/strings/match.h"
#include "absl/synchronization/notification.h"
#include "absl/time/time.h"
#include "common/grpc_status.h"
#include "tests/coordinator/fake_cluster.h"

namespace penstock {
namespace {

using Calls = std::vector<std::string>;

const Calls kProbe = {"load a probe", "load a probe", "unload"};

Calls operator+(Calls first, const Calls& second) {
  first.insert(first.end(), second.begin(), second.end());
  return first;
}

absl::StatusOr<v1::MeasureJobReply> Measure(FakeCluster* cluster, const v1::JobSpec& spec, bool again = false) {
  v1::MeasureJobRequest request;
  *request.mutable_spec() = spec;
  request.set_again(again);
  v1::MeasureJobReply reply;
  grpc::ClientContext context;
  const absl::Status status = FromGrpc(cluster->jobs().Measure(&context, request, &reply));
  if (!status.ok()) return status;
  return reply;
}

TEST(MeasurementTest, MeasuresEveryLayerOnTwoWorkersAndTheLinkBetweenThem) {
  FakeCluster cluster;
  FakeWorker& w0 = cluster.AddWorker({.layer_us = 100});
  FakeWorker& w1 = cluster.AddWorker({.layer_us = 300});
  const absl::StatusOr<v1::MeasureJobReply> reply = Measure(&cluster, cluster.Spec("tiny", 3));
  ASSERT_TRUE(reply.ok()) << reply.status();
  EXPECT_EQ(w0.calls(), Calls{"measure 0,1,2 and the update"} + kProbe);
  EXPECT_EQ(w1.calls(), w0.calls());
  EXPECT_EQ(reply->measured(), 3u);
  EXPECT_EQ(reply->known(), 0u);
  ASSERT_EQ(reply->devices_size(), 1);
  const v1::MeasuredCosts& costs = reply->devices(0);
  EXPECT_EQ(costs.device(), "fake");
  ASSERT_EQ(costs.layers_size(), 3);
  EXPECT_EQ(costs.layers(2).layer(), "head");
  EXPECT_EQ(costs.layers(2).samples(), 2u);
  EXPECT_DOUBLE_EQ(costs.layers(2).forward_us(), 600) << "the mean of both workers";
  EXPECT_DOUBLE_EQ(costs.layers(2).weight_gradient_us(), 1800);
  EXPECT_DOUBLE_EQ(costs.update_bytes_per_us(), 5000);
  EXPECT_NEAR(costs.link_latency_us(), 50, 5);
  EXPECT_NEAR(costs.link_bytes_per_us(), 2000, 1);
}

TEST(MeasurementTest, OneWorkerMeasuresNoLink) {
  FakeCluster cluster;
  FakeWorker& worker = cluster.AddWorker();
  const absl::StatusOr<v1::MeasureJobReply> reply = Measure(&cluster, cluster.Spec("tiny", 3, 1));
  ASSERT_TRUE(reply.ok()) << reply.status();
  EXPECT_EQ(worker.calls(), Calls{"measure 0,1,2 and the update"});
  EXPECT_EQ(reply->devices(0).link_latency_us(), 0);
}

TEST(MeasurementTest, WhatIsKnownIsNotMeasuredAgainUnlessAsked) {
  FakeCluster cluster;
  FakeWorker& w0 = cluster.AddWorker();
  cluster.AddWorker();
  ASSERT_TRUE(Measure(&cluster, cluster.Spec("tiny", 3)).ok());
  const absl::StatusOr<v1::MeasureJobReply> second = Measure(&cluster, cluster.Spec("other", 9));
  ASSERT_TRUE(second.ok()) << second.status();
  EXPECT_EQ(second->measured(), 0u);
  EXPECT_EQ(second->known(), 3u);
  EXPECT_EQ(second->devices(0).layers_size(), 3);
  const size_t calls = w0.calls().size();
  ASSERT_TRUE(Measure(&cluster, cluster.Spec("tiny", 3), /*again=*/true).ok());
  EXPECT_GT(w0.calls().size(), calls);
}

TEST(MeasurementTest, CostsOutliveTheCoordinator) {
  std::string state_dir;
  {
    FakeCluster cluster;
    state_dir = cluster.state_dir();
    cluster.AddWorker();
    ASSERT_TRUE(Measure(&cluster, cluster.Spec("tiny", 3, 1)).ok());
    cluster.Crash();
  }
  FakeCluster cluster(state_dir);
  FakeWorker& worker = cluster.AddWorker();
  const absl::StatusOr<v1::MeasureJobReply> reply = Measure(&cluster, cluster.Spec("tiny", 3, 1));
  ASSERT_TRUE(reply.ok()) << reply.status();
  EXPECT_EQ(reply->known(), 3u);
  EXPECT_EQ(worker.calls(), Calls{});
}

TEST(MeasurementTest, MeasuresEachKindOfDevice) {
  FakeCluster cluster;
  FakeWorker& first = cluster.AddWorker({.fingerprint = "cpu"});
  FakeWorker& second = cluster.AddWorker({.fingerprint = "cuda", .layer_us = 10});
  const absl::StatusOr<v1::MeasureJobReply> reply = Measure(&cluster, cluster.Spec("tiny", 3, 1));
  ASSERT_TRUE(reply.ok()) << reply.status();
  ASSERT_EQ(reply->devices_size(), 2);
  EXPECT_EQ(reply->devices(0).device(), "cpu");
  EXPECT_EQ(reply->devices(1).device(), "cuda");
  EXPECT_DOUBLE_EQ(reply->devices(1).layers(0).forward_us(), 10);
  EXPECT_EQ(first.calls().size() + second.calls().size(), 2u);
}

TEST(MeasurementTest, APlanUsesMeasuredCostsOnceAllItsLayersAreKnown) {
  FakeCluster cluster;
  cluster.AddWorker();
  cluster.AddWorker();
  const v1::JobSpec spec = cluster.Spec("tiny", 1);
  const auto source = [&] {
    v1::GetPlanRequest request;
    *request.mutable_spec() = spec;
    v1::GetPlanReply reply;
    grpc::ClientContext context;
    const absl::Status status = FromGrpc(cluster.jobs().GetPlan(&context, request, &reply));
    EXPECT_TRUE(status.ok()) << status;
    return reply.plan().cost_source();
  };
  EXPECT_TRUE(absl::StrContains(source(), "estimated")) << source();
  ASSERT_TRUE(Measure(&cluster, spec).ok());
  EXPECT_TRUE(absl::StrContains(source(), "measured")) << source();
  const auto job = cluster.Submit(spec);
  ASSERT_TRUE(job.ok()) << job.status();
  EXPECT_TRUE(absl::StrContains(cluster.Get(*job).plan().cost_source(), "measured"));
  cluster.AwaitEnd(*job);
}

TEST(MeasurementTest, SaysThatNoWorkerIsIdle) {
  FakeCluster cluster;
  EXPECT_EQ(Measure(&cluster, cluster.Spec("tiny", 3)).status().code(), absl::StatusCode::kFailedPrecondition);
  FakeWorker& worker = cluster.AddWorker();
  worker.HoldAt(1);
  const auto job = cluster.Submit(cluster.Spec("long", 3, 1));
  ASSERT_TRUE(job.ok()) << job.status();
  worker.AwaitHeld();
  const absl::Status busy = Measure(&cluster, cluster.Spec("tiny", 3, 1)).status();
  EXPECT_EQ(busy.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_TRUE(absl::StrContains(busy.message(), "no worker is idle")) << busy;
  worker.Release();
  cluster.AwaitEnd(*job);
}

TEST(MeasurementTest, ACallerThatGoesAwayEndsTheProbeOfTheLink) {
  // The layers' measurement was cancelled with the call, the probe after it was not: its workers stayed taken.
  absl::Notification probed;
  std::atomic<bool> first = true;
  std::atomic<int> cancelled = 0;
  const auto on_probe = [&](grpc::ServerContext* context) {
    if (first.exchange(false)) probed.Notify();
    const absl::Notification never;
    for (int look = 0; look < 6000 && !context->IsCancelled();
         ++look) {  // half a minute: more than a cancelled call needs
      never.WaitForNotificationWithTimeout(absl::Milliseconds(5));
    }
    cancelled += context->IsCancelled() ? 1 : 0;
    return absl::OkStatus();
  };
  FakeCluster cluster;
  FakeWorker& w0 = cluster.AddWorker({.on_probe = on_probe});
  cluster.AddWorker({.on_probe = on_probe});
  v1::MeasureJobRequest request;
  *request.mutable_spec() = cluster.Spec("tiny", 3);
  grpc::ClientContext context;
  std::thread caller([&] {
    v1::MeasureJobReply reply;
    EXPECT_EQ(cluster.jobs().Measure(&context, request, &reply).error_code(), grpc::StatusCode::CANCELLED);
  });
  probed.WaitForNotification();
  context.TryCancel();
  caller.join();
  // Its workers are given back: a job of as many ranks can have them.
  const auto job = cluster.Submit(cluster.Spec("after", 1));
  ASSERT_TRUE(job.ok()) << job.status();
  EXPECT_EQ(cluster.AwaitEnd(*job).state(), v1::SUCCEEDED);
  const absl::Notification never;
  for (int look = 0; look < 6000 && cancelled == 0; ++look) never.WaitForNotificationWithTimeout(absl::Milliseconds(5));
  EXPECT_GE(cancelled, 1);
  EXPECT_TRUE(absl::c_linear_search(w0.calls(), "unload"));
}

TEST(MeasurementTest, WhatCannotHaveBeenMeasuredIsRefusedWithTheWorkersName) {
  // Figures of a worker with a fault, or with a clock that jumped, were stored, and every later plan was made with
  // them.
  for (const double us : {std::nan(""), -1.0, 1e15, HUGE_VAL}) {
    FakeCluster cluster;
    cluster.AddWorker({.layer_us = us});
    const v1::JobSpec spec = cluster.Spec("tiny", 3, 1);
    const absl::Status refused = Measure(&cluster, spec).status();
    EXPECT_EQ(refused.code(), absl::StatusCode::kInternal) << us;
    EXPECT_TRUE(absl::StartsWith(refused.message(), "w0: layer wte: its forward pass")) << refused;
    EXPECT_FALSE(cluster.core().KnownCosts(spec).has_value());
  }
}

TEST(MeasurementTest, GivesItsWorkersBack) {
  FakeCluster cluster;
  cluster.AddWorker();
  ASSERT_TRUE(Measure(&cluster, cluster.Spec("tiny", 3, 1)).ok());
  // It has been given back.
  const auto job = cluster.Submit(cluster.Spec("tiny", 1, 1));
  ASSERT_TRUE(job.ok()) << job.status();
  EXPECT_EQ(cluster.AwaitEnd(*job).state(), v1::SUCCEEDED);
}

TEST(MeasurementTest, RefusesASpecThatCannotBe) {
  FakeCluster cluster;
  cluster.AddWorker();
  v1::JobSpec spec = cluster.Spec("tiny", 3);
  spec.mutable_train()->set_batch_size(0);
  EXPECT_EQ(Measure(&cluster, spec).status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace penstock
