#include "coordinator/jobs/job_machine.h"

#include <utility>

#include "absl/strings/str_cat.h"

namespace penstock {

bool IsTerminal(v1::JobState state) { return state == v1::SUCCEEDED || state == v1::FAILED || state == v1::STOPPED; }

JobMachine::JobMachine(JobCourse course)
    : course_(std::move(course)), step_(course_.resumed_step.value_or(0)), ranks_(course_.ranks) {
  for (int r = 0; r < course_.ranks; ++r) ranks_[r].where = course_.rank_stages[r];
}

std::vector<JobCommand> JobMachine::Handle(const JobEvent& event, absl::Duration now) {
  now_ = now;
  if (!ended()) {
    std::visit([this](const auto& e) { On(e); }, event);
    MaybeFinishDrain();
  }
  return std::exchange(commands_, {});
}

void JobMachine::On(const Waits& event) {
  if (phase_ == Phase::kQueued) reason_ = event.reason;
}

void JobMachine::On(const Placed& event) {
  if (phase_ != Phase::kQueued) return;
  epoch_ = event.epoch;
  phase_ = Phase::kLoad;
  Enter(v1::STARTING, "loads its layers on the workers");
  for (int r = 0; r < course_.ranks; ++r) {
    Rank& rank = ranks_[r];
    rank.where = absl::StrCat(rank.where, " (worker ", event.workers[r], ")");
    rank.loaded = true;
    rank.call = Call::kLoad;
    commands_.push_back(LoadRank{r});
  }
}

// Takes the answer off the rank's account. False: the answer is of another epoch, or nobody waits for it.
bool JobMachine::AnswersCall(uint64_t epoch, int rank, Call call) {
  if (epoch != epoch_ || ranks_[rank].call != call) return false;
  ranks_[rank].call = Call::kNone;
  return true;
}

void JobMachine::On(const Loaded& event) {
  if (!AnswersCall(event.epoch, event.rank, Call::kLoad)) return;
  ranks_[event.rank].completed_step = event.step;
  if (!event.status.ok()) return FailRank(event.rank, event.status);
  if (event.eval_batches.has_value() && *event.eval_batches < course_.eval_batches) {
    course_.eval_batches = static_cast<uint32_t>(*event.eval_batches);
  }
  if (phase_ == Phase::kLoad && AllIdle()) AfterLoad();
}

void JobMachine::AfterLoad() {
  const uint64_t step = ranks_[0].completed_step;
  for (const Rank& rank : ranks_) {
    if (rank.completed_step == step) continue;
    return Fail({Fault::Kind::kError,
                 rank.where,
                 absl::StrCat("loaded step ", rank.completed_step, ", but ", ranks_[0].where, " loaded step ", step),
                 {}});
  }
  step_ = step;
  if (step > course_.steps) {
    return Fail({Fault::Kind::kError,
                 "",
                 absl::StrCat("the checkpoint it goes on from is at step ", step, ", beyond train.steps ",
                              course_.steps, "; raise train.steps"),
                 {}});
  }
  if (course_.resumes_own_checkpoint) saved_step_ = step;
  if (stop_) return StartUnload(Outcome::kStopped);
  Enter(v1::RUNNING, "");
  if (step_ == course_.steps) return AtBoundary();
  StartTraining();
}

void JobMachine::On(const RunEnded& event) {
  if (!AnswersCall(event.epoch, event.rank, Call::kRun)) return;
  Rank& rank = ranks_[event.rank];
  if (!event.status.ok()) return FailRank(event.rank, event.status);
  rank.completed_step = event.completed_step;
  if (event.eval.has_value()) eval_part_ = *event.eval;
  if (event.next_token.has_value()) next_token_ = event.next_token;
  if (phase_ != Phase::kDrain && AllIdle()) AfterRun();
}

void JobMachine::On(const Voted& event) {
  if (event.epoch != epoch_ || phase_ != Phase::kTrain) return;
  if (!event.fault.empty()) {
    commands_.push_back(Decide{event.step, false, true});
    return Fail({Fault::Kind::kNotFinite, "", absl::StrCat("step ", event.step, ": ", event.fault), {}});
  }
  // The decision makes the step: from here on it is applied everywhere or the job fails.
  step_ = event.step;
  if (stop_) range_end_ = event.step;
  commands_.push_back(Decide{event.step, true, stop_ || event.step == range_end_});
}

void JobMachine::On(const Saved& event) {
  if (!AnswersCall(event.epoch, event.rank, Call::kSave)) return;
  if (!event.status.ok()) {
    save_status_.Update(
        absl::Status(event.status.code(), absl::StrCat(ranks_[event.rank].where, ": ", event.status.message())));
  }
  if (phase_ == Phase::kSave && AllIdle()) AfterSave();
}

void JobMachine::On(const Committed& event) {
  if (event.epoch != epoch_ || !committing_) return;
  committing_ = false;
  if (event.status.ok()) saved_step_ = step_;
  if (phase_ != Phase::kCommit) return;
  save_status_ = event.status;
  AfterCheckpoint();
}

void JobMachine::On(const Unloaded& event) {
  if (!AnswersCall(event.epoch, event.rank, Call::kUnload)) return;
  ranks_[event.rank].loaded = false;
  if (phase_ == Phase::kUnload && AllIdle()) End();
}

void JobMachine::On(const RankLost& event) {
  if (event.epoch != epoch_ || phase_ == Phase::kQueued) return;
  Rank& rank = ranks_[event.rank];
  if (!rank.alive) return;
  rank.alive = false;
  rank.loaded = false;  // what it held went with the process
  // Every rank has saved its part, and after the manifest no rank has anything to do.
  const bool last_checkpoint = phase_ == Phase::kCommit && (stop_ || step_ == course_.steps);
  if (phase_ == Phase::kUnload || last_checkpoint) {  // the outcome stands, nothing of it was lost
    if (rank.call != Call::kNone) commands_.push_back(CancelRank{event.rank});
    return;
  }
  Fault fault = event.fault;
  fault.where = rank.where;
  Fail(std::move(fault));
}

void JobMachine::On(const StopAsked& event) {
  stop_without_checkpoint_ |= event.no_checkpoint;
  if (stop_ || phase_ == Phase::kDrain || phase_ == Phase::kUnload) return;
  stop_ = true;
  stop_reason_ = event.reason;
  if (phase_ == Phase::kQueued) {
    outcome_ = Outcome::kStopped;
    return End();
  }
  Enter(v1::STOPPING, phase_ == Phase::kTrain ? "stops at the end of the current step" : "stops");
}

void JobMachine::FailRank(int rank, const absl::Status& status) {
  if (phase_ == Phase::kDrain && absl::IsCancelled(status)) return;  // we cancelled it ourselves
  Fail({KindOf(status), ranks_[rank].where, std::string(status.message()), {}});
}

void JobMachine::Fail(Fault fault) {
  if (faults_.empty()) first_fault_at_ = now_;
  faults_.push_back(std::move(fault));
  if (phase_ == Phase::kDrain) return;
  const bool saving = phase_ == Phase::kSave;
  phase_ = Phase::kDrain;
  drop_unfinished_save_ = saving;
  Enter(v1::STOPPING, absl::StrCat("looks for the cause of: ", FailureLines(faults_).front()));
  commands_.push_back(DropVotes{"the job has failed"});
  for (int r = 0; r < course_.ranks; ++r) {
    if (ranks_[r].call != Call::kNone) commands_.push_back(CancelRank{r});
  }
}

void JobMachine::MaybeFinishDrain() {
  if (phase_ != Phase::kDrain || !AllIdle() || committing_) return;
  if (now_ < NameableAt(faults_, first_fault_at_, course_.lost_after)) return;
  failure_ = FailureLines(faults_);
  StartUnload(Outcome::kFailed);
}

void JobMachine::StartUnload(Outcome outcome) {
  outcome_ = outcome;
  phase_ = Phase::kUnload;
  for (int r = 0; r < course_.ranks; ++r) {
    if (!ranks_[r].alive || !ranks_[r].loaded) continue;
    ranks_[r].call = Call::kUnload;
    commands_.push_back(UnloadRank{r});
  }
  if (AllIdle()) End();
}

void JobMachine::End() {
  phase_ = Phase::kEnded;
  // Not before every rank is unloaded: one whose call was cancelled may write until then.
  if (drop_unfinished_save_) commands_.push_back(DropCheckpoint{step_});
  switch (outcome_) {
    case Outcome::kSucceeded:
      Enter(v1::SUCCEEDED, warning_);
      break;
    case Outcome::kStopped:
      Enter(v1::STOPPED, absl::StrCat(stop_reason_, WhereToGoOn()));
      break;
    case Outcome::kFailed:
      Enter(v1::FAILED, failure_.front());
      break;
  }
  commands_.push_back(Ended{});
}

std::string JobMachine::WhereToGoOn() const {
  const std::optional<uint64_t> step = saved_step_.has_value() ? saved_step_ : course_.resumed_step;
  if (!step.has_value()) return "; nothing was saved";
  return absl::StrCat("; submit it again with --resume to go on from step ", *step);
}

bool JobMachine::AllIdle() const {
  for (const Rank& rank : ranks_) {
    if (rank.call != Call::kNone) return false;
  }
  return true;
}

void JobMachine::Enter(v1::JobState state, std::string reason) {
  state_ = state;
  reason_ = std::move(reason);
}

}  // namespace penstock
