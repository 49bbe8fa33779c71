#include "worker/runtime/frame_codec.h"

#include <google/protobuf/stubs/logging.h>
#include <gtest/gtest.h>

#include <memory>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "common/limits.h"

namespace penstock {
namespace {

v1::Frame Header() {
  v1::Frame header;
  header.set_job("quick-1");
  header.set_plan_epoch(3);
  header.set_sender_incarnation(uint64_t{1} << 40);
  header.mutable_key()->set_step(12);
  header.mutable_key()->set_stage(1);
  header.mutable_key()->set_tensor("x");
  header.mutable_key()->set_micro_batch(7);
  header.mutable_key()->set_direction(v1::DIRECTION_FORWARD);
  header.set_dtype(v1::DTYPE_FLOAT32);
  header.add_shape(4);
  header.add_shape(300);
  header.set_byte_order(v1::BYTE_ORDER_LITTLE_ENDIAN);
  header.set_offset(1 << 20);
  header.set_total_bytes(3 << 20);
  header.set_checksum(0x0123456789abcdef);
  return header;
}

std::string Payload(size_t bytes) {
  std::string payload(bytes, 0);
  for (size_t i = 0; i < bytes; ++i) payload[i] = static_cast<char>(i * 31 + i / 256);
  return payload;
}

std::string BytesOf(const grpc::ByteBuffer& buffer) {
  std::vector<grpc::Slice> slices;
  EXPECT_TRUE(buffer.Dump(&slices).ok());
  std::string bytes;
  for (const grpc::Slice& slice : slices) bytes.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
  return bytes;
}

// A message cut into slices of `size`, as it may arrive.
grpc::ByteBuffer InSlices(absl::string_view bytes, size_t size) {
  std::vector<grpc::Slice> slices;
  for (size_t at = 0; at < bytes.size(); at += size) {
    const absl::string_view part = bytes.substr(at, size);
    slices.emplace_back(part.data(), part.size());
  }
  return grpc::ByteBuffer(slices.data(), slices.size());
}

TEST(FrameCodecTest, WritesExactlyTheProtobufMessage) {
  for (const size_t size : {size_t{0}, size_t{1}, size_t{127}, size_t{128}, size_t{70000}, limits::kPieceBytes}) {
    const auto payload = std::make_shared<std::string>(Payload(size));
    v1::Frame expected = Header();
    expected.set_payload(*payload);
    EXPECT_EQ(BytesOf(EncodeFrame(Header(), payload, *payload)), expected.SerializeAsString()) << size;
  }
}

TEST(FrameCodecTest, ReferencesThePayloadAndHoldsItsOwnerUntilTheBufferIsGone) {
  auto payload = std::make_shared<std::string>(Payload(100000));
  const std::weak_ptr<std::string> watch = payload;
  {
    const grpc::ByteBuffer buffer = EncodeFrame(Header(), payload, *payload);
    std::vector<grpc::Slice> slices;
    ASSERT_TRUE(buffer.Dump(&slices).ok());
    ASSERT_EQ(slices.size(), 2u);
    EXPECT_EQ(static_cast<const void*>(slices[1].begin()), payload->data());
    payload.reset();
    EXPECT_FALSE(watch.expired());
  }
  EXPECT_TRUE(watch.expired());
}

TEST(FrameCodecTest, ReadsWhatProtobufWroteHoweverItIsSliced) {
  v1::Frame sent = Header();
  sent.set_payload(Payload(5000));
  const std::string bytes = sent.SerializeAsString();
  for (const size_t slice : {1, 2, 3, 7, 64, 1000, 100000}) {
    const auto frame = DecodeFrame(InSlices(bytes, slice));
    ASSERT_TRUE(frame.ok()) << frame.status();
    EXPECT_EQ(frame->header.SerializeAsString(), Header().SerializeAsString());
    ASSERT_EQ(frame->payload.size(), 5000u);
    std::string copy(5000, 0);
    EXPECT_EQ(frame->payload.CopyTo(copy.data()), Checksum(sent.payload()));
    EXPECT_EQ(copy, sent.payload());
  }
}

TEST(FrameCodecTest, ReadsFieldsInAnyOrderAndPassesOverUnknownOnes) {
  v1::Frame last = Header();
  v1::Frame first;
  first.set_payload("payload first");
  // Field 100, a number; field 101, bytes; field 102, 8 bytes.
  const std::string unknown("\xa0\x06\x05\xaa\x06\x02zz\xb1\x06" "12345678", 18);
  const auto frame = DecodeFrame(InSlices(first.SerializeAsString() + unknown + last.SerializeAsString(), 5));
  ASSERT_TRUE(frame.ok()) << frame.status();
  EXPECT_EQ(frame->header.job(), "quick-1");
  EXPECT_EQ(frame->header.total_bytes(), 3u << 20);
  ASSERT_EQ(frame->payload.size(), 13u);
  std::string copy(13, 0);
  frame->payload.CopyTo(copy.data());
  EXPECT_EQ(copy, "payload first");
}

TEST(FrameCodecTest, RefusesTwoPayloads) {
  v1::Frame frame;
  frame.set_payload("a");
  const std::string once = frame.SerializeAsString();
  EXPECT_EQ(DecodeFrame(InSlices(once + once, 100)).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(FrameCodecTest, RefusesAPayloadLargerThanAPiece) {
  v1::Frame frame = Header();
  frame.set_payload(std::string(limits::kPieceBytes + 1, 'a'));
  EXPECT_EQ(DecodeFrame(InSlices(frame.SerializeAsString(), 1 << 16)).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(FrameCodecTest, RefusesAHeaderThatIsTooLarge) {
  v1::Frame frame = Header();
  frame.set_job(std::string(limits::kMaxFrameHeaderBytes + 1, 'j'));
  EXPECT_EQ(DecodeFrame(InSlices(frame.SerializeAsString(), 1 << 16)).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(FrameCodecTest, RefusesEveryTruncationOfAMessageInsideAField) {
  v1::Frame sent = Header();
  sent.set_payload(Payload(300));
  const std::string bytes = sent.SerializeAsString();
  const size_t header_bytes = Header().SerializeAsString().size();
  for (size_t size = header_bytes + 1; size < bytes.size(); ++size) {
    EXPECT_FALSE(DecodeFrame(InSlices(absl::string_view(bytes).substr(0, size), 16)).ok()) << size;
  }
}

TEST(FrameCodecTest, SurvivesGarbage) {
  const google::protobuf::LogSilencer silencer;  // it complains of every name that is not UTF-8
  std::mt19937 random(7);
  v1::Frame sent = Header();
  sent.set_payload(Payload(200));
  const std::string good = sent.SerializeAsString();
  int refused = 0;
  for (int round = 0; round < 20000; ++round) {
    std::string bytes;
    if (round % 2 == 0) {
      bytes.resize(random() % 200);
      for (char& byte : bytes) byte = static_cast<char>(random());
    } else {
      bytes = good;
      for (int flips = 0; flips < 3; ++flips) bytes[random() % bytes.size()] = static_cast<char>(random());
    }
    const auto frame = DecodeFrame(InSlices(bytes, 1 + random() % 50));
    if (!frame.ok()) {
      ++refused;
      continue;
    }
    ASSERT_LE(frame->payload.size(), bytes.size());
    std::string copy(frame->payload.size(), 0);
    frame->payload.CopyTo(copy.data());
  }
  EXPECT_GT(refused, 1000);
}

TEST(FrameCodecTest, RefusesAnEmptyBuffer) { EXPECT_FALSE(DecodeFrame(grpc::ByteBuffer()).ok()); }

}  // namespace
}  // namespace penstock
