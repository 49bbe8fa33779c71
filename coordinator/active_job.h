// A job that has not ended, as the core keeps it. Thread-compatible: the core's mutex guards it.
#ifndef PENSTOCK_COORDINATOR_ACTIVE_JOB_H_
#define PENSTOCK_COORDINATOR_ACTIVE_JOB_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/tokenizer/tokenizer.h"
#include "coordinator/job_progress.h"
#include "coordinator/jobs/job_machine.h"
#include "coordinator/jobs/job_store.h"
#include "coordinator/membership.h"
#include "coordinator/step_barrier.h"
#include "coordinator/worker_client.h"
#include "proto/coordinator.pb.h"

namespace penstock {

// Answers a vote.
using VoteDone = std::function<void(absl::StatusOr<v1::StepDecision>)>;

// What a job runs on, from its placement on; never changes, so that calls can read it without the lock.
struct Assignment {
  std::string job;
  uint64_t epoch = 0;
  v1::JobSpec spec;
  v1::Plan plan;
  std::string resume_from;
  std::string checkpoint_dir;
  std::string fingerprint;
  std::vector<WorkerHandle> workers;                   // by rank
  std::vector<std::shared_ptr<WorkerClient>> clients;  // by rank
};

// The training data of the checkpoint that a job goes on from: its section of the job, and the files as they were.
struct ResumedData {
  v1::Data section;
  v1::DataIdentity identity;
};

struct ActiveJob {
  // Args:    parameters: every parameter's name, in model order.
  ActiveJob(StoredJob job, const std::string& checkpoint_dir, const std::vector<std::string>& parameters,
            JobCourse course);

  const StoredJob stored;
  const std::string checkpoint_dir;
  JobMachine machine;
  StepBarrier barrier;
  JobProgress progress;
  std::unique_ptr<const Tokenizer> tokenizer;  // of its samples; null: it makes none

  v1::JobStatus status;      // what people see
  uint64_t version = 1;      // grows with each change of it
  v1::JobState saved_state;  // that the store was last told of, with its reason
  std::string saved_reason;

  std::shared_ptr<const Assignment> assignment;    // from the placement on
  std::vector<std::shared_ptr<WorkerCall>> calls;  // by rank: the latest
  std::vector<v1::SaveReply> saves;                // by rank: of the checkpoint under way
  bool prune_waits = false;                        // a round of pruning has not begun yet
  v1::DataIdentity data;                           // the training data, as a rank that reads them found them
  ResumedData resumed;                             // no files: it starts anew, or the checkpoint does not say

  // Whether what a rank reads is what the checkpoint was trained on; says so in the log where the job names other data.
  // Errors: InvalidArgument: the files have changed.
  absl::Status CheckData(const v1::DataIdentity& now) const;
  std::vector<v1::TensorHash> hashes;  // of the step under way, log.hash only
  int hashed_ranks = 0;

  std::vector<VoteDone> waiting;                 // votes of the step under way
  std::optional<std::string> votes_dropped;      // why no more votes are taken
  std::optional<StepOutcome> outcome;            // of the step that is being decided
  v1::LossScaleState loss_scale;                 // of the next step; scale 0: the loss is not scaled
  std::optional<StepMetrics> unwritten_metrics;  // waits for its hash
};

}  // namespace penstock

#endif  // PENSTOCK_COORDINATOR_ACTIVE_JOB_H_
