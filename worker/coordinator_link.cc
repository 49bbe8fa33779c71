#include "worker/coordinator_link.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/grpc_status.h"
#include "common/limits.h"
#include "common/logging.h"
#include "common/process.h"
#include "common/status_macros.h"

namespace penstock {
namespace {

constexpr absl::Duration kFirstBackoff = absl::Milliseconds(50);
constexpr absl::Duration kLongestBackoff = absl::Seconds(1);
// A process that was told to end must not wait for a coordinator that is gone.
constexpr absl::Duration kLeaveDeadline = absl::Milliseconds(500);

// gRPC takes deadlines in wall time only; this is the one place where a worker needs it.
void SetDeadline(grpc::ClientContext* context, Clock* clock, absl::Duration timeout) {
  context->set_deadline(absl::ToChronoTime(clock->Wall() + timeout));
}

}  // namespace

CoordinatorLink::CoordinatorLink(Options options, std::shared_ptr<v1::Membership::StubInterface> stub, LogBuffer* log,
                                 Clock* clock)
    : options_(std::move(options)), stub_(std::move(stub)), log_(log), clock_(clock), backoff_(kFirstBackoff) {}

CoordinatorLink::~CoordinatorLink() { StopThread(); }

void CoordinatorLink::StopThread() {
  {
    absl::MutexLock lock(&mu_);
    stopping_ = true;
    if (call_ != nullptr) call_->TryCancel();
  }
  if (thread_.joinable()) thread_.join();
}

void CoordinatorLink::Leave() {
  StopThread();  // what is the thread's is this one's from here on
  if (!registered_) return;
  FillBeat();
  beat_.set_leaving(true);
  grpc::ClientContext context;
  SetDeadline(&context, clock_, kLeaveDeadline);
  v1::HeartbeatReply reply;
  const absl::Status status = FromGrpc(stub_->Heartbeat(&context, beat_, &reply));
  if (!status.ok()) LOG(WARNING) << "the coordinator at " << options_.coordinator << " was not told: " << status;
}

void CoordinatorLink::Start(v1::RegisterRequest self) {
  self_ = std::move(self);
  self_.set_nonce(RandomId());
  last_contact_ = clock_->Monotonic();
  thread_ = std::thread([this] { Main(); });
}

uint64_t CoordinatorLink::incarnation() const {
  absl::MutexLock lock(&mu_);
  return incarnation_;
}

void CoordinatorLink::Main() {
  bool go_on = true;
  while (go_on) {
    // The first beat follows registration at once: the coordinator gives work only to a worker that beats.
    const bool new_here = !registered_;
    go_on = registered_ ? Beat() : TryRegister();
    if (!go_on) return;
    if (new_here && registered_) continue;
    go_on = Pause(registered_ && reachable_ ? every_ : backoff_);
  }
}

bool CoordinatorLink::Pause(absl::Duration duration) {
  absl::MutexLock lock(&mu_);
  return !clock_->AwaitUntil(&mu_, absl::Condition(&stopping_), clock_->Monotonic() + duration);
}

absl::Status CoordinatorLink::Call(const std::function<grpc::Status(grpc::ClientContext*)>& call) {
  grpc::ClientContext context;
  SetDeadline(&context, clock_, std::min(limits::kControlDeadline, options_.lost_after));
  {
    absl::MutexLock lock(&mu_);
    if (stopping_) return absl::CancelledError("the worker is ending");
    call_ = &context;
  }
  const absl::Status status = FromGrpc(call(&context));
  absl::MutexLock lock(&mu_);
  call_ = nullptr;
  return status;
}

bool CoordinatorLink::TryRegister() {
  v1::RegisterReply reply;
  const absl::Status status =
      Call([&](grpc::ClientContext* context) { return stub_->Register(context, self_, &reply); });
  switch (status.code()) {
    case absl::StatusCode::kOk:
      break;
    case absl::StatusCode::kAlreadyExists:
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kAborted:
      End(Annotate(status, absl::StrCat("the coordinator at ", options_.coordinator, " refused this worker")));
      return false;
    default:
      return Unreachable(status);
  }
  Reached();
  registered_ = true;
  every_ = absl::Milliseconds(std::max<int64_t>(1, static_cast<int64_t>(reply.heartbeat_every_ms())));
  if (reply.lost_after_ms() > 0) options_.lost_after = absl::Milliseconds(static_cast<int64_t>(reply.lost_after_ms()));
  beat_.set_id(self_.id());
  beat_.set_incarnation(reply.incarnation());
  // Lines that the last beat could not deliver go with the next one, which must count as new.
  beat_.set_sequence(beat_.log_size() > 0 ? 1 : 0);
  LOG(INFO) << "registered at " << options_.coordinator << " as " << self_.id() << ", incarnation "
            << reply.incarnation();
  absl::MutexLock lock(&mu_);
  incarnation_ = reply.incarnation();
  return true;
}

void CoordinatorLink::FillBeat() {
  if (beat_.log_size() == 0) {
    for (v1::LogLine& line : log_->Take()) *beat_.add_log() = std::move(line);
    beat_.set_sequence(beat_.sequence() + 1);
  }
  beat_.set_resident_bytes(ResidentBytes());
  *beat_.mutable_counters() = options_.counters();
}

bool CoordinatorLink::Beat() {
  FillBeat();
  v1::HeartbeatReply reply;
  const absl::Status status = Call([&](grpc::ClientContext* context) { return stub_->Heartbeat(context, beat_, &reply); });
  switch (status.code()) {
    case absl::StatusCode::kOk:
      Reached();
      beat_.clear_log();
      return true;
    case absl::StatusCode::kNotFound:
      LOG(WARNING) << "the coordinator at " << options_.coordinator << " does not know this worker (any more): "
                   << status.message() << "; registering again";
      Reached();
      registered_ = false;
      return true;
    case absl::StatusCode::kAborted:
      End(Annotate(status, absl::StrCat("another process has taken over the id ", self_.id())));
      return false;
    default:
      return Unreachable(status);
  }
}

bool CoordinatorLink::Unreachable(const absl::Status& status) {
  const absl::Duration silent = clock_->Monotonic() - last_contact_;
  if (options_.end_with_coordinator && silent >= options_.lost_after) {
    End(absl::UnavailableError(absl::StrCat("the coordinator at ", options_.coordinator, " has not answered for ",
                                            absl::FormatDuration(silent), ": ", status.message())));
    return false;
  }
  if (std::exchange(reachable_, false)) {
    LOG(WARNING) << "cannot reach the coordinator at " << options_.coordinator << ": " << status.message()
                 << "; trying again";
  } else {
    backoff_ = std::min(2 * backoff_, kLongestBackoff);
  }
  return true;
}

void CoordinatorLink::Reached() {
  last_contact_ = clock_->Monotonic();
  backoff_ = kFirstBackoff;
  if (!std::exchange(reachable_, true)) LOG(INFO) << "the coordinator at " << options_.coordinator << " answers again";
}

void CoordinatorLink::End(const absl::Status& why) { options_.on_end(why); }

absl::StatusOr<v1::StepDecision> CoordinatorLink::Commit(const v1::StepVote& vote, StopSignal* stop) {
  grpc::ClientContext context;
  SetDeadline(&context, clock_, limits::kMailboxWait);
  v1::StepDecision decision;
  absl::Status status;
  {
    const auto on_stop = stop->OnStop([&context](const absl::Status&) { context.TryCancel(); });
    status = FromGrpc(stub_->CommitStep(&context, vote, &decision));
  }
  PENSTOCK_RETURN_IF_ERROR(stop->status());
  if (!status.ok()) return Annotate(status, absl::StrCat("coordinator at ", options_.coordinator));
  return decision;
}

}  // namespace penstock
