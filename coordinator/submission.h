// From a request to a job that may be stored: checks the spec, makes its plan, settles where its checkpoints go and
// what it goes on from. Reads files, so never call under a lock. Thread-safe.
#ifndef PENSTOCK_COORDINATOR_SUBMISSION_H_
#define PENSTOCK_COORDINATOR_SUBMISSION_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "coordinator/jobs/job_store.h"
#include "proto/coordinator.pb.h"
#include "spec/cluster_spec.h"

namespace penstock {

// STATE_DIR/checkpoints.
std::string CheckpointRoot(const std::string& state_dir);
// The checkpoint folder of a job: checkpoint.dir, or STATE_DIR/checkpoints/JOB where the spec names none.
std::string CheckpointDirOf(const std::string& state_dir, const std::string& job, const v1::JobSpec& spec);

// Checks a spec and makes its plan.
// Args:    memory_limits: of the workers that there are, 0: none; the largest count, as many as the plan has ranks.
//          costs: of all the layers, as measured; nullopt: they are estimated.
// Errors:  InvalidArgument: the spec, or lists too long to be sent. FailedPrecondition: the plan does not fit.
absl::StatusOr<v1::Plan> CheckAndPlan(const v1::JobSpec& spec, std::vector<uint64_t> memory_limits,
                                      const std::optional<v1::MeasuredCosts>& costs);

// Whether a plan can travel: in one message to each worker, and to whoever asks for it.
// Errors: InvalidArgument: its lists are larger; says what to lower.
absl::Status CheckPlanTravels(const v1::JobSpec& spec, const v1::Plan& plan);

// Whether a cluster has the workers that a plan needs, or may get them: where they join by themselves.
// Errors: FailedPrecondition: the coordinator launches them, and its file names fewer.
absl::Status CheckWorkersExist(const v1::Plan& plan, const ClusterSpec& cluster);

// Makes what Insert stores.
// Errors:  as CheckAndPlan; InvalidArgument too: the job shall go on from its last step. NotFound: it shall go on, and
//          there is no whole checkpoint.
absl::StatusOr<NewJob> PrepareSubmission(const v1::SubmitRequest& request, const std::string& state_dir,
                                         std::vector<uint64_t> memory_limits,
                                         const std::optional<v1::MeasuredCosts>& costs, JobStore* store);

// Whether a job that starts anew may write to the folder. Errors: AlreadyExists: it holds checkpoints.
absl::Status CheckFolderIsFree(const std::string& dir);

}  // namespace penstock

#endif  // PENSTOCK_COORDINATOR_SUBMISSION_H_
