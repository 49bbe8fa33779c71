#include "worker/runtime/peer_sender.h"

#include <grpcpp/client_context.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/support/client_callback.h>

#include <algorithm>
#include <deque>
#include <map>
#include <optional>
#include <thread>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "common/channel.h"
#include "common/grpc_status.h"
#include "common/limits.h"
#include "common/logging.h"
#include "common/status_macros.h"
#include "worker/runtime/frame_codec.h"
#include "worker/runtime/shared_ring.h"

namespace penstock {
namespace {

constexpr char kMethod[] = "/penstock.v1.Exchange/Exchange";

// A first piece up to this size is written by the thread that sends it: copying it takes less time than waking another.
constexpr size_t kInlineBytes = size_t{256} << 10;

// Codes by which a receiver refuses a frame; any other end of a stream means that the neighbour is gone.
bool IsRefusal(absl::StatusCode code) {
  return code == absl::StatusCode::kInvalidArgument || code == absl::StatusCode::kFailedPrecondition ||
         code == absl::StatusCode::kAborted || code == absl::StatusCode::kDataLoss ||
         code == absl::StatusCode::kResourceExhausted;
}

struct Outgoing {
  BoundaryKey key;
  TensorView tensor;
  size_t offset = 0;
};

}  // namespace

// The sender waits for OnDone (Join), then frees this on its own thread, never on one of gRPC's: the last channel or
// server of a process takes gRPC's callback threads down with it, and one that is taken down by itself is not waited
// for and goes on with a freed completion queue (gRPC 1.51 aborts with "prior > 0", or worse). A hold keeps OnDone away
// while anyone may start a write: it is taken in Open and given back when the stream has broken and no write is under
// way.
class PeerSender::Stream final : public grpc::ClientBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer> {
 public:
  Stream(const RankIdentity& identity, int to_rank, const BoundaryKey& opening, size_t max_queued, Clock* clock,
         OnEnd on_end)
      : to_(absl::StrCat(identity.Describe(to_rank), " at ", identity.ranks[to_rank].address())),
        to_incarnation_(identity.ranks[to_rank].incarnation()),
        max_queued_(max_queued),
        shared_memory_(identity.shared_memory),
        clock_(clock),
        on_end_(std::move(on_end)),
        stub_(OpenChannel(identity.ranks[to_rank].address())) {
    header_.set_job(identity.job);
    header_.set_plan_epoch(identity.plan_epoch);
    header_.set_sender_incarnation(identity.incarnation);
    header_.set_byte_order(v1::BYTE_ORDER_LITTLE_ENDIAN);
    *header_.mutable_key() = ToProto(opening);
  }

  void Open() {
    stub_.PrepareBidiStreamingCall(&context_, kMethod, {}, this);
    {
      absl::MutexLock lock(&mu_);
      done_ = false;
      writing_ = true;
    }
    writer_ = std::thread([this] { BeginTensors(); });
    AddHold();
    StartRead(&incoming_);
    if (shared_memory_) header_.set_boot(BootId());
    outgoing_ = EncodeFrame(header_, nullptr, {});
    header_.clear_boot();
    StartWrite(&outgoing_);
    StartCall();
  }

  absl::Status Send(const BoundaryKey& key, TensorView tensor) {
    const bool small = tensor.bytes <= kInlineBytes;
    {
      absl::MutexLock lock(&mu_);
      PENSTOCK_RETURN_IF_ERROR(end_);
      if (queue_.size() >= max_queued_) {
        return absl::ResourceExhaustedError(
            absl::StrCat(ToText(key), ": ", queue_.size(), " tensors wait for ", to_, " already, the plan's bound"));
      }
      queue_.push_back({key, std::move(tensor)});
      if (!PickNext()) return absl::OkStatus();
      begun_ = !small;
    }
    if (small) WritePiece();
    return absl::OkStatus();
  }

  absl::Status AwaitQueued(size_t queued, absl::Duration deadline) {
    absl::MutexLock lock(&mu_);
    const auto left = [this, queued]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
      return !end_.ok() || queue_.size() + (current_.has_value() ? 1 : 0) <= queued;
    };
    const bool came = clock_->AwaitUntil(&mu_, absl::Condition(&left), deadline);
    PENSTOCK_RETURN_IF_ERROR(end_);
    if (came) return absl::OkStatus();
    const BoundaryKey& first = current_.has_value() ? current_->key : queue_.front().key;
    return absl::DeadlineExceededError(
        absl::StrCat(ToText(first), " could not be sent in time: ", to_,
                     current_.has_value() ? " does not read" : " gave no credit for it"));
  }

  void Cancel(const absl::Status& why) {
    {
      absl::MutexLock lock(&mu_);
      if (end_.ok()) end_ = why;
    }
    context_.TryCancel();
  }

  // Waits until gRPC has let go. REQUIRES: Cancel was called, or Open never.
  void Join() {
    {
      absl::MutexLock lock(&mu_);
      mu_.Await(absl::Condition(&done_));
    }
    if (writer_.joinable()) writer_.join();
  }

  Counts counts() const {
    absl::MutexLock lock(&mu_);
    return counts_;
  }

  void OnReadDone(bool ok) override {
    absl::Status status = ok ? TakeCredit() : absl::CancelledError();
    if (status.ok()) {
      StartRead(&incoming_);
      return;
    }
    if (ok) Cancel(status);  // a message that makes no sense; else OnDone says why
    Break();
  }

  void OnWriteDone(bool ok) override {
    bool more = false, release = false;
    std::optional<Outgoing> done;  // freed without the lock
    {
      absl::MutexLock lock(&mu_);
      if (current_.has_value() && ok) current_->offset += PieceBytes(*current_);
      if (!ok || broken_ || !current_.has_value() || current_->offset == current_->tensor.bytes) {
        done.swap(current_);
        writing_ = false;
        if (!ok) broken_ = true;
        more = !broken_ && PickNext();
      } else {
        more = true;
      }
      release = ReleaseHold();
    }
    if (more) WritePiece();
    if (release) RemoveHold();
  }

  void OnDone(const grpc::Status& status) override {
    absl::Status why = FromGrpc(status);
    why = IsRefusal(why.code()) ? Annotate(why, absl::StrCat(to_, " refused a frame"))
                                : absl::UnavailableError(absl::StrCat(
                                      to_, " is gone: ", why.ok() ? "it has ended the stream" : why.message()));
    {
      std::deque<Outgoing> unsent;  // freed without the lock
      absl::MutexLock lock(&mu_);
      if (end_.ok()) end_ = why;
      why = end_;
      unsent.swap(queue_);
    }
    on_end_(why);
    absl::MutexLock lock(&mu_);
    done_ = true;  // the last that is done here: whoever waits in Join frees this
  }

 private:
  static size_t PieceBytes(const Outgoing& out) { return std::min(out.tensor.bytes - out.offset, limits::kPieceBytes); }

  // Reads what the receiver lets us send.
  absl::Status TakeCredit() {
    v1::Credit credit;
    PENSTOCK_RETURN_IF_ERROR(DecodeMessage(incoming_, &credit));
    incoming_.Clear();
    if (credit.job() != header_.job() || credit.plan_epoch() != header_.plan_epoch()) {
      return absl::FailedPreconditionError(
          absl::StrCat("credit from ", to_, " for job ", credit.job(), ", plan epoch ", credit.plan_epoch()));
    }
    if (credit.receiver_incarnation() != to_incarnation_) {
      return absl::AbortedError(absl::StrCat("credit from incarnation ", credit.receiver_incarnation(), " of ", to_));
    }
    std::unique_ptr<SharedRing> ring = OpenRing(credit);
    {
      absl::MutexLock lock(&mu_);
      for (const v1::TensorKey& grant : credit.grants()) granted_[grant.step()].insert(FromProto(grant));
      if (ring != nullptr) ring_.emplace(std::move(ring));
      for (const uint32_t slot : credit.free_slots()) {
        if (!ring_.has_value()) return absl::InvalidArgumentError(absl::StrCat(to_, " gives back a slot of no ring"));
        PENSTOCK_RETURN_IF_ERROR(ring_->GiveBack(slot));
      }
      const bool resumed = !credit.free_slots().empty() && std::exchange(starved_, false);
      if (!resumed && !PickNext()) return absl::OkStatus();
    }
    WritePiece();
    return absl::OkStatus();
  }

  // Maps the ring that this credit offers, the first time. Without it tensors go over the stream.
  std::unique_ptr<SharedRing> OpenRing(const v1::Credit& credit) {
    if (!credit.has_ring() || !shared_memory_) return nullptr;
    {
      absl::MutexLock lock(&mu_);
      if (ring_.has_value()) return nullptr;
    }
    absl::StatusOr<std::unique_ptr<SharedRing>> ring = SharedRing::Open(credit.ring());
    if (ring.ok()) return *std::move(ring);
    LOG(WARNING) << "tensors go to " << to_ << " by TCP: " << ring.status();
    return nullptr;
  }

  // Where the next piece goes: a slot of the ring, or nothing for the frame itself. False: every slot is taken, and the
  // credit that gives one back goes on with this piece.
  bool TakeSlot(size_t bytes, std::optional<uint32_t>* slot, char** memory) {
    absl::MutexLock lock(&mu_);
    if (!ring_.has_value() || broken_ || bytes < limits::kMinRingBytes) return true;
    *slot = ring_->Take();
    starved_ = !slot->has_value();
    if (starved_) return false;
    *memory = ring_->memory(**slot);
    return true;
  }

  // Makes the first queued tensor that is granted the current one. Returns whether to call WritePiece.
  bool PickNext() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    if (writing_ || broken_) return false;
    for (auto it = queue_.begin(); it != queue_.end(); ++it) {
      const auto of_pass = granted_.find(it->key.pass);
      if (of_pass == granted_.end() || of_pass->second.erase(it->key) == 0) continue;
      // Grants of earlier passes were for tensors that are not sent any more.
      granted_.erase(granted_.begin(), of_pass);
      current_ = std::move(*it);
      queue_.erase(it);
      writing_ = true;
      StartTensor();
      return true;
    }
    return false;
  }

  void StartTensor() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    const TensorMeta& meta = current_->tensor.meta;
    *header_.mutable_key() = ToProto(current_->key);
    header_.set_dtype(meta.dtype);
    header_.mutable_shape()->Assign(meta.shape.begin(), meta.shape.end());
    header_.set_total_bytes(current_->tensor.bytes);
  }

  // The writer thread: writes the first piece of each large tensor that Send made current. A write checks the piece
  // and copies it into the socket, a fifth of a millisecond for 1 MiB, which the computing thread does not have.
  void BeginTensors() {
    while (true) {
      {
        absl::MutexLock lock(&mu_);
        const auto due = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return begun_ || done_; };
        mu_.Await(absl::Condition(&due));
        if (!begun_) return;
        begun_ = false;
      }
      WritePiece();
    }
  }

  // Writes the current tensor's next piece. Called by the one thread that made writing_ true, or by OnWriteDone while
  // it is: nobody else touches current_, header_ and outgoing_ then, so the lock is not needed and a sender that has
  // only to queue never waits for the socket.
  void WritePiece() ABSL_NO_THREAD_SAFETY_ANALYSIS {
    const absl::string_view piece(current_->tensor.data + current_->offset, PieceBytes(*current_));
    std::optional<uint32_t> slot;
    char* shared = nullptr;
    if (!TakeSlot(piece.size(), &slot, &shared)) return;
    header_.set_offset(current_->offset);
    header_.clear_ring_slot();
    header_.clear_ring_bytes();
    if (slot.has_value()) {
      header_.set_checksum(CopyWithChecksum(shared, piece));
      header_.set_ring_slot(*slot);
      header_.set_ring_bytes(static_cast<uint32_t>(piece.size()));
      outgoing_ = EncodeFrame(header_, nullptr, {});
    } else {
      header_.set_checksum(Checksum(piece));
      outgoing_ = EncodeFrame(header_, current_->tensor.owner, piece);
    }
    {
      absl::MutexLock lock(&mu_);  // counted before it leaves: who has received it finds it counted
      ++counts_.frames_sent;
      counts_.bytes_sent += piece.size();
      if (slot.has_value()) counts_.shared_bytes_sent += piece.size();
    }
    StartWrite(&outgoing_);
  }

  void Break() {
    bool release = false;
    std::optional<Outgoing> unsent;  // freed without the lock
    {
      absl::MutexLock lock(&mu_);
      broken_ = true;
      if (std::exchange(starved_, false)) {  // no slot will come, and no write is under way
        unsent.swap(current_);
        writing_ = false;
      }
      release = ReleaseHold();
    }
    if (release) RemoveHold();
  }

  bool ReleaseHold() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    if (!broken_ || writing_ || !held_) return false;
    held_ = false;
    return true;
  }

  const std::string to_;
  const uint64_t to_incarnation_;
  const size_t max_queued_;
  const bool shared_memory_;
  Clock* const clock_;
  const OnEnd on_end_;
  grpc::GenericStub stub_;
  grpc::ClientContext context_;
  grpc::ByteBuffer incoming_;  // between StartRead and OnReadDone gRPC's, else the reactions'
  grpc::ByteBuffer outgoing_;  // the writer's
  v1::Frame header_;           // the writer's; ids are set once

  mutable absl::Mutex mu_;
  std::deque<Outgoing> queue_ ABSL_GUARDED_BY(mu_);
  std::map<uint64_t, absl::flat_hash_set<BoundaryKey>> granted_ ABSL_GUARDED_BY(mu_);  // by pass
  std::optional<RingWriter> ring_ ABSL_GUARDED_BY(mu_);  // once the receiver has offered it; then for good
  bool starved_ ABSL_GUARDED_BY(mu_) = false;            // the current piece waits for a slot; writing_ stays true
  bool writing_ ABSL_GUARDED_BY(mu_) = false;
  bool begun_ ABSL_GUARDED_BY(mu_) = false;  // Send made a tensor current; the writer thread has not seen it
  bool broken_ ABSL_GUARDED_BY(mu_) = false;
  bool held_ ABSL_GUARDED_BY(mu_) = true;
  bool done_ ABSL_GUARDED_BY(mu_) = true;
  std::optional<Outgoing> current_ ABSL_GUARDED_BY(mu_);
  absl::Status end_ ABSL_GUARDED_BY(mu_);
  Counts counts_ ABSL_GUARDED_BY(mu_);
  std::thread writer_;  // from Open to Join
};

PeerSender::PeerSender(const RankIdentity& identity, int to_rank, const BoundaryKey& opening, size_t max_queued,
                       Clock* clock, OnEnd on_end)
    : stream_(std::make_unique<Stream>(identity, to_rank, opening, max_queued, clock, std::move(on_end))) {}

PeerSender::~PeerSender() {
  stream_->Cancel(absl::CancelledError("the rank is being unloaded"));
  stream_->Join();
}

void PeerSender::Open() { stream_->Open(); }

absl::Status PeerSender::Send(const BoundaryKey& key, TensorView tensor) {
  return stream_->Send(key, std::move(tensor));
}

absl::Status PeerSender::AwaitQueued(size_t queued, absl::Duration deadline) {
  return stream_->AwaitQueued(queued, deadline);
}

void PeerSender::Cancel(const absl::Status& why) { stream_->Cancel(why); }

PeerSender::Counts PeerSender::counts() const { return stream_->counts(); }

}  // namespace penstock
