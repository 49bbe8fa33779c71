// The worker's side of Membership: registers, beats, takes votes to the coordinator. Thread-safe.
//
//     start ──Register ok──> registered ──NotFound──> (register again)
//       │ ^                      │
//       │ └─Unavailable: backoff ┘ Unavailable: goes on beating
//       └─AlreadyExists, FailedPrecondition, InvalidArgument──> ended
//     registered ──Aborted──> ended
//     registered ──Leave: a last heartbeat──> ended
//     any ──unreachable for lost_after, and end_with_coordinator──> ended
#ifndef PENSTOCK_WORKER_COORDINATOR_LINK_H_
#define PENSTOCK_WORKER_COORDINATOR_LINK_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/clock.h"
#include "proto/coordinator.grpc.pb.h"
#include "worker/log_buffer.h"
#include "worker/runtime/step_committer.h"

namespace penstock {

class CoordinatorLink final : public StepCommitter {
 public:
  struct Options {
    std::string coordinator;            // address, for messages
    bool end_with_coordinator = false;  // else it waits for the coordinator for ever
    absl::Duration lost_after = absl::Seconds(2);  // until the coordinator says otherwise
    std::function<v1::Counters()> counters;        // of the loaded job; empty when there is none
    // The worker has to end, for this reason. Called once, on the link's thread.
    std::function<void(const absl::Status& why)> on_end;
  };

  CoordinatorLink(Options options, std::shared_ptr<v1::Membership::StubInterface> stub, LogBuffer* log, Clock* clock);
  // Ends the thread; a call that is under way is cancelled.
  ~CoordinatorLink() override;

  // Args: self: everything but the nonce.
  void Start(v1::RegisterRequest self);

  // Ends the thread, and tells the coordinator with a last heartbeat that this worker leaves, lines of the log that wait
  // included. Does nothing where it is not registered. Blocks for kLeaveDeadline at most. Not from the link's thread.
  void Leave();

  // This process's incarnation; 0 until it has registered.
  uint64_t incarnation() const ABSL_LOCKS_EXCLUDED(mu_);

  absl::StatusOr<v1::StepDecision> Commit(const v1::StepVote& vote, StopSignal* stop) override;

 private:
  void Main() ABSL_LOCKS_EXCLUDED(mu_);
  void StopThread() ABSL_LOCKS_EXCLUDED(mu_);
  // One attempt each. Returns whether to go on.
  bool TryRegister();
  bool Beat();
  // What the next beat says.
  void FillBeat();
  // The coordinator could not be reached. Returns whether to go on.
  bool Unreachable(const absl::Status& status);
  void Reached();
  void End(const absl::Status& why);
  // Waits for `duration`, or until the end. Returns whether to go on.
  bool Pause(absl::Duration duration) ABSL_LOCKS_EXCLUDED(mu_);
  absl::Status Call(const std::function<grpc::Status(grpc::ClientContext*)>& call) ABSL_LOCKS_EXCLUDED(mu_);

  Options options_;
  const std::shared_ptr<v1::Membership::StubInterface> stub_;
  LogBuffer* const log_;
  Clock* const clock_;

  // The link's thread's.
  v1::RegisterRequest self_;
  absl::Duration every_ = absl::ZeroDuration();
  absl::Duration backoff_;
  absl::Duration last_contact_;
  bool reachable_ = true;
  bool registered_ = false;
  v1::HeartbeatRequest beat_;  // kept, with its lines and its number, until it has been answered

  mutable absl::Mutex mu_;
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  uint64_t incarnation_ ABSL_GUARDED_BY(mu_) = 0;
  grpc::ClientContext* call_ ABSL_GUARDED_BY(mu_) = nullptr;  // under way
  std::thread thread_;
};

}  // namespace penstock

#endif  // PENSTOCK_WORKER_COORDINATOR_LINK_H_
