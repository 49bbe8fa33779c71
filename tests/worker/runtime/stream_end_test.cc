// Streams that end again and again, in every way there is.
//
// The bug: a sender's stream, and with it the connection, could be freed by the gRPC thread that had told it of its
// end. Where it was the last user of gRPC's callback threads in the process, that thread shut them down, could not wait
// for itself, and went on with a freed completion queue: about 1 run in 160 died of "ref_counted.h:183: prior > 0".
#include <grpcpp/server.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "common/channel.h"
#include "common/clock.h"
#include "worker/runtime/exchange_service.h"
#include "worker/runtime/peer_sender.h"

namespace penstock {
namespace {

constexpr size_t kBytes = 8 * 4;

BoundaryKey Key(uint64_t pass = 1) { return {pass, 1, v1::DIRECTION_FORWARD, 0, "x"}; }

RankIdentity Identity(int rank, const std::string& address) {
  RankIdentity identity{
      .job = "job-1", .plan_epoch = 5, .incarnation = static_cast<uint64_t>(100 + rank), .rank = rank};
  for (int i = 0; i < 2; ++i) {
    v1::Neighbour neighbour;
    neighbour.set_rank(static_cast<uint32_t>(i));
    neighbour.set_incarnation(static_cast<uint64_t>(100 + i));
    neighbour.set_address(address);
    identity.ranks.push_back(neighbour);
    identity.rank_of_stage.push_back(i);
  }
  return identity;
}

// Rank 1 of 2, whose stage 1 takes tensors of 8 floats.
struct ReceivingEnd {
  ReceivingEnd() {
    grpc::ServerBuilder builder;
    int port = 0;
    PrepareServer(&builder, "127.0.0.1:0", &port);
    builder.RegisterService(&service);
    server = builder.BuildAndStart();
    address = absl::StrCat("127.0.0.1:", port);
    BoundaryBounds bounds(1);
    bounds.Allow(1, v1::DIRECTION_FORWARD, {v1::DTYPE_FLOAT32, {8}});
    receiver = std::make_shared<Receiver>(Identity(1, address), bounds, kBytes, Clock::Real(), stop);
    service.SetReceiver(receiver);
    receiver->BeginRange({{.key = Key(0), .bytes = kBytes}}, 1, 1);
  }

  std::shared_ptr<StopSignal> stop = std::make_shared<StopSignal>();
  ExchangeService service;
  std::unique_ptr<grpc::Server> server;
  std::string address;
  std::shared_ptr<Receiver> receiver;
};

TensorView Tensor(v1::DType dtype = v1::DTYPE_FLOAT32) {
  const auto data = std::make_shared<std::string>(kBytes, 't');
  return {.meta = {dtype, {8}}, .owner = data, .data = data->data(), .bytes = kBytes};
}

enum class Ending { kAtOnce, kCancelled, kAfterATensor, kRefused, kReceiverStops, kServerStops, kNeverOpened };
constexpr int kEndings = 7;

// Runs a stream to its end. Its sender is then the last that uses gRPC here.
// Returns the threads that have freed a sender's stream.
std::vector<std::thread::id> EndOnce(Ending ending) {
  std::vector<std::thread::id> freed_on;
  absl::Notification freed, ended;
  auto end = std::make_unique<ReceivingEnd>();
  // Freed with the stream that it is given to.
  std::shared_ptr<void> witness(nullptr, [&](void*) {
    freed_on.push_back(std::this_thread::get_id());
    freed.Notify();
  });
  {
    PeerSender sender(Identity(0, end->address), 1, Key(0), 1, Clock::Real(),
                      [&ended, witness](const absl::Status&) { ended.Notify(); });
    witness.reset();
    if (ending != Ending::kNeverOpened) sender.Open();
    if (ending == Ending::kCancelled) sender.Cancel(absl::CancelledError("enough"));
    if (ending == Ending::kAfterATensor || ending == Ending::kReceiverStops || ending == Ending::kServerStops) {
      EXPECT_TRUE(sender.Send(Key(), Tensor()).ok());
      EXPECT_TRUE(end->receiver->Take(Key(), Clock::Real()->Monotonic() + absl::Seconds(10)).ok());
    }
    if (ending == Ending::kRefused) {
      EXPECT_TRUE(sender.Send(Key(), Tensor(v1::DTYPE_INT32)).ok());
    }
    if (ending == Ending::kReceiverStops) end->receiver->Close(absl::UnavailableError("enough"));
    if (ending == Ending::kServerStops) end->server->Shutdown(absl::ToChronoTime(absl::Now()));
    if (ending == Ending::kRefused || ending == Ending::kReceiverStops || ending == Ending::kServerStops) {
      ended.WaitForNotification();
    }
    end->server->Shutdown(absl::ToChronoTime(absl::Now()));
    end = nullptr;
  }
  EXPECT_TRUE(freed.HasBeenNotified()) << "a stream has outlived its sender";
  freed.WaitForNotification();
  return freed_on;
}

TEST(StreamEndTest, AStreamIsFreedByItsOwnerAndNotByGrpc) {
  for (int i = 0; i < 700; ++i) {
    const std::vector<std::thread::id> freed_on = EndOnce(static_cast<Ending>(i % kEndings));
    ASSERT_EQ(freed_on, std::vector<std::thread::id>{std::this_thread::get_id()}) << "ending " << i % kEndings;
    ASSERT_FALSE(HasFailure()) << "ending " << i % kEndings;
  }
}

}  // namespace
}  // namespace penstock
