#include "worker/runtime/rank_session.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "common/logging.h"
#include "common/status_macros.h"

namespace penstock {

absl::StatusOr<std::shared_ptr<RankSession>> RankSession::Load(const SessionEnvironment& environment,
                                                               const v1::LoadRequest& request) {
  PENSTOCK_ASSIGN_OR_RETURN(RankPlan plan, ReadRankPlan(request));
  std::shared_ptr<RankSession> session(new RankSession(environment, request, std::move(plan)));
  absl::Status status;
  absl::Notification done;
  session->Post([&] {
    status = session->LoadOnExecutor();
    done.Notify();
  });
  done.WaitForNotification();
  if (!status.ok()) {
    return Annotate(status, absl::StrCat("job ", request.job(), ", rank ", request.rank()));
  }
  return session;
}

RankSession::RankSession(const SessionEnvironment& environment, const v1::LoadRequest& request, RankPlan plan)
    : environment_(environment),
      request_(request),
      plan_(std::move(plan)),
      stop_(std::make_shared<StopSignal>()),
      executor_([this] { ExecutorMain(); }) {}

RankSession::~RankSession() { End(); }

void RankSession::End() {
  Stop(absl::CancelledError("the job is being unloaded"));
  {
    absl::MutexLock lock(&mu_);
    if (std::exchange(ending_, true)) {
      // Another thread ends it: wait for that.
      mu_.Await(absl::Condition(&ended_));
      return;
    }
    tasks_.push_back([this] { rank_.reset(); });
  }
  executor_.join();
  absl::MutexLock lock(&mu_);
  ended_ = true;
}

absl::Status RankSession::LoadOnExecutor() {
  PENSTOCK_ASSIGN_OR_RETURN(rank_, environment_.device->Load(request_));
  loaded_ = rank_->Describe();
  links_ = std::make_unique<RankLinks>(&plan_, environment_.exchange, environment_.log, environment_.clock, stop_);
  for (const v1::StageState& stage : loaded_.stages()) {
    environment_.log->Write(
        request_.job(), plan_.identity.rank,
        absl::StrCat("stage ", stage.stage(), " loaded: ", stage.layers_size() == 0 ? "" : stage.layers(0),
                     stage.layers_size() < 2 ? "" : absl::StrCat(" .. ", *stage.layers().rbegin()), ", ",
                     stage.parameters(), " parameters, step ", loaded_.step()));
  }
  return absl::OkStatus();
}

absl::Status RankSession::Claim(std::function<void()> task) {
  const absl::Status stopped = stop_->status();
  if (!stopped.ok()) {
    return absl::FailedPreconditionError(absl::StrCat(
        "job ", request_.job(), " has stopped on this worker and must be loaded again: ", stopped.message()));
  }
  absl::MutexLock lock(&mu_);
  if (ending_) return absl::FailedPreconditionError(absl::StrCat("job ", request_.job(), " is being unloaded"));
  if (claimed_) return absl::FailedPreconditionError(absl::StrCat("a run of job ", request_.job(), " is under way"));
  claimed_ = true;
  // Under the same lock: between a claim and its task, an end would find no task to wait for.
  tasks_.push_back(std::move(task));
  return absl::OkStatus();
}

void RankSession::Release() {
  absl::MutexLock lock(&mu_);
  claimed_ = false;
}

RunContext RankSession::MakeContext() {
  return {.plan = &plan_,
          .rank = rank_.get(),
          .links = links_.get(),
          .committer = environment_.committer,
          .stop = stop_.get(),
          .log = environment_.log,
          .clock = environment_.clock,
          .worker = environment_.worker,
          .log_every = request_.spec().log().every(),
          .probe = request_.probe(),
          .counters = [this] {
            peak_bytes_.store(rank_->TrainingMemory().peak_bytes, std::memory_order_relaxed);
            return Counters();
          }};
}

void RankSession::Run(const v1::RunRequest& request, RunDone done) {
  const absl::Status claimed = Claim([this, request, done] {
    absl::StatusOr<v1::RunReply> reply = RunPasses(MakeContext(), request);
    if (!reply.ok()) {
      const absl::Status why = reply.status();
      if (!absl::IsInvalidArgument(why)) {
        environment_.log->Write(request_.job(), plan_.identity.rank, absl::StrCat("run failed: ", why.ToString()));
      }
      Stop(why);
      // The first cause, where this one is only what followed from it.
      if (absl::IsCancelled(why)) reply = stop_->status();
    }
    Release();
    done(std::move(reply));
  });
  if (!claimed.ok()) done(claimed);
}

absl::StatusOr<v1::SaveReply> RankSession::Save(const v1::SaveRequest& request) {
  absl::StatusOr<v1::SaveReply> reply = absl::UnknownError("not saved");
  absl::Notification saved;
  PENSTOCK_RETURN_IF_ERROR(Claim([&] {
    reply = rank_->Save(request.step(), request.directory());
    Release();
    saved.Notify();
  }));
  saved.WaitForNotification();
  if (!reply.ok()) {
    return Annotate(reply.status(), absl::StrCat("job ", request_.job(), ", rank ", request_.rank()));
  }
  return reply;
}

void RankSession::Stop(const absl::Status& why) { stop_->Stop(why); }

v1::Counters RankSession::Counters() const {
  v1::Counters counters;
  counters.set_job(request_.job());
  links_->Count(&counters);
  counters.set_peak_allocated_bytes(peak_bytes_.load(std::memory_order_relaxed));
  return counters;
}

void RankSession::Post(std::function<void()> task) {
  absl::MutexLock lock(&mu_);
  tasks_.push_back(std::move(task));
}

void RankSession::ExecutorMain() {
  while (true) {
    std::function<void()> task;
    {
      absl::MutexLock lock(&mu_);
      const auto due = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return ending_ || !tasks_.empty(); };
      mu_.Await(absl::Condition(&due));
      if (tasks_.empty()) return;
      task = std::move(tasks_.front());
      tasks_.pop_front();
    }
    task();
  }
}

}  // namespace penstock
