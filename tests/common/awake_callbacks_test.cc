#include "common/awake_callbacks.h"

#include <grpcpp/server_builder.h>
#include <gtest/gtest.h>

#include <memory>

#include "common/channel.h"
#include "proto/coordinator.grpc.pb.h"

namespace penstock {
namespace {

class AwakeCallbacksTest : public testing::Test {
 protected:
  void SetUp() override {
    grpc::ServerBuilder builder;
    int port = 0;
    PrepareServer(&builder, "127.0.0.1:0", &port);
    builder.RegisterService(&service_);
    server_ = builder.BuildAndStart();
    ASSERT_NE(server_, nullptr);
  }

  v1::Jobs::Service service_;
  std::unique_ptr<grpc::Server> server_;
};

TEST_F(AwakeCallbacksTest, CallsComeBackAgainAndAgainUntilItEnds) {
  AwakeCallbacks awake(server_.get(), absl::Milliseconds(1));
  awake.AwaitCalls(20);
}

TEST_F(AwakeCallbacksTest, ALongIntervalDoesNotDelayItsEnd) {
  AwakeCallbacks awake(server_.get(), absl::InfiniteDuration());
  awake.AwaitCalls(1);
}

}  // namespace
}  // namespace penstock
