#include "common/awake_callbacks.h"

#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/channel_arguments.h>

#include "absl/synchronization/notification.h"

namespace penstock {
namespace {
constexpr char kMethod[] = "/penstock.v1.None/None";  // no server has it: that it comes back is all that matters
}  // namespace

AwakeCallbacks::AwakeCallbacks(grpc::Server* server, absl::Duration every)
    : stub_(server->InProcessChannel(grpc::ChannelArguments())), thread_([this, every] { Loop(every); }) {}

AwakeCallbacks::~AwakeCallbacks() {
  {
    absl::MutexLock lock(&mu_);
    ending_ = true;
  }
  thread_.join();
}

void AwakeCallbacks::AwaitCalls(int64_t count) {
  absl::MutexLock lock(&mu_);
  const auto enough = [this, count]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return calls_ >= count; };
  mu_.Await(absl::Condition(&enough));
}

void AwakeCallbacks::Loop(absl::Duration every) {
  while (true) {
    Call();
    absl::MutexLock lock(&mu_);
    ++calls_;
    if (mu_.AwaitWithTimeout(absl::Condition(&ending_), every)) return;
  }
}

void AwakeCallbacks::Call() {
  grpc::ClientContext context;
  const grpc::Slice nothing;
  const grpc::ByteBuffer request(&nothing, 1);
  grpc::ByteBuffer response;
  absl::Notification back;
  stub_.UnaryCall(&context, kMethod, grpc::StubOptions(), &request, &response,
                  [&back](const grpc::Status&) { back.Notify(); });
  back.WaitForNotification();
}

}  // namespace penstock
