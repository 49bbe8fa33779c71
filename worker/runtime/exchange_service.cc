#include "worker/runtime/exchange_service.h"

#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/grpc_status.h"
#include "common/limits.h"
#include "common/logging.h"
#include "common/status_macros.h"
#include "worker/runtime/frame_codec.h"
#include "worker/runtime/shared_ring.h"

namespace penstock {
namespace {

// What a sender may have under way unread. With gRPC's measured window, which starts at 64 KiB, it waits for permission
// several times a piece, and each wait costs both sides a switch of threads.
constexpr size_t kWindowBytes = 4 * limits::kPieceBytes;

// Up to this size a payload is copied in less time than it takes to ask for the next message.
constexpr size_t kSmallBytes = size_t{256} << 10;

// Slots of a ring that are given back together, one credit for them: a sender has the others meanwhile.
constexpr int kSlotsPerCredit = 2;

using ByteReactor = grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>;

// One stream. Lives until gRPC has called OnDone; the receiver may hold it longer.
class InboundStream final : public ByteReactor, public CreditStream {
 public:
  explicit InboundStream(std::shared_ptr<Receiver> receiver) : receiver_(std::move(receiver)) {}

  void Start(std::shared_ptr<InboundStream> self) {
    self_ = std::move(self);
    ReadOn();
  }

  void SendCredit(const v1::Credit& credit) override {
    absl::MutexLock lock(&mu_);
    if (end_.has_value()) return;
    pending_.MergeFrom(credit);  // ids are the same in all of them; grants and slots add up
    has_pending_ = true;
    MaybeWrite();
  }

  void Close(const absl::Status& why) override {
    End(absl::UnavailableError(absl::StrCat("the rank has stopped: ", why.message())));
  }

  void OnReadDone(bool ok) override {
    if (!ok) {
      FinishedReading();
      return;
    }
    grpc::ByteBuffer message;
    message.Swap(&incoming_);
    absl::StatusOr<ReceivedFrame> frame = DecodeFrame(message);
    message.Clear();
    // The first message says whose stream this is. From then on the next one is read while a large one is copied, by
    // another of gRPC's threads: pieces may come in any order.
    const bool attached = Link().has_value();
    const bool early = attached && frame.ok() && Payload(*frame) > kSmallBytes;
    if (early) ReadOn();
    absl::Status status = frame.status();
    if (status.ok()) status = attached ? Take(&*frame) : Attach(*frame);
    if (!status.ok()) {
      Detach(status);  // first: once its sender knows, this stream may break, which would be the lesser reason
      End(status);
    } else if (!early) {
      ReadOn();
    }
    FinishedReading();
  }

  void OnWriteDone(bool ok) override {
    absl::MutexLock lock(&mu_);
    writing_ = false;
    if (end_.has_value()) {
      Finish(ToGrpc(*end_));
    } else if (ok) {
      MaybeWrite();
    }
  }

  void OnCancel() override { Lose(absl::UnavailableError("its stream has broken")); }

  void OnDone() override {
    Lose(absl::UnavailableError("its stream has ended"));
    const std::shared_ptr<InboundStream> last = std::move(self_);
  }

 private:
  static size_t Payload(const ReceivedFrame& frame) {
    return frame.header.has_ring_slot() ? frame.header.ring_bytes() : frame.payload.size();
  }

  absl::Status Take(ReceivedFrame* frame) {
    if (!frame->header.has_ring_slot()) return receiver_->Deliver(*Link(), *frame);
    PENSTOCK_RETURN_IF_ERROR(FindPayload(frame));
    PENSTOCK_RETURN_IF_ERROR(receiver_->Deliver(*Link(), *frame));
    GiveBack(frame->header.ring_slot());
    return absl::OkStatus();
  }

  // The payload that lies in the ring. Its bytes may change while it is copied: the checksum is that of the copy.
  absl::Status FindPayload(ReceivedFrame* frame) const {
    const v1::Frame& header = frame->header;
    if (ring_ == nullptr || header.ring_slot() >= static_cast<uint32_t>(ring_->slots()) ||
        header.ring_bytes() > limits::kPieceBytes || frame->payload.size() > 0) {
      return absl::InvalidArgumentError(
          absl::StrCat(ToText(FromProto(header.key())), ": ", header.ring_bytes(), " bytes in slot ",
                       header.ring_slot(), " of ", ring_ == nullptr ? 0 : ring_->slots(), " that this stream shares"));
    }
    frame->payload = FramePayload::Of({ring_->slot(static_cast<int>(header.ring_slot())), header.ring_bytes()});
    return absl::OkStatus();
  }

  void GiveBack(uint32_t slot) {
    absl::MutexLock lock(&mu_);
    if (end_.has_value()) return;
    Sign();
    pending_.add_free_slots(slot);
    if (pending_.free_slots_size() < kSlotsPerCredit) return;
    has_pending_ = true;
    MaybeWrite();
  }

  // Offers a sender of this host a ring. Without one its payloads come in the frames.
  void OfferRing(const v1::Frame& opening) {
    const bool share = receiver_->identity().shared_memory && !opening.boot().empty() && opening.boot() == BootId();
    if (share) {
      absl::StatusOr<std::unique_ptr<SharedRing>> ring = SharedRing::Create(limits::kRingSlots);
      if (ring.ok()) ring_ = *std::move(ring);
      LOG_IF(WARNING, !ring.ok()) << "tensors come by TCP: " << ring.status();
    }
    absl::MutexLock lock(&mu_);
    if (ring_ != nullptr) {
      Sign();
      *pending_.mutable_ring() = ring_->offer();
      has_pending_ = true;
    }
    corked_ = false;
    if (!end_.has_value()) MaybeWrite();
  }

  void Sign() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    const RankIdentity& identity = receiver_->identity();
    pending_.set_job(identity.job);
    pending_.set_plan_epoch(identity.plan_epoch);
    pending_.set_receiver_incarnation(identity.incarnation);
  }

  absl::Status Attach(const ReceivedFrame& frame) {
    if (receiver_ == nullptr) {
      return absl::FailedPreconditionError(
          absl::StrCat("a frame of job ", frame.header.job(), "; this worker has nothing loaded"));
    }
    PENSTOCK_ASSIGN_OR_RETURN(const int link, receiver_->Attach(frame.header, self_));
    OfferRing(frame.header);
    bool lost = false;
    {
      absl::MutexLock lock(&mu_);
      link_ = link;
      lost = end_.has_value();
    }
    // Whoever ended it meanwhile did not know yet which neighbour it had.
    if (lost) Lose(absl::UnavailableError("its stream has broken"));
    return absl::OkStatus();
  }

  void ReadOn() {
    absl::MutexLock lock(&mu_);
    if (end_.has_value()) return;
    ++readers_;
    StartRead(&incoming_);
  }

  // One message is done with, or there are no more. What is wrong with a message is told rather than that it was the
  // last one: the last to finish says that the stream is closed.
  void FinishedReading() {
    {
      absl::MutexLock lock(&mu_);
      if (--readers_ > 0) return;
    }
    Lose(absl::UnavailableError("it has closed its stream"));
  }

  std::optional<int> Link() {
    absl::MutexLock lock(&mu_);
    return link_;
  }

  // The neighbour is gone: an end that did not start here.
  void Lose(const absl::Status& how) {
    End(absl::OkStatus());
    const std::optional<int> link = Link();
    if (link.has_value()) Detach(Annotate(how, absl::StrCat(receiver_->identity().Describe(*link / 2), " is gone")));
  }

  void Detach(const absl::Status& why) {
    std::optional<int> link;
    {
      absl::MutexLock lock(&mu_);
      if (!link_.has_value() || std::exchange(detached_, true)) return;
      link = link_;
    }
    receiver_->Detach(*link, why);
  }

  // Ends the stream once; a write that is under way comes first.
  void End(const absl::Status& status) {
    absl::MutexLock lock(&mu_);
    if (end_.has_value()) return;
    end_ = status;
    if (!writing_) Finish(ToGrpc(status));
  }

  void MaybeWrite() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    if (writing_ || corked_ || !has_pending_) return;
    outgoing_ = EncodeMessage(pending_);
    pending_.Clear();
    has_pending_ = false;
    writing_ = true;
    StartWrite(&outgoing_);
  }

  const std::shared_ptr<Receiver> receiver_;
  std::shared_ptr<InboundStream> self_;  // until OnDone
  grpc::ByteBuffer incoming_;            // between StartRead and OnReadDone gRPC's, else the reactions'
  std::unique_ptr<SharedRing> ring_;     // set before the first message is answered

  absl::Mutex mu_;
  std::optional<int> link_ ABSL_GUARDED_BY(mu_);  // once the first message has said it
  int readers_ ABSL_GUARDED_BY(mu_) = 0;          // messages that are awaited or being copied
  bool writing_ ABSL_GUARDED_BY(mu_) = false;
  bool corked_ ABSL_GUARDED_BY(mu_) = true;  // the first credit waits for the ring, so that it serves every tensor
  bool has_pending_ ABSL_GUARDED_BY(mu_) = false;
  bool detached_ ABSL_GUARDED_BY(mu_) = false;
  v1::Credit pending_ ABSL_GUARDED_BY(mu_);
  grpc::ByteBuffer outgoing_ ABSL_GUARDED_BY(mu_);
  std::optional<absl::Status> end_ ABSL_GUARDED_BY(mu_);
};

}  // namespace

void PrepareForTensors(grpc::ServerBuilder* builder) {
  builder->AddChannelArgument(GRPC_ARG_HTTP2_BDP_PROBE, 0);
  builder->AddChannelArgument(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, static_cast<int>(kWindowBytes));
}

void ExchangeService::SetReceiver(std::shared_ptr<Receiver> receiver) {
  absl::MutexLock lock(&mu_);
  receiver_ = std::move(receiver);
}

void ExchangeService::RemoveReceiver(const Receiver* receiver) {
  absl::MutexLock lock(&mu_);
  if (receiver_.get() == receiver) receiver_ = nullptr;
}

grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* ExchangeService::Exchange(grpc::CallbackServerContext*) {
  std::shared_ptr<Receiver> receiver;
  {
    absl::MutexLock lock(&mu_);
    receiver = receiver_;
  }
  const auto stream = std::make_shared<InboundStream>(std::move(receiver));
  stream->Start(stream);
  return stream.get();
}

}  // namespace penstock
