// A coordinator's Membership service that answers as a test tells it to, over a loopback socket; and a clock whose
// monotonic time the test turns. Thread-safe. Testonly.
#ifndef PENSTOCK_TESTS_WORKER_LINK_FAKE_COORDINATOR_H_
#define PENSTOCK_TESTS_WORKER_LINK_FAKE_COORDINATOR_H_

#include <grpcpp/server.h>

#include <deque>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "common/clock.h"
#include "common/fake_clock.h"
#include "proto/coordinator.grpc.pb.h"

namespace penstock {

// Stands still until a test turns it, except for wall time, in which gRPC's deadlines are given.
class TurnedClock final : public Clock {
 public:
  absl::Duration Monotonic() const override { return fake_.Monotonic(); }
  absl::Time Wall() const override { return Clock::Real()->Wall(); }
  bool AwaitUntil(absl::Mutex* mu, const absl::Condition& condition, absl::Duration deadline) override {
    return fake_.AwaitUntil(mu, condition, deadline);
  }
  void Sleep(absl::Duration duration) override { fake_.Sleep(duration); }
  void Advance(absl::Duration duration) { fake_.Advance(duration); }

 private:
  FakeClock fake_;
};

class FakeCoordinator final : public v1::Membership::Service {
 public:
  // Args: clock: stamps what comes in.
  explicit FakeCoordinator(Clock* clock);
  ~FakeCoordinator() override;

  const std::string& address() const { return address_; }

  // The next calls are answered with these, in order; once they are used up, with OK.
  void AnswerRegister(std::vector<absl::Status> statuses) ABSL_LOCKS_EXCLUDED(mu_);
  void AnswerHeartbeat(std::vector<absl::Status> statuses) ABSL_LOCKS_EXCLUDED(mu_);
  void AnswerCommit(const absl::Status& status) ABSL_LOCKS_EXCLUDED(mu_);
  // Heartbeats (or votes) are not answered until their caller cancels them.
  void HoldHeartbeats() ABSL_LOCKS_EXCLUDED(mu_);
  void HoldCommits() ABSL_LOCKS_EXCLUDED(mu_);

  struct Registration {
    v1::RegisterRequest request;
    absl::Duration at;
  };
  // These wait until so many have come.
  std::vector<Registration> AwaitRegistrations(size_t count) ABSL_LOCKS_EXCLUDED(mu_);
  std::vector<v1::HeartbeatRequest> AwaitHeartbeats(size_t count) ABSL_LOCKS_EXCLUDED(mu_);
  v1::StepVote AwaitVote() ABSL_LOCKS_EXCLUDED(mu_);

  // gRPC's side. A registration's incarnation counts up from 11; a heartbeat is due every 100 ms, lost after 2 s.
  grpc::Status Register(grpc::ServerContext*, const v1::RegisterRequest* request, v1::RegisterReply* reply) override;
  grpc::Status Heartbeat(grpc::ServerContext* context, const v1::HeartbeatRequest* request,
                         v1::HeartbeatReply*) override;
  grpc::Status CommitStep(grpc::ServerContext* context, const v1::StepVote* vote, v1::StepDecision* reply) override;

 private:
  static absl::Status Next(std::deque<absl::Status>* answers);
  // Waits until the caller gives up.
  void AwaitCancelled(grpc::ServerContext* context) ABSL_LOCKS_EXCLUDED(mu_);

  Clock* const clock_;
  std::string address_;
  std::unique_ptr<grpc::Server> server_;

  absl::Mutex mu_;
  std::deque<absl::Status> register_answers_ ABSL_GUARDED_BY(mu_), beat_answers_ ABSL_GUARDED_BY(mu_);
  absl::Status commit_answer_ ABSL_GUARDED_BY(mu_);
  bool hold_beats_ ABSL_GUARDED_BY(mu_) = false, hold_commits_ ABSL_GUARDED_BY(mu_) = false;
  bool ending_ ABSL_GUARDED_BY(mu_) = false;
  uint64_t incarnation_ ABSL_GUARDED_BY(mu_) = 10;
  std::vector<Registration> registrations_ ABSL_GUARDED_BY(mu_);
  std::vector<v1::HeartbeatRequest> beats_ ABSL_GUARDED_BY(mu_);
  std::vector<v1::StepVote> votes_ ABSL_GUARDED_BY(mu_);
};

}  // namespace penstock

#endif  // PENSTOCK_TESTS_WORKER_LINK_FAKE_COORDINATOR_H_
