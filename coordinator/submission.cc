#include "coordinator/submission.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/checkpoint/checkpoint_dir.h"
#include "common/file.h"
#include "common/limits.h"
#include "common/logging.h"
#include "common/status_macros.h"
#include "coordinator/jobs/scheduler.h"
#include "coordinator/plan/planner.h"
#include "coordinator/plan/rank_memory.h"
#include "spec/job_file.h"

namespace penstock {
namespace {

// The newest whole checkpoint of the folder that the spec names, else of the latest job with its name that has one.
absl::StatusOr<FoundCheckpoint> FindResumePoint(const v1::JobSpec& spec, const std::string& state_dir,
                                                JobStore* store) {
  std::vector<std::string> dirs;
  if (!spec.checkpoint().dir().empty()) {
    dirs.push_back(spec.checkpoint().dir());
  } else {
    PENSTOCK_ASSIGN_OR_RETURN(const std::vector<std::string> jobs, store->WithName(spec.name()));
    for (const std::string& id : jobs) {
      PENSTOCK_ASSIGN_OR_RETURN(const StoredJob job, store->Get(id));
      dirs.push_back(CheckpointDirOf(state_dir, id, job.spec));
    }
  }
  std::string trouble;
  for (const std::string& dir : dirs) {
    absl::StatusOr<FoundCheckpoint> found = NewestComplete(dir);
    if (found.ok()) {
      for (const std::string& skipped : found->skipped) LOG(WARNING) << "resume: skipped a checkpoint: " << skipped;
      return found;
    }
    absl::StrAppend(&trouble, trouble.empty() ? "" : "; ", found.status().message());
  }
  if (trouble.empty()) trouble = absl::StrCat("no job named ", spec.name(), " was submitted before");
  return absl::NotFoundError(
      absl::StrCat("nothing to resume from: ", trouble, "; submit without --resume to start anew"));
}

// A job that goes on from its last step would end at once, with no loss or speed of its own to show.
absl::Status CheckStepsAreLeft(const v1::JobSpec& spec, const FoundCheckpoint& from) {
  if (from.manifest.step < spec.train().steps()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("nothing is left to do: the newest checkpoint, ", from.path, ", is at step ", from.manifest.step,
                   " and train.steps is ", spec.train().steps(),
                   ": raise train.steps to train longer, or submit without --resume to start anew"));
}

}  // namespace

absl::Status CheckFolderIsFree(const std::string& dir) {
  PENSTOCK_ASSIGN_OR_RETURN(const std::vector<CheckpointEntry> entries, ListCheckpoints(dir));
  if (entries.empty()) return absl::OkStatus();
  return absl::AlreadyExistsError(
      absl::StrCat("checkpoint folder ", dir, " already holds checkpoints", entries[0].job.empty() ? "" : " of job ",
                   entries[0].job, ", the newest ", entries[0].info.path(),
                   ": submit with --resume to go on from it, or give checkpoint.dir another ", "folder"));
}

std::string CheckpointRoot(const std::string& state_dir) { return JoinPath(state_dir, "checkpoints"); }

std::string CheckpointDirOf(const std::string& state_dir, const std::string& job, const v1::JobSpec& spec) {
  if (!spec.checkpoint().dir().empty()) return spec.checkpoint().dir();
  return JoinPath(CheckpointRoot(state_dir), job);
}

absl::Status CheckPlanTravels(const v1::JobSpec& spec, const v1::Plan& plan) {
  // With its spec to the workers; with its spec, its status and the job's file to whoever asks.
  constexpr size_t kMost = limits::kMaxMessageBytes - limits::kMaxYamlBytes;
  const size_t bytes = plan.ByteSizeLong() + spec.ByteSizeLong();
  if (bytes <= kMost) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("the plan's lists take ", bytes >> 20, " MiB, one message holds ",
                                                 kMost >> 20, ": lower pipeline.micro_batches (", plan.micro_batches(),
                                                 ") or pipeline.stages (", plan.stages_size(), ")"));
}

absl::Status CheckWorkersExist(const v1::Plan& plan, const ClusterSpec& cluster) {
  const int ranks = plan.train_size(), workers = static_cast<int>(cluster.workers.size());
  if (cluster.launch == LaunchWith::kNone || ranks <= workers) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat(
      "the plan has ", ranks, " ranks, cluster ", cluster.name, " has ", workers, workers == 1 ? " worker" : " workers",
      ": lower pipeline.stages, or add workers to the cluster's file and start it anew"));
}

absl::StatusOr<v1::Plan> CheckAndPlan(const v1::JobSpec& spec, std::vector<uint64_t> memory_limits,
                                      const std::optional<v1::MeasuredCosts>& costs) {
  // The name becomes folders under the state folder.
  if (!IsPlainName(spec.name())) {
    return absl::InvalidArgumentError(absl::StrCat("'", spec.name(), "' cannot be a job's name: it names its folders"));
  }
  PENSTOCK_RETURN_IF_ERROR(CheckJobSpec(spec));
  PENSTOCK_ASSIGN_OR_RETURN(const int ranks, RanksOfJob(spec));
  const v1::MeasuredCosts* const measured = costs.has_value() ? &*costs : nullptr;
  PENSTOCK_ASSIGN_OR_RETURN(PlannedJob planned, PlanJob({spec, measured, LargestLimits(memory_limits, ranks)}));
  const PlanRequest request{spec, measured, MatchLimits(RankPeakBytes(planned.plan), std::move(memory_limits))};
  const absl::Status fits = CheckFits(request, planned.plan);
  // ResourceExhausted is the queue's; this one says that the cluster is not the one the job needs.
  if (!fits.ok()) return absl::FailedPreconditionError(fits.message());
  PENSTOCK_RETURN_IF_ERROR(CheckPlanTravels(spec, planned.plan));
  return std::move(planned.plan);
}

absl::StatusOr<NewJob> PrepareSubmission(const v1::SubmitRequest& request, const std::string& state_dir,
                                         std::vector<uint64_t> memory_limits,
                                         const std::optional<v1::MeasuredCosts>& costs, JobStore* store) {
  NewJob job{request.request_id(), request.spec(), {}, request.yaml(), request.resume(), ""};
  if (job.request_id.empty()) return absl::InvalidArgumentError("Submit needs a request_id, drawn once per submission");
  PENSTOCK_ASSIGN_OR_RETURN(job.plan, CheckAndPlan(job.spec, std::move(memory_limits), costs));
  if (job.resume) {
    PENSTOCK_ASSIGN_OR_RETURN(const FoundCheckpoint from, FindResumePoint(job.spec, state_dir, store));
    PENSTOCK_RETURN_IF_ERROR(CheckStepsAreLeft(job.spec, from));
    job.resume_from = from.path;
    job.resume_step = from.manifest.step;
  }
  return job;
}

}  // namespace penstock
