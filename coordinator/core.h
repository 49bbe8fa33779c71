// The coordinator's core: the one mutex over the cluster's state. It feeds what happens to the pure deciders
// (membership, scheduler, job machine, step barrier) and carries out what they answer after it has let go of the
// lock: calls on workers directly, disk work in order on a thread of its own. Thread-safe.
//
// The life of an event: a method takes the lock (CoreLock) -> Feed -> JobMachine::Handle -> Do(command) puts work
// into work_ or onto disk_ -> the lock goes, work_ runs.
#ifndef PENSTOCK_COORDINATOR_CORE_H_
#define PENSTOCK_COORDINATOR_CORE_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "common/clock.h"
#include "common/limits.h"
#include "coordinator/active_job.h"
#include "coordinator/executor.h"
#include "coordinator/jobs/job_store.h"
#include "coordinator/launch/launcher.h"
#include "coordinator/membership.h"
#include "coordinator/records/cost_store.h"
#include "coordinator/records/job_records.h"
#include "coordinator/relaunch.h"
#include "coordinator/worker_lease.h"
#include "proto/coordinator.pb.h"
#include "spec/cluster_spec.h"

namespace penstock {

class Core {
 public:
  // Args:    store, records, clock, costs outlive the core. max_queued: jobs that may wait. costs: what was measured;
  //          null: nothing is kept, plans are estimates.
  Core(ClusterSpec cluster, JobStore* store, JobRecords* records, Clock* clock,
       size_t max_queued = limits::kMaxQueuedJobs, CostStore* costs = nullptr);
  // Cancels what is under way and waits for it. Call Drain before for an orderly end.
  ~Core();

  // Takes the waiting jobs out of the store and starts the monitor's thread.
  // Args:    address, http_address: where the services listen.
  // Errors:  as JobStore::Pending.
  absl::Status Start(const std::string& address, const std::string& http_address);
  // Starts the cluster's workers with it, and again when one ends unasked.
  // Args:    launcher outlives the core's Drain; its on_exit is OnWorkerExit.
  void Launch(Launcher* launcher);
  void OnWorkerExit(const WorkerExit& exit);

  // ---- for workers; errors as documented in proto/coordinator.proto
  absl::StatusOr<v1::RegisterReply> Register(const v1::RegisterRequest& request);
  absl::Status Heartbeat(const v1::HeartbeatRequest& request);
  // `done` is called exactly once, on any thread, when the step is decided or the job does not go on.
  void CommitStep(const v1::StepVote& vote, VoteDone done);

  // ---- for people; errors as documented in proto/coordinator.proto
  absl::StatusOr<v1::GetPlanReply> GetPlan(const v1::JobSpec& spec);
  absl::StatusOr<std::string> Submit(const v1::SubmitRequest& request);
  absl::StatusOr<v1::GetReply> Get(const std::string& job);
  absl::StatusOr<std::vector<v1::JobStatus>> List(int limit);
  absl::StatusOr<v1::JobState> Stop(const std::string& job, bool no_checkpoint);
  // The job's status once its version differs from *version, or after `timeout`; writes the version.
  // Args:    job: an id. *version: 0 at first.
  absl::StatusOr<v1::JobStatus> AwaitChange(const std::string& job, absl::Duration timeout, uint64_t* version);
  // False: what AwaitChange answers from now on stays as it is, as long as this coordinator lives.
  bool MayChange(const std::string& job);
  v1::ClusterStatus Status();
  // OK once every worker of cluster.yaml has registered.
  absl::Status Ready();

  // Reserves up to `most` idle workers with the same arithmetic for something that is no job.
  // Args:    purpose: what the workers know it by, with a number after it. fingerprint: theirs; empty: any.
  // Errors: FailedPrecondition: there is none.
  absl::StatusOr<std::shared_ptr<WorkerLease>> Lease(int most, const std::string& purpose,
                                                     const std::string& fingerprint = "");

  // A plan epoch for a lease, larger than those of earlier coordinators, whose leases a worker may still hold.
  uint64_t NewLeaseEpoch();

  // Takes no more jobs, stops those that run (with a checkpoint unless told otherwise), leaves those that wait in the
  // store, and returns when the workers it launched are gone. Idempotent.
  void Drain(bool no_checkpoint);
  bool drained();

  JobStore* store() { return store_; }
  JobRecords* records() { return records_; }
  const std::string& state_dir() const { return cluster_.state_dir; }
  CostStore* costs() { return costs_; }  // may be null
  absl::Time Wall() const { return clock_->Wall(); }

  // ---- core_costs.cc: measured costs
  // The numeric fingerprints of the workers that are there, each once, the most frequent first: kinds of device.
  std::vector<std::string> Fingerprints();
  // What is known of all the job's layers, on the kind of device that most workers have among those that it is known
  // for; nullopt: not of all layers on any, or the store cannot be read (which is logged).
  std::optional<v1::MeasuredCosts> KnownCosts(const v1::JobSpec& spec);

 private:
  // Holds mu_; runs work_ after it has let go of it.
  class ABSL_SCOPED_LOCKABLE CoreLock {
   public:
    explicit CoreLock(Core* core) ABSL_EXCLUSIVE_LOCK_FUNCTION(core->mu_);
    ~CoreLock() ABSL_UNLOCK_FUNCTION();

   private:
    Core* const core_;
  };

  // core_jobs.cc: jobs in and out.
  // Marks a job that never became active FAILED. Errors: as JobStore::Update.
  absl::Status StoreFailure(v1::JobStatus status, uint64_t epoch, const absl::Status& why);
  // Whether a job with this spec may be taken in now, as far as the cluster's state says.
  absl::Status Admit(const v1::JobSpec& spec) ABSL_LOCKS_EXCLUDED(mu_);
  // The job that has not ended and writes its checkpoints to the folder; null where there is none.
  const ActiveJob* WriterOf(const std::string& dir) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Whether a checkpoint will still be there when the job that goes on from it starts.
  // Errors: AlreadyExists: another job writes to its folder and prunes it; names it. Aborted: it is gone already.
  absl::Status CheckResumePointStays(const std::string& checkpoint) ABSL_LOCKS_EXCLUDED(mu_);
  absl::StatusOr<std::unique_ptr<ActiveJob>> MakeActive(StoredJob stored);
  void Schedule() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Place(ActiveJob* job, const std::vector<std::string>& workers) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  std::string LostWorkers() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  ActiveJob* Find(const std::string& job) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  // core.cc: events.
  void Feed(ActiveJob* job, const JobEvent& event) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Refresh(ActiveJob* job) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void OnLoss(const WorkerLoss& loss) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::Status AddVote(const v1::StepVote& vote, VoteDone* done) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Starts the process after the lock has gone; that it could not be started is an end like another.
  void StartLater(const WorkerLaunch& launch) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Monitor();
  void MonitorOnce() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  // core_commands.cc: one for each command of the job machine.
  void Do(ActiveJob* job, const LoadRank& command) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Do(ActiveJob* job, const RunRank& command) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Do(ActiveJob* job, const CancelRank& command) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Do(ActiveJob* job, const SaveRank& command) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Do(ActiveJob* job, const UnloadRank& command) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Do(ActiveJob* job, const Decide& command) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Do(ActiveJob* job, const DropVotes& command) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Do(ActiveJob* job, const WriteManifest& command) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Do(ActiveJob* job, const DropCheckpoint& command) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Do(ActiveJob* job, const ReportEval& command) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Do(ActiveJob* job, const ReportSample& command) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Do(ActiveJob* job, const Ended& command) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void OnRun(const std::string& job, RunEnded event, const v1::RunReply& reply);
  void OnSave(const std::string& job, Saved event, const v1::SaveReply& reply);
  void Prune(const Assignment& assignment);
  void CommitOnDisk(const Assignment& assignment, uint64_t step, const std::vector<v1::SaveReply>& saves,
                    const v1::DataIdentity& data, const v1::LossScaleState& loss_scale);
  void EndOnDisk(const v1::JobStatus& status, uint64_t epoch);
  void DecideScale(uint64_t step, ActiveJob* job, v1::StepDecision* decision) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void RecordStep(ActiveJob* job, const StepOutcome& outcome) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void WriteMetrics(const std::string& job, StepMetrics metrics) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Makes the handle of a rank's next call; the call counts as under way until CallEnded.
  std::shared_ptr<WorkerCall> NewCall(ActiveJob* job, int rank) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const ClusterSpec cluster_;
  JobStore* const store_;
  JobRecords* const records_;
  Clock* const clock_;
  const size_t max_queued_;
  CostStore* const costs_;
  const absl::Time started_;

  // From the check that nobody uses a job's checkpoint folder until the job owns it: one submission at a time. Held
  // over writes to the disk, which mu_ never is.
  absl::Mutex submit_mu_ ABSL_ACQUIRED_BEFORE(mu_);
  absl::Mutex mu_;
  std::string address_ ABSL_GUARDED_BY(mu_);
  std::string http_address_ ABSL_GUARDED_BY(mu_);
  Membership membership_ ABSL_GUARDED_BY(mu_);
  std::map<std::string, std::shared_ptr<WorkerClient>> clients_ ABSL_GUARDED_BY(mu_);  // by worker
  std::map<std::string, std::unique_ptr<ActiveJob>> jobs_ ABSL_GUARDED_BY(mu_);        // by id
  // Ends that the store did not take, by job: only until the next coordinator, which finds the jobs interrupted.
  std::map<std::string, v1::JobStatus> unstored_ends_ ABSL_GUARDED_BY(mu_);
  std::vector<std::string> queue_ ABSL_GUARDED_BY(mu_);                            // PENDING, oldest first
  std::map<std::string, std::weak_ptr<WorkerLease>> leases_ ABSL_GUARDED_BY(mu_);  // by name
  uint64_t next_lease_ ABSL_GUARDED_BY(mu_) = 1;
  std::vector<std::function<void()>> work_ ABSL_GUARDED_BY(mu_);
  int calls_under_way_ ABSL_GUARDED_BY(mu_) = 0;
  Launcher* launcher_ ABSL_GUARDED_BY(mu_) = nullptr;
  Relaunch relaunch_ ABSL_GUARDED_BY(mu_);
  bool draining_ ABSL_GUARDED_BY(mu_) = false;
  bool drained_ ABSL_GUARDED_BY(mu_) = false;
  bool ending_ ABSL_GUARDED_BY(mu_) = false;

  std::thread monitor_;
  // The last two: their destructors run what is left, which may use everything above.
  std::unique_ptr<Executor> disk_;
  // Prunes checkpoints, for which it reads the newest: minutes, for which the others' work on the disk must not wait.
  std::unique_ptr<Executor> pruner_;
};

}  // namespace penstock

#endif  // PENSTOCK_COORDINATOR_CORE_H_
