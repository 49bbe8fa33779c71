#include "worker/runtime/frame_codec.h"

#define XXH_STATIC_LINKING_ONLY  // its state on the stack
#ifdef __x86_64__
#include <xxh_x86dispatch.h>  // the widest vectors that this processor has: twice the speed of SSE2; the sum is the same
#else
#include <xxhash.h>
#endif

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/limits.h"
#include "common/logging.h"
#include "common/status_macros.h"

namespace penstock {
namespace {

constexpr uint32_t kPayloadTag = (v1::Frame::kPayloadFieldNumber << 3) | 2;

absl::Status NotAFrame(absl::string_view why) { return absl::InvalidArgumentError(absl::StrCat("not a frame: ", why)); }

// Reads bytes across slice borders.
class Cursor {
 public:
  explicit Cursor(const std::vector<grpc::Slice>& slices) : slices_(slices) {
    for (const grpc::Slice& slice : slices) left_ += slice.size();
  }
  size_t left() const { return left_; }

  // Calls take(string_view) for the next `count` bytes, part by part. REQUIRES: count <= left().
  template <typename Take>
  void Next(size_t count, const Take& take) {
    left_ -= count;
    while (count > 0) {
      const grpc::Slice& slice = slices_[index_];
      const size_t part = std::min(count, slice.size() - at_);
      if (part > 0) take(absl::string_view(reinterpret_cast<const char*>(slice.begin()) + at_, part));
      at_ += part;
      count -= part;
      if (at_ == slice.size()) {
        ++index_;
        at_ = 0;
      }
    }
  }

  // A varint; appends its bytes to *raw. False: cut short, or longer than ten bytes.
  bool Varint(uint64_t* value, std::string* raw) {
    *value = 0;
    for (int shift = 0; shift < 70; shift += 7) {
      if (left_ == 0) return false;
      uint8_t byte = 0;
      Next(1, [&](absl::string_view part) { byte = static_cast<uint8_t>(part[0]); });
      raw->push_back(static_cast<char>(byte));
      *value |= static_cast<uint64_t>(byte & 0x7f) << std::min(shift, 63);
      if ((byte & 0x80) == 0) return true;
    }
    return false;
  }

 private:
  const std::vector<grpc::Slice>& slices_;
  size_t index_ = 0;
  size_t at_ = 0;
  size_t left_ = 0;
};

// Appends the value of a field that is not the payload to *raw.
absl::Status TakeField(uint64_t tag, Cursor* cursor, std::string* raw) {
  uint64_t size = 0;
  switch (tag & 7) {
    case 0:
      if (!cursor->Varint(&size, raw)) return NotAFrame("a number is cut short");
      return absl::OkStatus();
    case 1:
      size = 8;
      break;
    case 5:
      size = 4;
      break;
    case 2:
      if (!cursor->Varint(&size, raw)) return NotAFrame("a length is cut short");
      break;
    default:
      return NotAFrame(absl::StrCat("wire type ", tag & 7));
  }
  if (size > cursor->left()) return NotAFrame("a field is cut short");
  if (raw->size() + size > limits::kMaxFrameHeaderBytes) return NotAFrame("its header is too large");
  cursor->Next(size, [raw](absl::string_view part) { raw->append(part.data(), part.size()); });
  return absl::OkStatus();
}

// Sums what it has copied while that is in the cache, and never reads the source twice.
class SummingCopy {
 public:
  explicit SummingCopy(char* dest) : dest_(dest) { XXH3_64bits_reset(&state_); }

  void Append(absl::string_view bytes) {
    for (; !bytes.empty(); bytes.remove_prefix(std::min(bytes.size(), kStride))) {
      const size_t size = std::min(bytes.size(), kStride);
      std::memcpy(dest_, bytes.data(), size);
      XXH3_64bits_update(&state_, dest_, size);
      dest_ += size;
    }
  }
  uint64_t Sum() const { return XXH3_64bits_digest(&state_); }

 private:
  static constexpr size_t kStride = size_t{64} << 10;  // fits the smallest second-level cache twice
  char* dest_;
  XXH3_state_t state_;
};

}  // namespace

uint64_t Checksum(absl::string_view bytes) { return XXH3_64bits(bytes.data(), bytes.size()); }

grpc::ByteBuffer EncodeFrame(const v1::Frame& header, std::shared_ptr<const void> owner, absl::string_view payload) {
  DCHECK(header.payload().empty());
  DCHECK_LE(payload.size(), limits::kPieceBytes);
  std::string head = header.SerializeAsString();
  if (payload.empty()) {
    const grpc::Slice slice(head);
    return grpc::ByteBuffer(&slice, 1);
  }
  head.push_back(static_cast<char>(kPayloadTag));
  for (size_t left = payload.size();; left >>= 7) {
    head.push_back(static_cast<char>((left & 0x7f) | (left > 0x7f ? 0x80 : 0)));
    if (left <= 0x7f) break;
  }
  using Owner = std::shared_ptr<const void>;
  const grpc::Slice slices[] = {grpc::Slice(head),
                                grpc::Slice(
                                    const_cast<char*>(payload.data()), payload.size(),
                                    [](void* held) { delete static_cast<Owner*>(held); }, new Owner(std::move(owner)))};
  return grpc::ByteBuffer(slices, 2);
}

FramePayload FramePayload::Of(absl::string_view bytes) {
  FramePayload payload;
  payload.parts_.push_back(bytes);
  payload.size_ = bytes.size();
  return payload;
}

uint64_t CopyWithChecksum(char* dest, absl::string_view bytes) {
  SummingCopy copy(dest);
  copy.Append(bytes);
  return copy.Sum();
}

uint64_t FramePayload::CopyTo(char* dest) const {
  SummingCopy copy(dest);
  for (const absl::string_view part : parts_) copy.Append(part);
  return copy.Sum();
}

// Splits a message into its header's bytes and its payload's parts.
class FrameReader {
 public:
  static absl::Status Split(std::vector<grpc::Slice> slices, std::string* header, FramePayload* payload) {
    payload->slices_ = std::move(slices);
    Cursor cursor(payload->slices_);
    bool seen = false;
    while (cursor.left() > 0) {
      uint64_t tag = 0;
      const size_t before = header->size();
      if (!cursor.Varint(&tag, header)) return NotAFrame("a tag is cut short");
      if (tag != kPayloadTag) {
        PENSTOCK_RETURN_IF_ERROR(TakeField(tag, &cursor, header));
        if (header->size() > limits::kMaxFrameHeaderBytes) return NotAFrame("its header is too large");
        continue;
      }
      uint64_t size = 0;
      if (!cursor.Varint(&size, header)) return NotAFrame("the payload's length is cut short");
      header->resize(before);
      if (seen) return NotAFrame("it has two payloads");
      if (size > cursor.left()) return NotAFrame("the payload is cut short");
      if (size > limits::kPieceBytes) {
        return NotAFrame(absl::StrCat("a payload of ", size, " bytes; a piece has at most ", limits::kPieceBytes));
      }
      seen = true;
      payload->size_ = size;
      cursor.Next(size, [payload](absl::string_view part) { payload->parts_.push_back(part); });
    }
    return absl::OkStatus();
  }
};

absl::StatusOr<ReceivedFrame> DecodeFrame(const grpc::ByteBuffer& message) {
  std::vector<grpc::Slice> slices;
  if (!message.Valid() || !message.Dump(&slices).ok()) return NotAFrame("no bytes");
  ReceivedFrame frame;
  std::string header;
  PENSTOCK_RETURN_IF_ERROR(FrameReader::Split(std::move(slices), &header, &frame.payload));
  if (!frame.header.ParseFromString(header)) return NotAFrame("a field of the wrong form");
  return frame;
}

grpc::ByteBuffer EncodeMessage(const google::protobuf::MessageLite& message) {
  const grpc::Slice slice(message.SerializeAsString());
  return grpc::ByteBuffer(&slice, 1);
}

absl::Status DecodeMessage(const grpc::ByteBuffer& buffer, google::protobuf::MessageLite* message) {
  std::vector<grpc::Slice> slices;
  std::string bytes;
  if (buffer.Valid() && buffer.Dump(&slices).ok()) {
    for (const grpc::Slice& slice : slices) {
      bytes.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
    }
    if (message->ParseFromString(bytes)) return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat("not a ", message->GetTypeName()));
}

}  // namespace penstock
