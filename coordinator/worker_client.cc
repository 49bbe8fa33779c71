#include "coordinator/worker_client.h"

#include <utility>

#include "absl/time/time.h"
#include "common/channel.h"
#include "common/grpc_status.h"

namespace penstock {
namespace {

// Reading a large checkpoint from a slow disk, or writing one, is the longest that a worker may take.
constexpr absl::Duration kLoadDeadline = absl::Minutes(30);
// Freeing memory waits for the action under way, at most.
constexpr absl::Duration kUnloadDeadline = absl::Minutes(1);

}  // namespace

void WorkerCall::Cancel() {
  std::shared_ptr<grpc::ClientContext> context;
  {
    absl::MutexLock lock(&mu_);
    cancelled_ = true;
    context = context_;
  }
  if (context != nullptr) context->TryCancel();
}

bool WorkerCall::Begin(std::shared_ptr<grpc::ClientContext> context) {
  absl::MutexLock lock(&mu_);
  context_ = std::move(context);
  return !cancelled_;
}

WorkerClient::WorkerClient(const std::string& address) : stub_(v1::Worker::NewStub(OpenChannel(address))) {}

template <typename Request, typename Reply, typename Method>
void WorkerClient::Start(const std::shared_ptr<WorkerCall>& call, Method method, absl::Duration deadline,
                         Request request, Done<Reply> done) {
  struct State {
    Request request;
    Reply reply;
    Done<Reply> done;
    std::shared_ptr<grpc::ClientContext> context = std::make_shared<grpc::ClientContext>();
    std::shared_ptr<WorkerCall> call;
  };
  auto state = std::make_shared<State>();
  state->request = std::move(request);
  state->done = std::move(done);
  state->call = call;
  if (deadline < absl::InfiniteDuration()) {
    const int64_t nanoseconds = absl::ToInt64Nanoseconds(deadline);
    state->context->set_deadline(
        gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_nanos(nanoseconds, GPR_TIMESPAN)));
  }
  if (!call->Begin(state->context)) {
    state->done(absl::CancelledError("cancelled before it was started"), state->reply);
    return;
  }
  // A cancellation that comes between Begin and here is kept by the context and takes effect at the start.
  (stub_->async()->*method)(state->context.get(), &state->request, &state->reply,
                            [state](grpc::Status status) { state->done(FromGrpc(status), state->reply); });
}

void WorkerClient::Load(const std::shared_ptr<WorkerCall>& call, v1::LoadRequest request, Done<v1::LoadReply> done) {
  using Async = v1::Worker::StubInterface::async_interface;
  void (Async::*method)(grpc::ClientContext*, const v1::LoadRequest*, v1::LoadReply*,
                        std::function<void(grpc::Status)>) = &Async::Load;
  Start<v1::LoadRequest, v1::LoadReply>(call, method, kLoadDeadline, std::move(request), std::move(done));
}

// A range of steps takes as long as it takes: heartbeats and the workers' own deadlines watch over it.
void WorkerClient::Run(const std::shared_ptr<WorkerCall>& call, v1::RunRequest request, Done<v1::RunReply> done) {
  using Async = v1::Worker::StubInterface::async_interface;
  void (Async::*method)(grpc::ClientContext*, const v1::RunRequest*, v1::RunReply*, std::function<void(grpc::Status)>) =
      &Async::Run;
  Start<v1::RunRequest, v1::RunReply>(call, method, absl::InfiniteDuration(), std::move(request), std::move(done));
}

void WorkerClient::Save(const std::shared_ptr<WorkerCall>& call, v1::SaveRequest request, Done<v1::SaveReply> done) {
  using Async = v1::Worker::StubInterface::async_interface;
  void (Async::*method)(grpc::ClientContext*, const v1::SaveRequest*, v1::SaveReply*,
                        std::function<void(grpc::Status)>) = &Async::Save;
  Start<v1::SaveRequest, v1::SaveReply>(call, method, kLoadDeadline, std::move(request), std::move(done));
}

void WorkerClient::Measure(const std::shared_ptr<WorkerCall>& call, v1::MeasureRequest request,
                           Done<v1::MeasureReply> done) {
  using Async = v1::Worker::StubInterface::async_interface;
  void (Async::*method)(grpc::ClientContext*, const v1::MeasureRequest*, v1::MeasureReply*,
                        std::function<void(grpc::Status)>) = &Async::Measure;
  Start<v1::MeasureRequest, v1::MeasureReply>(call, method, kLoadDeadline, std::move(request), std::move(done));
}

void WorkerClient::Unload(const std::shared_ptr<WorkerCall>& call, v1::UnloadRequest request,
                          Done<v1::UnloadReply> done) {
  using Async = v1::Worker::StubInterface::async_interface;
  void (Async::*method)(grpc::ClientContext*, const v1::UnloadRequest*, v1::UnloadReply*,
                        std::function<void(grpc::Status)>) = &Async::Unload;
  Start<v1::UnloadRequest, v1::UnloadReply>(call, method, kUnloadDeadline, std::move(request), std::move(done));
}

}  // namespace penstock
