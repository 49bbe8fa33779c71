// Frames written and read without copying the payload: the bytes on the wire are exactly the protobuf message
// v1::Frame, but the payload never passes through a protobuf `bytes` string. Thread-compatible.
// Source: docs/wire.md, "Frame".
#ifndef PENSTOCK_WORKER_RUNTIME_FRAME_CODEC_H_
#define PENSTOCK_WORKER_RUNTIME_FRAME_CODEC_H_

#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/slice.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "proto/tensor.pb.h"

namespace penstock {

// XXH3-64 of `bytes`: what Frame.checksum holds.
uint64_t Checksum(absl::string_view bytes);

// Copies `bytes` to dest. Returns the checksum of what was copied, whatever becomes of `bytes` meanwhile.
uint64_t CopyWithChecksum(char* dest, absl::string_view bytes);

// Builds the message `header` + payload. The payload is referenced, not copied; `owner` is held until gRPC has let
// go of it, which may be on one of gRPC's threads.
// REQUIRES: header has no payload; payload.size() <= limits::kPieceBytes.
grpc::ByteBuffer EncodeFrame(const v1::Frame& header, std::shared_ptr<const void> owner, absl::string_view payload);

// The payload of a frame that arrived, in the memory in which gRPC received it or in which the sender has put it.
class FramePayload {
 public:
  FramePayload() = default;
  // Not copyable: small slices hold their bytes inside themselves, and parts_ points there.
  FramePayload(FramePayload&&) = default;
  FramePayload& operator=(FramePayload&&) = default;

  // Bytes that lie elsewhere (in shared memory) and outlive this.
  static FramePayload Of(absl::string_view bytes);

  size_t size() const { return size_; }
  // Copies the payload to dest[0, size()). Returns its checksum.
  uint64_t CopyTo(char* dest) const;

 private:
  friend class FrameReader;
  std::vector<grpc::Slice> slices_;       // keep parts_ alive
  std::vector<absl::string_view> parts_;  // the payload, in order
  size_t size_ = 0;
};

struct ReceivedFrame {
  v1::Frame header;  // without payload
  FramePayload payload;
};

// Reads a message without copying its payload. Fields may come in any order; unknown ones are ignored, as protobuf
// does. Whether the header makes sense is the mailbox's to say.
// Errors: InvalidArgument: not a Frame, a payload given twice or larger than limits::kPieceBytes, a header larger
//         than limits::kMaxFrameHeaderBytes.
absl::StatusOr<ReceivedFrame> DecodeFrame(const grpc::ByteBuffer& message);

// A small message (Credit) as a buffer, and back. Copies.
grpc::ByteBuffer EncodeMessage(const google::protobuf::MessageLite& message);
// Errors: InvalidArgument: not such a message.
absl::Status DecodeMessage(const grpc::ByteBuffer& buffer, google::protobuf::MessageLite* message);

}  // namespace penstock

#endif  // PENSTOCK_WORKER_RUNTIME_FRAME_CODEC_H_
