// Streams between two workers of one host: payloads through shared memory, and what either end may do wrong there.
#include <grpcpp/client_context.h>
#include <grpcpp/server.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "common/channel.h"
#include "common/clock.h"
#include "common/grpc_status.h"
#include "common/limits.h"
#include "proto/worker.grpc.pb.h"
#include "tests/worker/runtime/receiving_end.h"
#include "worker/runtime/frame_codec.h"
#include "worker/runtime/peer_sender.h"
#include "worker/runtime/shared_ring.h"

namespace penstock {
namespace {

constexpr int64_t kFloats = 3 * (int64_t{1} << 18) + 5;  // three pieces and a small rest

class End {
 public:
  PeerSender::OnEnd OnEnd() {
    return [this](const absl::Status& why) {
      absl::MutexLock lock(&mu_);
      why_ = why;
    };
  }
  absl::Status Await() {
    absl::MutexLock lock(&mu_);
    const auto ended = [this]() { return !why_.ok(); };
    mu_.Await(absl::Condition(&ended));
    return why_;
  }

 private:
  absl::Mutex mu_;
  absl::Status why_;
};

// Sends so many tensors of so many floats; returns what the sender has counted.
PeerSender::Counts SendAll(int64_t floats, int tensors, bool sender_shares = true, bool receiver_shares = true) {
  ReceivingEnd end(floats, tensors, receiver_shares);
  PeerSender sender(TwoRanks(0, end.address(), sender_shares), 1, ForwardKey(0), tensors, Clock::Real(),
                    [](const absl::Status&) {});
  sender.Open();
  for (int i = 1; i <= tensors; ++i) EXPECT_TRUE(sender.Send(ForwardKey(i), PatternTensor(floats, i)).ok());
  for (int i = 1; i <= tensors; ++i) end.ExpectPattern(i, i);
  EXPECT_TRUE(end.stop().status().ok()) << end.stop().status();
  return sender.counts();
}

TEST(SharedStreamTest, LargePiecesGoThroughSharedMemoryAndSmallOnesDoNot) {
  const PeerSender::Counts counts = SendAll(kFloats, 4);
  EXPECT_EQ(counts.frames_sent, 4u * 4);
  EXPECT_EQ(counts.bytes_sent, 4u * 4 * kFloats);
  EXPECT_EQ(counts.shared_bytes_sent, 4u * 3 * limits::kPieceBytes);
}

// Far more pieces than the ring has slots: the sender waits for slots, and uses each many times.
TEST(SharedStreamTest, CarriesManyMorePiecesThanTheRingHas) {
  constexpr int64_t kLarge = 5 * limits::kRingSlots * (int64_t{1} << 18);
  EXPECT_EQ(SendAll(kLarge, 3).shared_bytes_sent, 3u * 4 * kLarge);
}

TEST(SharedStreamTest, GoesByTcpWhereEitherEndDoesNotShare) {
  EXPECT_EQ(SendAll(kFloats, 2, false, true).shared_bytes_sent, 0u);
  EXPECT_EQ(SendAll(kFloats, 2, true, false).shared_bytes_sent, 0u);
}

// ---- a sender that plays badly

// A client that has opened a stream from this host, with the ring that it was offered.
class ClientTest : public testing::Test {
 protected:
  ClientTest() : end_(kFloats), stub_(v1::Exchange::NewStub(OpenChannel(end_.address()))) {}

  void Open(const std::string& boot = BootId()) {
    stream_ = stub_->Exchange(&context_);
    v1::Frame opening = Header();
    opening.set_boot(boot);
    stream_->Write(opening);
    ASSERT_TRUE(stream_->Read(&credit_));
  }

  void OpenWithRing() {
    Open();
    ASSERT_TRUE(credit_.has_ring());
    auto ring = SharedRing::Open(credit_.ring());
    ASSERT_TRUE(ring.ok()) << ring.status();
    ring_ = *std::move(ring);
  }

  static v1::Frame Header() {
    v1::Frame frame;
    frame.set_job("job-1");
    frame.set_plan_epoch(5);
    frame.set_sender_incarnation(100);
    frame.set_byte_order(v1::BYTE_ORDER_LITTLE_ENDIAN);
    *frame.mutable_key() = ToProto(ForwardKey(1));
    return frame;
  }

  // The tensor's first piece, in slot 0.
  v1::Frame InSlot() {
    std::memset(ring_->slot(0), 'p', limits::kPieceBytes);
    v1::Frame frame = Header();
    frame.set_dtype(v1::DTYPE_FLOAT32);
    frame.add_shape(kFloats);
    frame.set_total_bytes(4 * kFloats);
    frame.set_ring_slot(0);
    frame.set_ring_bytes(limits::kPieceBytes);
    frame.set_checksum(Checksum({ring_->slot(0), limits::kPieceBytes}));
    return frame;
  }

  absl::Status Finish(const v1::Frame& frame) {
    stream_->Write(frame);
    stream_->WritesDone();
    while (stream_->Read(&credit_)) {
    }
    return FromGrpc(stream_->Finish());
  }

  void ExpectRefused(const v1::Frame& frame, absl::StatusCode code) {
    const absl::Status status = Finish(frame);
    EXPECT_EQ(status.code(), code) << status;
    EXPECT_TRUE(absl::StrContains(status.message(), "forward x of micro-batch 0 for stage 1, pass 1")) << status;
  }

  ReceivingEnd end_;
  const std::unique_ptr<v1::Exchange::Stub> stub_;
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReaderWriter<v1::Frame, v1::Credit>> stream_;
  v1::Credit credit_;
  std::unique_ptr<SharedRing> ring_;
};

TEST_F(ClientTest, TheFirstCreditOffersTheRing) {
  OpenWithRing();
  EXPECT_EQ(credit_.job(), "job-1");
  EXPECT_EQ(credit_.receiver_incarnation(), 101u);
  EXPECT_EQ(credit_.grants_size(), 1);
  EXPECT_TRUE(Finish(InSlot()).ok());
}

TEST_F(ClientTest, AnotherHostIsOfferedNone) {
  Open("00000000-0000-0000-0000-000000000000");
  EXPECT_FALSE(credit_.has_ring());
  EXPECT_TRUE(end_.stop().status().ok());
  context_.TryCancel();
}

TEST_F(ClientTest, WhoDoesNotAskIsOfferedNone) {
  Open("");
  EXPECT_FALSE(credit_.has_ring());
  v1::Frame frame = Header();
  frame.set_dtype(v1::DTYPE_FLOAT32);
  frame.add_shape(kFloats);
  frame.set_total_bytes(4 * kFloats);
  frame.set_ring_slot(0);
  frame.set_ring_bytes(limits::kPieceBytes);
  ExpectRefused(frame, absl::StatusCode::kInvalidArgument);
}

TEST_F(ClientTest, RefusesASlotThatTheRingDoesNotHave) {
  OpenWithRing();
  v1::Frame frame = InSlot();
  frame.set_ring_slot(limits::kRingSlots);
  ExpectRefused(frame, absl::StatusCode::kInvalidArgument);
}

TEST_F(ClientTest, RefusesMoreBytesThanASlotHas) {
  OpenWithRing();
  v1::Frame frame = InSlot();
  frame.set_ring_bytes(limits::kPieceBytes + 1);
  ExpectRefused(frame, absl::StatusCode::kInvalidArgument);
}

TEST_F(ClientTest, RefusesAPayloadInBothPlaces) {
  OpenWithRing();
  v1::Frame frame = InSlot();
  frame.set_payload("more");
  ExpectRefused(frame, absl::StatusCode::kInvalidArgument);
}

TEST_F(ClientTest, RefusesASlotWhoseBytesHaveAnotherChecksum) {
  OpenWithRing();
  const v1::Frame frame = InSlot();
  ring_->slot(0)[limits::kPieceBytes - 1] ^= 1;
  ExpectRefused(frame, absl::StatusCode::kDataLoss);
  EXPECT_EQ(end_.stop().status().code(), absl::StatusCode::kDataLoss);
}

// ---- a receiver that plays badly

// Answers a stream's first frame with this credit, and every later one with `later`.
class BadReceiver final : public v1::Exchange::Service {
 public:
  explicit BadReceiver(std::function<void(v1::Credit*)> first, std::function<void(v1::Credit*)> later = nullptr)
      : first_(std::move(first)), later_(std::move(later)) {
    grpc::ServerBuilder builder;
    int port = 0;
    PrepareServer(&builder, "127.0.0.1:0", &port);
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
    address_ = absl::StrCat("127.0.0.1:", port);
  }
  ~BadReceiver() override { server_->Shutdown(absl::ToChronoTime(absl::Now())); }

  grpc::Status Exchange(grpc::ServerContext*, grpc::ServerReaderWriter<v1::Credit, v1::Frame>* stream) override {
    v1::Frame frame;
    for (int i = 0; stream->Read(&frame); ++i) {
      absl::MutexLock lock(&mu_);
      frames_.push_back(frame);
      v1::Credit credit;
      credit.set_job("job-1");
      credit.set_plan_epoch(5);
      credit.set_receiver_incarnation(101);
      if (i == 0) *credit.add_grants() = ToProto(ForwardKey(1));
      if (i == 0) first_(&credit);
      if (i > 0 && later_ != nullptr) later_(&credit);
      stream->Write(credit);
    }
    return grpc::Status::OK;
  }

  // Waits for so many frames; the last of them.
  v1::Frame AwaitFrame(size_t count) {
    absl::MutexLock lock(&mu_);
    const auto came = [this, count]() { return frames_.size() >= count; };
    mu_.Await(absl::Condition(&came));
    return frames_[count - 1];
  }
  const std::string& address() const { return address_; }

 private:
  const std::function<void(v1::Credit*)> first_, later_;
  absl::Mutex mu_;
  std::vector<v1::Frame> frames_;
  std::unique_ptr<grpc::Server> server_;
  std::string address_;
};

TEST(SharedStreamTest, ARingThatCannotBeMappedIsLeftAlone) {
  BadReceiver receiver([](v1::Credit* credit) {
    credit->mutable_ring()->set_process(static_cast<uint32_t>(getpid()));
    credit->mutable_ring()->set_fd(0);
    credit->mutable_ring()->set_slots(4);
  });
  PeerSender sender(TwoRanks(0, receiver.address()), 1, ForwardKey(0), 1, Clock::Real(), [](const absl::Status&) {});
  sender.Open();
  EXPECT_EQ(receiver.AwaitFrame(1).boot(), BootId());
  ASSERT_TRUE(sender.Send(ForwardKey(1), PatternTensor(1 << 18, 0)).ok());
  const v1::Frame frame = receiver.AwaitFrame(2);
  EXPECT_FALSE(frame.has_ring_slot());
  EXPECT_EQ(frame.payload().size(), limits::kPieceBytes);
  EXPECT_TRUE(frame.boot().empty());
}

TEST(SharedStreamTest, ASlotThatIsGivenBackTwiceEndsTheStream) {
  auto ring = SharedRing::Create(2);
  ASSERT_TRUE(ring.ok()) << ring.status();
  BadReceiver receiver([&](v1::Credit* credit) { *credit->mutable_ring() = (*ring)->offer(); },
                       [](v1::Credit* credit) {
                         credit->add_free_slots(0);
                         credit->add_free_slots(0);
                       });
  End end;
  PeerSender sender(TwoRanks(0, receiver.address()), 1, ForwardKey(0), 1, Clock::Real(), end.OnEnd());
  sender.Open();
  ASSERT_TRUE(sender.Send(ForwardKey(1), PatternTensor(1 << 18, 9)).ok());
  const v1::Frame frame = receiver.AwaitFrame(2);
  EXPECT_EQ(frame.ring_slot(), 0u);
  EXPECT_EQ(frame.ring_bytes(), limits::kPieceBytes);
  EXPECT_EQ(frame.checksum(), Checksum({(*ring)->slot(0), limits::kPieceBytes}));
  const absl::Status why = end.Await();
  EXPECT_EQ(why.code(), absl::StatusCode::kInvalidArgument) << why;
  EXPECT_TRUE(absl::StrContains(why.message(), "slot 0")) << why;
}

// Each piece but the first finds no slot: it goes on with the credit that gives the slot back.
TEST(SharedStreamTest, APieceWithoutASlotWaitsForOne) {
  auto ring = SharedRing::Create(1);
  ASSERT_TRUE(ring.ok()) << ring.status();
  BadReceiver receiver([&](v1::Credit* credit) { *credit->mutable_ring() = (*ring)->offer(); },
                       [](v1::Credit* credit) { credit->add_free_slots(0); });
  PeerSender sender(TwoRanks(0, receiver.address()), 1, ForwardKey(0), 1, Clock::Real(), [](const absl::Status&) {});
  sender.Open();
  ASSERT_TRUE(sender.Send(ForwardKey(1), PatternTensor(5 << 18, 1)).ok());
  EXPECT_EQ(receiver.AwaitFrame(6).offset(), 4 * limits::kPieceBytes);
  EXPECT_TRUE(sender.AwaitQueued(0, Clock::Real()->Monotonic() + absl::Seconds(10)).ok());
  EXPECT_EQ(sender.counts().shared_bytes_sent, 5 * limits::kPieceBytes);
}

TEST(SharedStreamTest, ASenderThatWaitsForASlotCanBeEnded) {
  auto ring = SharedRing::Create(1);
  ASSERT_TRUE(ring.ok()) << ring.status();
  for (const bool waits : {true, true, true, false}) {
    BadReceiver receiver([&](v1::Credit* credit) { *credit->mutable_ring() = (*ring)->offer(); });
    End end;
    PeerSender sender(TwoRanks(0, receiver.address()), 1, ForwardKey(0), 1, Clock::Real(), end.OnEnd());
    sender.Open();
    ASSERT_TRUE(sender.Send(ForwardKey(1), PatternTensor(5 << 18, 1)).ok());
    if (waits) {
      EXPECT_EQ(receiver.AwaitFrame(2).ring_slot(), 0u);
      EXPECT_EQ(sender.AwaitQueued(0, Clock::Real()->Monotonic() + absl::Milliseconds(20)).code(),
                absl::StatusCode::kDeadlineExceeded);
      EXPECT_EQ(sender.counts().frames_sent, 1u);
    }
    sender.Cancel(absl::CancelledError("enough"));
    EXPECT_EQ(end.Await().code(), absl::StatusCode::kCancelled);
  }
}

TEST(SharedStreamTest, ASlotOfNoRingEndsTheStream) {
  BadReceiver receiver([](v1::Credit* credit) { credit->add_free_slots(0); });
  End end;
  PeerSender sender(TwoRanks(0, receiver.address()), 1, ForwardKey(0), 1, Clock::Real(), end.OnEnd());
  sender.Open();
  EXPECT_EQ(end.Await().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace penstock
