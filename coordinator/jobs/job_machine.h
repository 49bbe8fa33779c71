// The life of one job as a pure machine: (state, event, now) -> (state, commands, reason). Thread-compatible.
//
// The core feeds it what has happened and runs the commands it returns; every command that is a call on a rank is
// answered by exactly one event. Nothing here does I/O or reads a clock.
//
//              Placed            all loaded              boundary
//   PENDING ----------> STARTING ----------> RUNNING <-------------> CHECKPOINTING
//      |                    |                   |                          |
//      | stop               | stop, fault       | stop at the step's end,  | last checkpoint is complete,
//      |                    |                   | fault                    | every rank is unloaded
//      v                    v                   v                          v
//   STOPPED             STOPPING <--------------+                      SUCCEEDED
//                           |
//                           +-- every rank is unloaded --> STOPPED (asked for) or FAILED (a fault)
//
// RUNNING has three phases that follow each other at a boundary: training, evaluation, sample.
// Source: docs/architecture.md, "The life of one job".
#ifndef PENSTOCK_COORDINATOR_JOBS_JOB_MACHINE_H_
#define PENSTOCK_COORDINATOR_JOBS_JOB_MACHINE_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "coordinator/jobs/job_course.h"
#include "coordinator/jobs/job_events.h"
#include "coordinator/jobs/root_cause.h"
#include "proto/job.pb.h"
#include "proto/worker.pb.h"

namespace penstock {

bool IsTerminal(v1::JobState state);

class JobMachine {
 public:
  explicit JobMachine(JobCourse course);

  // Takes one event and returns what must be done now, in order.
  // Args:    now: on the clock that all events of this job are read from; never goes back.
  std::vector<JobCommand> Handle(const JobEvent& event, absl::Duration now);

  v1::JobState state() const { return state_; }
  // Why it is in this state, one sentence for people; may be empty.
  const std::string& reason() const { return reason_; }
  // Completed updates.
  uint64_t step() const { return step_; }
  uint64_t epoch() const { return epoch_; }
  // Root cause first; empty unless FAILED.
  const std::vector<std::string>& failure() const { return failure_; }
  bool ended() const { return IsTerminal(state_); }

 private:
  enum class Phase { kQueued, kLoad, kTrain, kEval, kSample, kSave, kCommit, kDrain, kUnload, kEnded };
  enum class Outcome { kSucceeded, kStopped, kFailed };
  enum class Call { kNone, kLoad, kRun, kSave, kUnload };
  struct Rank {
    std::string where;  // for people
    bool alive = true;
    bool loaded = false;  // a Load was sent and no Unload has answered
    Call call = Call::kNone;
    uint64_t completed_step = 0;
  };
  using Commands = std::vector<JobCommand>;

  void On(const Waits& event);
  void On(const Placed& event);
  void On(const Loaded& event);
  void On(const RunEnded& event);
  void On(const Saved& event);
  void On(const Unloaded& event);
  void On(const Committed& event);
  void On(const Voted& event);
  void On(const RankLost& event);
  void On(const StopAsked& event);
  void On(const Tick&) {}

  void AfterLoad();
  void AfterRun();
  void AfterTrain();
  void AfterEval();
  void AfterSample();
  void AfterSave();
  // Does what is due at step_, then goes on: evaluation, sample, checkpoint, next range or the end.
  void AtBoundary();
  void AfterCheckpoint();
  void StartTraining();
  void StartEval();
  void StartSamplePass();
  void StartSave();
  void StartUnload(Outcome outcome);
  void StartRun(RunRank run, uint64_t passes);
  void FailRank(int rank, const absl::Status& status);
  void Fail(Fault fault);
  // Drain -> unload, once nothing is under way and the cause may be named.
  void MaybeFinishDrain();
  void End();

  // What a stopped job says of its newest checkpoint.
  std::string WhereToGoOn() const;
  bool AllIdle() const;
  bool AnswersCall(uint64_t epoch, int rank, Call call);
  void Enter(v1::JobState state, std::string reason);

  JobCourse course_;  // eval_batches: at most as many as the data has, once it is loaded
  v1::JobState state_ = v1::PENDING;
  std::string reason_;
  Phase phase_ = Phase::kQueued;
  Outcome outcome_ = Outcome::kSucceeded;
  uint64_t epoch_ = 0;
  uint64_t step_ = 0;
  uint64_t next_pass_ = 1;
  uint64_t range_end_ = 0;
  std::vector<Rank> ranks_;
  std::optional<uint64_t> saved_step_;  // newest complete checkpoint in the job's own folder
  std::string warning_;                 // a checkpoint that failed while training could go on
  absl::Status save_status_;
  bool committing_ = false;  // the manifest is being written; it cannot be called back
  bool drop_unfinished_save_ = false;

  bool stop_ = false;
  bool stop_without_checkpoint_ = false;
  std::string stop_reason_;

  bool evaluated_ = false;  // at this boundary
  bool sampled_ = false;
  uint64_t eval_batch_ = 0;  // the next one
  v1::EvalSums eval_;
  v1::EvalSums eval_part_;
  std::vector<int64_t> sample_;
  std::optional<int64_t> next_token_;

  std::vector<Fault> faults_;
  std::vector<std::string> failure_;
  absl::Duration first_fault_at_;

  absl::Duration now_;
  Commands commands_;
};

}  // namespace penstock

#endif  // PENSTOCK_COORDINATOR_JOBS_JOB_MACHINE_H_
