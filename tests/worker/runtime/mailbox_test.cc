#include "worker/runtime/mailbox.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "common/fake_clock.h"
#include "common/limits.h"

namespace penstock {
namespace {

constexpr size_t kBytes = 4 * 100 * 4;

BoundaryKey Key(uint64_t pass = 1, int micro_batch = 0) { return {pass, 1, v1::DIRECTION_FORWARD, micro_batch, "x"}; }

class MailboxTest : public testing::Test {
 protected:
  static BoundaryBounds Bounds() {
    BoundaryBounds bounds(4);
    bounds.Allow(1, v1::DIRECTION_FORWARD, {v1::DTYPE_FLOAT32, {4, 100}});
    return bounds;
  }

  MailboxTest() : mailbox_(Bounds(), 4 * kBytes, &clock_) {
    std::vector<ExpectedTensor> expected;
    for (int i = 0; i < 4; ++i) expected.push_back({Key(0, i), 0, kBytes});
    mailbox_.BeginRange(expected, 1, 2);
  }

  static v1::Frame Header(const BoundaryKey& key) {
    v1::Frame header;
    *header.mutable_key() = ToProto(key);
    header.set_dtype(v1::DTYPE_FLOAT32);
    header.add_shape(4);
    header.add_shape(100);
    header.set_byte_order(v1::BYTE_ORDER_LITTLE_ENDIAN);
    header.set_total_bytes(kBytes);
    return header;
  }

  absl::Status Deposit(v1::Frame header, const std::string& payload, bool keep_checksum = false) {
    if (!keep_checksum) header.set_checksum(Checksum(payload));
    header.set_payload(payload);
    const grpc::Slice slice(header.SerializeAsString());
    auto frame = DecodeFrame(grpc::ByteBuffer(&slice, 1));
    EXPECT_TRUE(frame.ok()) << frame.status();
    return mailbox_.Deposit(*frame);
  }

  absl::Status DepositPiece(const BoundaryKey& key, size_t offset, size_t bytes) {
    v1::Frame header = Header(key);
    header.set_offset(offset);
    return Deposit(header, Text().substr(offset, bytes));
  }

  static std::string Text() {
    std::string text(kBytes, 0);
    for (size_t i = 0; i < kBytes; ++i) text[i] = static_cast<char>(i * 7 + i / 256);
    return text;
  }

  absl::Duration Now() const { return clock_.Monotonic(); }

  FakeClock clock_;
  Mailbox mailbox_;
};

TEST_F(MailboxTest, HandsOutATensorWhosePiecesCameInAnyOrder) {
  ASSERT_TRUE(DepositPiece(Key(), 1000, 600).ok());
  ASSERT_TRUE(DepositPiece(Key(), 0, 400).ok());
  EXPECT_EQ(mailbox_.Take(Key(), Now()).status().code(), absl::StatusCode::kDeadlineExceeded);
  ASSERT_TRUE(DepositPiece(Key(), 400, 600).ok());
  const auto taken = mailbox_.Take(Key(), Now());
  ASSERT_TRUE(taken.ok()) << taken.status();
  EXPECT_EQ(std::string(taken->tensor.data.get(), taken->tensor.bytes), Text());
  EXPECT_EQ(taken->tensor.meta, (TensorMeta{v1::DTYPE_FLOAT32, {4, 100}}));
  EXPECT_EQ(reinterpret_cast<uintptr_t>(taken->tensor.data.get()) % limits::kTensorAlignment, 0u);
  EXPECT_EQ(mailbox_.counts().held_bytes, 0u);
}

TEST_F(MailboxTest, DropsAndCountsDuplicatesAndStaleFrames) {
  ASSERT_TRUE(DepositPiece(Key(), 0, 800).ok());
  ASSERT_TRUE(DepositPiece(Key(), 0, 800).ok());
  ASSERT_TRUE(DepositPiece(Key(), 100, 200).ok());
  EXPECT_EQ(mailbox_.counts().frames_dropped, 2u);
  ASSERT_TRUE(DepositPiece(Key(), 800, 800).ok());
  ASSERT_TRUE(mailbox_.Take(Key(), Now()).ok());
  ASSERT_TRUE(DepositPiece(Key(), 0, 800).ok());   // taken already
  ASSERT_TRUE(DepositPiece(Key(0), 0, 800).ok());  // a pass that is over
  EXPECT_EQ(mailbox_.counts().frames_dropped, 4u);
  EXPECT_EQ(mailbox_.counts().frames_received, 6u);
  EXPECT_EQ(mailbox_.counts().held_bytes, 0u);
}

TEST_F(MailboxTest, RefusesPiecesThatOverlap) {
  ASSERT_TRUE(DepositPiece(Key(), 400, 400).ok());
  EXPECT_EQ(DepositPiece(Key(), 200, 400).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(DepositPiece(Key(), 600, 400).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(DepositPiece(Key(), 0, 1600).code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(MailboxTest, RefusesATensorWithoutCredit) {
  // The budget holds the four tensors of pass 1.
  const absl::Status status = DepositPiece(Key(2, 0), 0, kBytes);
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_TRUE(absl::StrContains(status.message(), "micro-batch 0 for stage 1, pass 2")) << status;
  EXPECT_EQ(mailbox_.counts().held_bytes, 0u);
}

TEST_F(MailboxTest, RefusesAWrongChecksumAndNeverHandsTheTensorOut) {
  v1::Frame header = Header(Key());
  header.set_checksum(1);
  const absl::Status status = Deposit(header, Text(), /*keep_checksum=*/true);
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_TRUE(absl::StrContains(status.message(), "forward x of micro-batch 0 for stage 1")) << status;
  EXPECT_EQ(mailbox_.Take(Key(), Now()).status().code(), absl::StatusCode::kDeadlineExceeded);
}

TEST_F(MailboxTest, ChecksEverythingBeforeItReservesMemory) {
  const auto refused = [this](const v1::Frame& header) {
    const absl::Status status = Deposit(header, Text());
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
    EXPECT_TRUE(absl::StrContains(status.message(), "micro-batch")) << status;
  };
  v1::Frame frame = Header(Key());
  frame.set_dtype(v1::DTYPE_FLOAT64);
  refused(frame);
  frame = Header(Key());
  frame.set_shape(1, 101);
  refused(frame);
  frame = Header(Key());
  frame.set_shape(0, 0);
  refused(frame);
  frame = Header(Key());
  frame.set_shape(0, -4);
  refused(frame);
  frame = Header(Key());
  frame.add_shape(1);
  refused(frame);
  frame = Header(Key());
  frame.set_total_bytes(uint64_t{4} << 40);
  refused(frame);
  frame = Header(Key());
  for (int64_t dimension : {int64_t{1} << 21, int64_t{1} << 21}) frame.add_shape(dimension);
  frame.set_total_bytes(uint64_t{4} << 40);
  refused(frame);
  frame = Header(Key());
  frame.set_offset(8);
  refused(frame);
  frame = Header(Key());
  frame.set_offset(~uint64_t{0} - 10);
  refused(frame);
  frame = Header(Key());
  frame.set_byte_order(v1::BYTE_ORDER_UNSPECIFIED);
  refused(frame);
  frame = Header(Key(1, 4));
  refused(frame);
  frame = Header({1, 0, v1::DIRECTION_BACKWARD, 0, "x"});
  refused(frame);
  frame = Header({1, 1, v1::DIRECTION_FORWARD, 0, "y"});
  refused(frame);
  frame = Header(Key());
  frame.mutable_key()->set_replica(1);
  refused(frame);
  frame = Header(Key());
  frame.mutable_key()->set_stage(~0u);
  refused(frame);
  EXPECT_EQ(mailbox_.counts().held_bytes, 0u);
}

TEST_F(MailboxTest, TakesASmallerTensorThanTheBound) {
  v1::Frame header = Header(Key());
  header.set_shape(0, 1);
  header.set_shape(1, 25);
  header.set_total_bytes(100);
  ASSERT_TRUE(Deposit(header, std::string(100, 'a')).ok());
  const auto taken = mailbox_.Take(Key(), Now());
  ASSERT_TRUE(taken.ok());
  EXPECT_EQ(taken->tensor.meta.shape, (std::vector<int64_t>{1, 25}));
}

TEST_F(MailboxTest, RefusesPiecesOfOneTensorThatDiffer) {
  ASSERT_TRUE(DepositPiece(Key(), 0, 400).ok());
  v1::Frame header = Header(Key());
  header.set_shape(0, 3);
  header.set_total_bytes(1200);
  header.set_offset(400);
  EXPECT_EQ(Deposit(header, std::string(400, 'a')).code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(MailboxTest, AWaitEndsAtItsDeadlineAndSaysWhatIsMissing) {
  absl::Status status;
  const absl::Duration deadline = Now() + absl::Seconds(30);
  std::thread waiter([&] { status = mailbox_.Take(Key(), deadline).status(); });
  ASSERT_TRUE(DepositPiece(Key(), 0, 400).ok());
  clock_.Advance(absl::Seconds(31));
  waiter.join();
  EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_TRUE(absl::StrContains(status.message(), "forward x of micro-batch 0 for stage 1, pass 1")) << status;
  EXPECT_TRUE(absl::StrContains(status.message(), "from stage 0")) << status;
}

TEST_F(MailboxTest, TheFirstErrorWakesEveryWaiterAndWins) {
  absl::Status first, second;
  std::thread a([&] { first = mailbox_.Take(Key(1, 0), Now() + absl::Hours(1)).status(); });
  std::thread b([&] { second = mailbox_.Take(Key(1, 1), Now() + absl::Hours(1)).status(); });
  mailbox_.Poison(absl::UnavailableError("rank 0 is gone"));
  mailbox_.Poison(absl::InternalError("what followed"));
  a.join();
  b.join();
  EXPECT_EQ(first, absl::UnavailableError("rank 0 is gone"));
  EXPECT_EQ(second, first);
  EXPECT_EQ(DepositPiece(Key(), 0, 400), first);
}

TEST_F(MailboxTest, PassesOnCreditAsTensorsAreTaken) {
  ASSERT_TRUE(DepositPiece(Key(1, 0), 0, kBytes).ok());
  ASSERT_TRUE(DepositPiece(Key(1, 1), 0, kBytes).ok());
  EXPECT_TRUE(mailbox_.Take(Key(1, 0), Now())->grants.empty());
  const auto taken = mailbox_.Take(Key(1, 1), Now());
  ASSERT_EQ(taken->grants.size(), 2u);
  EXPECT_EQ(taken->grants[0].key, Key(2, 0));
}

TEST(BufferPoolTest, UsesTheSameMemoryAgainAndKeepsNoMoreThanItMay) {
  BufferPool pool(10000);
  char* first = nullptr;
  {
    const auto buffer = pool.Get(5000);
    first = buffer.get();
    EXPECT_EQ(reinterpret_cast<uintptr_t>(first) % limits::kTensorAlignment, 0u);
  }
  EXPECT_EQ(pool.Get(4900).get(), first);
  { const auto a = pool.Get(5000), b = pool.Get(5000), c = pool.Get(5000); }
  EXPECT_LE(pool.FreeBytes(), 10000u);
  EXPECT_GE(pool.FreeBytes(), 5000u);
}

// The process used to end when the host refused a buffer.
TEST(BufferPoolTest, MemoryThatTheHostRefusesIsNull) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "a sanitizer's own allocator ends the process instead";
#else
  BufferPool pool(10000);
  EXPECT_EQ(pool.Get(size_t{1} << 60), nullptr);
  EXPECT_NE(pool.Get(100), nullptr);
#endif
}

TEST(BufferPoolTest, BuffersMayOutliveThePool) {
  std::shared_ptr<char[]> buffer;
  {
    BufferPool pool(1 << 20);
    buffer = pool.Get(1000);
  }
  std::memset(buffer.get(), 1, 1000);
}

}  // namespace
}  // namespace penstock
