// What a neighbour may do wrong on a stream, and how the stream ends then.
#include <grpcpp/client_context.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/server.h>
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/channel.h"
#include "common/clock.h"
#include "common/grpc_status.h"
#include "common/limits.h"
#include "proto/worker.grpc.pb.h"
#include "worker/runtime/exchange_service.h"
#include "worker/runtime/frame_codec.h"
#include "worker/runtime/peer_sender.h"

namespace penstock {
namespace {

constexpr size_t kBytes = 8 * 4;

BoundaryKey Key(uint64_t pass = 1, int micro_batch = 0) { return {pass, 1, v1::DIRECTION_FORWARD, micro_batch, "x"}; }

RankIdentity Identity(int rank, const std::string& address = "") {
  RankIdentity identity{.job = "job-1", .plan_epoch = 5, .incarnation = static_cast<uint64_t>(100 + rank), .rank = rank};
  for (int i = 0; i < 2; ++i) {
    v1::Neighbour neighbour;
    neighbour.set_rank(static_cast<uint32_t>(i));
    neighbour.set_worker(absl::StrCat("localhost/cpu.", i));
    neighbour.set_incarnation(static_cast<uint64_t>(100 + i));
    neighbour.set_address(address);
    identity.ranks.push_back(neighbour);
    identity.rank_of_stage.push_back(i);
  }
  return identity;
}

// Rank 1 of 2, whose stage 1 takes tensors of 8 floats; a client that plays rank 0, well or badly.
class ExchangeTest : public testing::Test {
 protected:
  ExchangeTest() {
    grpc::ServerBuilder builder;
    int port = 0;
    PrepareServer(&builder, "127.0.0.1:0", &port);
    builder.RegisterService(&service_);
    server_ = builder.BuildAndStart();
    address_ = absl::StrCat("127.0.0.1:", port);
    BoundaryBounds bounds(4);
    bounds.Allow(1, v1::DIRECTION_FORWARD, {v1::DTYPE_FLOAT32, {8}});
    receiver_ = std::make_shared<Receiver>(Identity(1), bounds, 2 * kBytes, Clock::Real(), stop_);
    service_.SetReceiver(receiver_);
    std::vector<ExpectedTensor> expected;
    for (int i = 0; i < 4; ++i) expected.push_back({.key = Key(0, i), .bytes = kBytes});
    receiver_->BeginRange(expected, 1, 2);
  }
  ~ExchangeTest() override { server_->Shutdown(absl::ToChronoTime(absl::Now())); }

  static v1::Frame Opening() {
    v1::Frame frame;
    frame.set_job("job-1");
    frame.set_plan_epoch(5);
    frame.set_sender_incarnation(100);
    frame.set_byte_order(v1::BYTE_ORDER_LITTLE_ENDIAN);
    *frame.mutable_key() = ToProto(Key(0));
    return frame;
  }

  static v1::Frame Good(const BoundaryKey& key = Key()) {
    v1::Frame frame = Opening();
    *frame.mutable_key() = ToProto(key);
    frame.set_dtype(v1::DTYPE_FLOAT32);
    frame.add_shape(8);
    frame.set_total_bytes(kBytes);
    frame.set_payload(std::string(kBytes, 'p'));
    frame.set_checksum(Checksum(frame.payload()));
    return frame;
  }

  // Opens a stream as a client written with the generated stub would, waits for the first credit, sends the frames.
  // Returns how the stream ended.
  absl::Status Play(const std::vector<v1::Frame>& frames, const v1::Frame& opening = Opening()) {
    const auto stub = v1::Exchange::NewStub(OpenChannel(address_));
    grpc::ClientContext context;
    const auto stream = stub->Exchange(&context);
    stream->Write(opening);
    v1::Credit credit;
    if (stream->Read(&credit)) {
      for (const v1::Frame& frame : frames) stream->Write(frame);
      stream->WritesDone();
      while (stream->Read(&credit)) {
      }
    }
    return FromGrpc(stream->Finish());
  }

  void ExpectRefused(const v1::Frame& frame, absl::StatusCode code) {
    const absl::Status status = Play({frame});
    EXPECT_EQ(status.code(), code) << status;
    EXPECT_TRUE(absl::StrContains(status.message(), "job") || absl::StrContains(status.message(), "micro-batch"))
        << status;
    EXPECT_EQ(receiver_->mailbox().counts().held_bytes, 0u);
    EXPECT_FALSE(receiver_->Take(Key(), Clock::Real()->Monotonic()).ok());
  }

  const std::shared_ptr<StopSignal> stop_ = std::make_shared<StopSignal>();
  ExchangeService service_;
  std::unique_ptr<grpc::Server> server_;
  std::string address_;
  std::shared_ptr<Receiver> receiver_;
};

TEST_F(ExchangeTest, TakesFramesFromAClientThatUsesTheGeneratedClasses) {
  const absl::Status status = Play({Good(Key(1, 1)), Good(Key(1, 0))});
  EXPECT_TRUE(status.ok()) << status;
  const auto tensor = receiver_->Take(Key(1, 0), Clock::Real()->Monotonic() + absl::Seconds(10));
  ASSERT_TRUE(tensor.ok()) << tensor.status();
  EXPECT_EQ(std::string(tensor->data.get(), tensor->bytes), std::string(kBytes, 'p'));
}

TEST_F(ExchangeTest, RefusesAWrongDType) {
  v1::Frame frame = Good();
  frame.set_dtype(v1::DTYPE_INT64);
  ExpectRefused(frame, absl::StatusCode::kInvalidArgument);
}

TEST_F(ExchangeTest, RefusesAShapeThatIsTooLarge) {
  v1::Frame frame = Good();
  frame.set_shape(0, 9);
  ExpectRefused(frame, absl::StatusCode::kInvalidArgument);
}

TEST_F(ExchangeTest, RefusesAnOffsetBeyondTheTensor) {
  v1::Frame frame = Good();
  frame.set_offset(kBytes);
  ExpectRefused(frame, absl::StatusCode::kInvalidArgument);
}

TEST_F(ExchangeTest, RefusesAnAnnouncedSizeOf4TiBWithoutReservingIt) {
  v1::Frame frame = Good();
  frame.set_total_bytes(uint64_t{4} << 40);
  ExpectRefused(frame, absl::StatusCode::kInvalidArgument);
  frame.set_shape(0, int64_t{1} << 40);
  ExpectRefused(frame, absl::StatusCode::kInvalidArgument);
}

TEST_F(ExchangeTest, RefusesAWrongChecksumAsDataLossAndStopsTheRank) {
  v1::Frame frame = Good();
  frame.set_checksum(frame.checksum() + 1);
  const absl::Status status = Play({frame});
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << status;
  EXPECT_TRUE(absl::StrContains(status.message(), "forward x of micro-batch 0 for stage 1, pass 1")) << status;
  EXPECT_EQ(stop_->status().code(), absl::StatusCode::kDataLoss);
}

TEST_F(ExchangeTest, RefusesATensorWithoutCredit) {
  ExpectRefused(Good(Key(1, 2)), absl::StatusCode::kResourceExhausted);
}

TEST_F(ExchangeTest, RefusesAnotherEpoch) {
  v1::Frame frame = Good();
  frame.set_plan_epoch(4);
  ExpectRefused(frame, absl::StatusCode::kFailedPrecondition);
}

TEST_F(ExchangeTest, RefusesAnotherIncarnation) {
  v1::Frame frame = Good();
  frame.set_sender_incarnation(99);
  ExpectRefused(frame, absl::StatusCode::kAborted);
}

TEST_F(ExchangeTest, AStrangersStreamEndsAndStopsNothing) {
  v1::Frame opening = Opening();
  opening.set_job("another");
  EXPECT_EQ(Play({}, opening).code(), absl::StatusCode::kFailedPrecondition);
  opening = Opening();
  opening.set_plan_epoch(4);
  EXPECT_EQ(Play({}, opening).code(), absl::StatusCode::kFailedPrecondition);
  opening = Opening();
  opening.set_sender_incarnation(7);
  EXPECT_EQ(Play({}, opening).code(), absl::StatusCode::kAborted);
  opening = Opening();
  opening.mutable_key()->set_stage(0);
  EXPECT_EQ(Play({}, opening).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Play({}, Good()).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(stop_->status().ok());
}

TEST_F(ExchangeTest, RefusesGarbage) {
  const auto stub = std::make_unique<grpc::GenericStub>(OpenChannel(address_));
  // Sent through the raw interface, as bytes that are no message at all.
  class Client final : public grpc::ClientBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer> {
   public:
    explicit Client(grpc::GenericStub* stub) {
      stub->PrepareBidiStreamingCall(&context_, "/penstock.v1.Exchange/Exchange", {}, this);
      const grpc::Slice slice("\xff\xff\xff garbage");
      buffer_ = grpc::ByteBuffer(&slice, 1);
      StartWrite(&buffer_);
      StartCall();
    }
    void OnDone(const grpc::Status& status) override {
      absl::MutexLock lock(&mu_);
      status_ = FromGrpc(status);
      done_ = true;
    }
    absl::Status Wait() {
      absl::MutexLock lock(&mu_);
      mu_.Await(absl::Condition(&done_));
      return status_;
    }

   private:
    grpc::ClientContext context_;
    grpc::ByteBuffer buffer_;
    absl::Mutex mu_;
    bool done_ = false;
    absl::Status status_;
  } client(stub.get());
  EXPECT_EQ(client.Wait().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(stop_->status().ok());
}

TEST_F(ExchangeTest, RefusesASecondStreamOfTheSameNeighbour) {
  const auto stub = v1::Exchange::NewStub(OpenChannel(address_));
  grpc::ClientContext context;
  const auto stream = stub->Exchange(&context);
  stream->Write(Opening());
  v1::Credit credit;
  ASSERT_TRUE(stream->Read(&credit));
  EXPECT_EQ(Play({}).code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_TRUE(stop_->status().ok());
  context.TryCancel();
}

TEST_F(ExchangeTest, RefusesWhenNothingIsLoaded) {
  service_.RemoveReceiver(receiver_.get());
  EXPECT_EQ(Play({}).code(), absl::StatusCode::kFailedPrecondition);
}

// ---- the sending side

class SenderTest : public ExchangeTest {
 protected:
  struct End {
    absl::Mutex mu;
    absl::Status why;
  };

  SenderTest() : sender_(Identity(0, address_), 1, Key(0), 4, Clock::Real(), [this](const absl::Status& why) {
        absl::MutexLock lock(&end_.mu);
        end_.why = why;
      }) {}

  static TensorView Tensor() {
    const auto data = std::make_shared<std::string>(kBytes, 't');
    return {.meta = {v1::DTYPE_FLOAT32, {8}}, .owner = data, .data = data->data(), .bytes = kBytes};
  }

  absl::Status AwaitEnd() {
    absl::MutexLock lock(&end_.mu);
    const auto ended = [this]() { return !end_.why.ok(); };
    end_.mu.Await(absl::Condition(&ended));
    return end_.why;
  }

  End end_;
  PeerSender sender_;
};

TEST_F(SenderTest, KeepsATensorBackUntilItsKeyIsGranted) {
  sender_.Open();
  ASSERT_TRUE(sender_.Send(Key(1, 2), Tensor()).ok());  // the budget holds 0 and 1
  ASSERT_TRUE(sender_.Send(Key(1, 0), Tensor()).ok());
  const absl::Duration soon = Clock::Real()->Monotonic() + absl::Seconds(10);
  ASSERT_TRUE(receiver_->Take(Key(1, 0), soon).ok());  // overtakes; then half of the budget is free
  ASSERT_TRUE(sender_.Send(Key(1, 1), Tensor()).ok());
  ASSERT_TRUE(receiver_->Take(Key(1, 1), soon).ok());
  ASSERT_TRUE(receiver_->Take(Key(1, 2), soon).ok());
  EXPECT_EQ(sender_.counts().frames_sent, 3u);
  EXPECT_TRUE(stop_->status().ok()) << stop_->status();
}

TEST_F(SenderTest, RefusesMoreThanItsQueueHolds) {
  sender_.Open();
  for (int i = 0; i < 4; ++i) ASSERT_TRUE(sender_.Send(Key(9, i % 4), Tensor()).ok());
  EXPECT_EQ(sender_.Send(Key(9, 0), Tensor()).code(), absl::StatusCode::kResourceExhausted);
  const absl::Status waited = sender_.AwaitQueued(3, Clock::Real()->Monotonic());
  EXPECT_EQ(waited.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_TRUE(absl::StrContains(waited.message(), "gave no credit")) << waited;
}

TEST_F(SenderTest, TellsOfARefusalWithItsCodeAndTheNeighboursName) {
  sender_.Open();
  TensorView wrong = Tensor();
  wrong.meta.dtype = v1::DTYPE_INT32;
  ASSERT_TRUE(sender_.Send(Key(1, 0), wrong).ok());
  const absl::Status why = AwaitEnd();
  EXPECT_EQ(why.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(absl::StrContains(why.message(), "rank 1 (worker localhost/cpu.1)")) << why;
  EXPECT_EQ(sender_.Send(Key(1, 1), Tensor()), why);
}

TEST_F(SenderTest, CallsADeadNeighbourUnavailable) {
  sender_.Open();
  ASSERT_TRUE(sender_.Send(Key(1, 0), Tensor()).ok());
  ASSERT_TRUE(receiver_->Take(Key(1, 0), Clock::Real()->Monotonic() + absl::Seconds(10)).ok());
  server_->Shutdown(absl::ToChronoTime(absl::Now()));
  const absl::Status why = AwaitEnd();
  EXPECT_EQ(why.code(), absl::StatusCode::kUnavailable) << why;
  EXPECT_TRUE(absl::StrContains(why.message(), "rank 1 (worker localhost/cpu.1)")) << why;
}

TEST_F(SenderTest, CallsANeighbourThatCannotBeReachedUnavailable) {
  server_->Shutdown(absl::ToChronoTime(absl::Now()));
  sender_.Open();
  EXPECT_EQ(AwaitEnd().code(), absl::StatusCode::kUnavailable);
}

TEST_F(SenderTest, AReceiverThatStopsTellsItsSenderWhy) {
  sender_.Open();
  ASSERT_TRUE(sender_.Send(Key(1, 0), Tensor()).ok());
  ASSERT_TRUE(receiver_->Take(Key(1, 0), Clock::Real()->Monotonic() + absl::Seconds(10)).ok());
  receiver_->Close(absl::ResourceExhaustedError("out of memory"));
  const absl::Status why = AwaitEnd();
  EXPECT_EQ(why.code(), absl::StatusCode::kUnavailable);
  EXPECT_TRUE(absl::StrContains(why.message(), "out of memory")) << why;
}

}  // namespace
}  // namespace penstock
