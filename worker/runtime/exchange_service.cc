#include "worker/runtime/exchange_service.h"

#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/grpc_status.h"
#include "common/status_macros.h"
#include "worker/runtime/frame_codec.h"

namespace penstock {
namespace {

using ByteReactor = grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>;

// One stream. Lives until gRPC has called OnDone; the receiver may hold it longer.
class InboundStream final : public ByteReactor, public CreditStream {
 public:
  explicit InboundStream(std::shared_ptr<Receiver> receiver) : receiver_(std::move(receiver)) {}

  void Start(std::shared_ptr<InboundStream> self) {
    self_ = std::move(self);
    StartRead(&incoming_);
  }

  void SendCredit(const v1::Credit& credit) override {
    absl::MutexLock lock(&mu_);
    if (end_.has_value()) return;
    pending_.MergeFrom(credit);  // ids are the same in all of them; grants add up
    has_pending_ = true;
    MaybeWrite();
  }

  void Close(const absl::Status& why) override {
    End(absl::UnavailableError(absl::StrCat("the rank has stopped: ", why.message())));
  }

  void OnReadDone(bool ok) override {
    if (!ok) {
      Lose(absl::UnavailableError("it has closed its stream"));
      return;
    }
    const absl::Status status = Handle();
    if (!status.ok()) {
      End(status);
      Detach(status);
      return;
    }
    absl::MutexLock lock(&mu_);
    if (!end_.has_value()) StartRead(&incoming_);
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
  // Takes one message. The first one says whose stream this is.
  absl::Status Handle() {
    PENSTOCK_ASSIGN_OR_RETURN(const ReceivedFrame frame, DecodeFrame(incoming_));
    incoming_.Clear();
    if (receiver_ == nullptr) {
      return absl::FailedPreconditionError(
          absl::StrCat("a frame of job ", frame.header.job(), "; this worker has nothing loaded"));
    }
    if (link_.has_value()) return receiver_->Deliver(*link_, frame);
    PENSTOCK_ASSIGN_OR_RETURN(link_, receiver_->Attach(frame.header, self_));
    return absl::OkStatus();
  }

  // The neighbour is gone: an end that did not start here.
  void Lose(const absl::Status& how) {
    End(absl::OkStatus());
    if (link_.has_value()) Detach(Annotate(how, absl::StrCat(receiver_->identity().Describe(*link_ / 2), " is gone")));
  }

  void Detach(const absl::Status& why) {
    if (!link_.has_value()) return;
    {
      absl::MutexLock lock(&mu_);
      if (std::exchange(detached_, true)) return;
    }
    receiver_->Detach(*link_, why);
  }

  // Ends the stream once; a write that is under way comes first.
  void End(const absl::Status& status) {
    absl::MutexLock lock(&mu_);
    if (end_.has_value()) return;
    end_ = status;
    if (!writing_) Finish(ToGrpc(status));
  }

  void MaybeWrite() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    if (writing_ || !has_pending_) return;
    outgoing_ = EncodeMessage(pending_);
    pending_.Clear();
    has_pending_ = false;
    writing_ = true;
    StartWrite(&outgoing_);
  }

  const std::shared_ptr<Receiver> receiver_;
  std::shared_ptr<InboundStream> self_;  // until OnDone
  grpc::ByteBuffer incoming_;            // between StartRead and OnReadDone gRPC's, else the reactions'
  std::optional<int> link_;              // set by the first OnReadDone, before any credit or end can need it

  absl::Mutex mu_;
  bool writing_ ABSL_GUARDED_BY(mu_) = false;
  bool has_pending_ ABSL_GUARDED_BY(mu_) = false;
  bool detached_ ABSL_GUARDED_BY(mu_) = false;
  v1::Credit pending_ ABSL_GUARDED_BY(mu_);
  grpc::ByteBuffer outgoing_ ABSL_GUARDED_BY(mu_);
  std::optional<absl::Status> end_ ABSL_GUARDED_BY(mu_);
};

}  // namespace

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
