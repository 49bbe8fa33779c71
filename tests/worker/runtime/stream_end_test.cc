// Streams that end again and again, in every way there is.
//
// The bug: a sender's stream, and with it the connection, could be freed by the gRPC thread that had told it of its
// end. Where it was the last user of gRPC's callback threads in the process, that thread shut them down, could not wait
// for itself, and went on with a freed completion queue: about 1 run in 160 died of "ref_counted.h:183: prior > 0".
#include <gtest/gtest.h>

#include <memory>
#include <thread>
#include <vector>

#include "absl/synchronization/notification.h"
#include "common/clock.h"
#include "tests/worker/runtime/receiving_end.h"
#include "worker/runtime/peer_sender.h"

namespace penstock {
namespace {

enum class Ending { kAtOnce, kCancelled, kAfterATensor, kRefused, kReceiverStops, kServerStops, kNeverOpened };
constexpr int kEndings = 7;

// Runs a stream to its end. Its sender is then the last that uses gRPC here.
// Returns the threads that have freed a sender's stream.
std::vector<std::thread::id> EndOnce(Ending ending) {
  std::vector<std::thread::id> freed_on;
  absl::Notification freed, ended;
  auto end = std::make_unique<ReceivingEnd>(8);
  // Freed with the stream that it is given to.
  std::shared_ptr<void> witness(nullptr, [&](void*) {
    freed_on.push_back(std::this_thread::get_id());
    freed.Notify();
  });
  {
    PeerSender sender(TwoRanks(0, end->address()), 1, ForwardKey(0), 1, Clock::Real(),
                      [&ended, witness](const absl::Status&) { ended.Notify(); });
    witness.reset();
    if (ending != Ending::kNeverOpened) sender.Open();
    if (ending == Ending::kCancelled) sender.Cancel(absl::CancelledError("enough"));
    if (ending == Ending::kAfterATensor || ending == Ending::kReceiverStops || ending == Ending::kServerStops) {
      EXPECT_TRUE(sender.Send(ForwardKey(1), PatternTensor(8, 0)).ok());
      end->ExpectPattern(1, 0);
    }
    if (ending == Ending::kRefused) {
      EXPECT_TRUE(sender.Send(ForwardKey(1), PatternTensor(8, 0, v1::DTYPE_INT32)).ok());
    }
    if (ending == Ending::kReceiverStops) end->receiver().Close(absl::UnavailableError("enough"));
    if (ending == Ending::kServerStops) end->Stop();
    if (ending == Ending::kRefused || ending == Ending::kReceiverStops || ending == Ending::kServerStops) {
      ended.WaitForNotification();
    }
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
