#include "tests/worker/link/fake_coordinator.h"

#include "absl/strings/str_cat.h"
#include "common/channel.h"
#include "common/grpc_status.h"
#include "common/logging.h"

namespace penstock {

FakeCoordinator::FakeCoordinator(Clock* clock) : clock_(clock) {
  grpc::ServerBuilder builder;
  int port = 0;
  PrepareServer(&builder, "127.0.0.1:0", &port);
  builder.RegisterService(this);
  server_ = builder.BuildAndStart();
  CHECK(server_ != nullptr);
  address_ = absl::StrCat("127.0.0.1:", port);
}

FakeCoordinator::~FakeCoordinator() {
  {
    absl::MutexLock lock(&mu_);
    ending_ = true;
  }
  server_->Shutdown();
}

void FakeCoordinator::AnswerRegister(std::vector<absl::Status> statuses) {
  absl::MutexLock lock(&mu_);
  register_answers_.assign(statuses.begin(), statuses.end());
}

void FakeCoordinator::AnswerHeartbeat(std::vector<absl::Status> statuses) {
  absl::MutexLock lock(&mu_);
  beat_answers_.assign(statuses.begin(), statuses.end());
}

void FakeCoordinator::AnswerCommit(const absl::Status& status) {
  absl::MutexLock lock(&mu_);
  commit_answer_ = status;
}

void FakeCoordinator::HoldHeartbeats() {
  absl::MutexLock lock(&mu_);
  hold_beats_ = true;
}

void FakeCoordinator::HoldCommits() {
  absl::MutexLock lock(&mu_);
  hold_commits_ = true;
}

std::vector<FakeCoordinator::Registration> FakeCoordinator::AwaitRegistrations(size_t count) {
  absl::MutexLock lock(&mu_);
  const auto came = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return registrations_.size() >= count; };
  mu_.Await(absl::Condition(&came));
  return registrations_;
}

std::vector<v1::HeartbeatRequest> FakeCoordinator::AwaitHeartbeats(size_t count) {
  absl::MutexLock lock(&mu_);
  const auto came = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return beats_.size() >= count; };
  mu_.Await(absl::Condition(&came));
  return beats_;
}

v1::StepVote FakeCoordinator::AwaitVote() {
  absl::MutexLock lock(&mu_);
  const auto came = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return !votes_.empty(); };
  mu_.Await(absl::Condition(&came));
  return votes_.front();
}

absl::Status FakeCoordinator::Next(std::deque<absl::Status>* answers) {
  if (answers->empty()) return absl::OkStatus();
  const absl::Status status = answers->front();
  answers->pop_front();
  return status;
}

void FakeCoordinator::AwaitCancelled(grpc::ServerContext* context) {
  absl::MutexLock lock(&mu_);
  // gRPC's synchronous service tells of a cancellation only when asked.
  const auto ending = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return ending_; };
  while (!context->IsCancelled() && !mu_.AwaitWithTimeout(absl::Condition(&ending), absl::Milliseconds(1))) {
  }
}

grpc::Status FakeCoordinator::Register(grpc::ServerContext*, const v1::RegisterRequest* request,
                                       v1::RegisterReply* reply) {
  absl::MutexLock lock(&mu_);
  registrations_.push_back({*request, clock_->Monotonic()});
  const absl::Status status = Next(&register_answers_);
  if (status.ok()) reply->set_incarnation(++incarnation_);
  reply->set_heartbeat_every_ms(100);
  reply->set_lost_after_ms(2000);
  return ToGrpc(status);
}

grpc::Status FakeCoordinator::Heartbeat(grpc::ServerContext* context, const v1::HeartbeatRequest* request,
                                        v1::HeartbeatReply*) {
  bool hold = false;
  absl::Status status;
  {
    absl::MutexLock lock(&mu_);
    beats_.push_back(*request);
    hold = hold_beats_;
    if (!hold) status = Next(&beat_answers_);
  }
  if (hold) AwaitCancelled(context);
  return ToGrpc(status);
}

grpc::Status FakeCoordinator::CommitStep(grpc::ServerContext* context, const v1::StepVote* vote,
                                         v1::StepDecision* reply) {
  bool hold = false;
  absl::Status status;
  {
    absl::MutexLock lock(&mu_);
    votes_.push_back(*vote);
    hold = hold_commits_;
    status = commit_answer_;
  }
  if (hold) AwaitCancelled(context);
  reply->set_commit(true);
  reply->set_clip_scale(0.5);
  return ToGrpc(status);
}

}  // namespace penstock
