#include "common/awake_callbacks.h"

#include <grpcpp/server_builder.h>
#include <gtest/gtest.h>

#include <memory>

#include "common/channel.h"
#include "proto/coordinator.grpc.pb.h"

namespace penstock {
namespace {

TEST(AwakeCallbacksTest, CallsComeBackAgainAndAgainUntilItEnds) {
  v1::Jobs::Service service;
  grpc::ServerBuilder builder;
  int port = 0;
  PrepareServer(&builder, "127.0.0.1:0", &port);
  builder.RegisterService(&service);
  const std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  ASSERT_NE(server, nullptr);
  AwakeCallbacks awake(server.get(), absl::Milliseconds(1));
  awake.AwaitCalls(20);
}

TEST(AwakeCallbacksTest, ALongIntervalDoesNotDelayItsEnd) {
  v1::Jobs::Service service;
  grpc::ServerBuilder builder;
  int port = 0;
  PrepareServer(&builder, "127.0.0.1:0", &port);
  builder.RegisterService(&service);
  const std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  ASSERT_NE(server, nullptr);
  AwakeCallbacks awake(server.get(), absl::InfiniteDuration());
  awake.AwaitCalls(1);
}

}  // namespace
}  // namespace penstock
