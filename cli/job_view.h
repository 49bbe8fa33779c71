// What the coordinator tells, as tables and paragraphs for people. Pure. Text ends with a newline, has no colour.
#ifndef PENSTOCK_CLI_JOB_VIEW_H_
#define PENSTOCK_CLI_JOB_VIEW_H_

#include <string>
#include <vector>

#include "absl/time/time.h"
#include "common/checkpoint/checkpoint_dir.h"
#include "google/protobuf/repeated_ptr_field.h"
#include "proto/coordinator.pb.h"

namespace penstock {

// "RUNNING".
std::string StateText(v1::JobState state);

// One line a job. Args: width as TextTable::Render.
std::string JobTable(const google::protobuf::RepeatedPtrField<v1::JobStatus>& jobs, int width, absl::Time now);

// One line a worker.
std::string WorkerTable(const google::protobuf::RepeatedPtrField<v1::WorkerStatus>& workers, int width);

// One line a stage: layers, parameters, frames and bytes sent, share of the step it computed.
std::string StageTable(const v1::JobStatus& job, int width);

// `status JOB`: the job's state and reason, its stages, its checkpoint.
std::string JobText(const v1::JobStatus& job, int width, absl::Time now);

// `status`: the cluster, its workers, its jobs.
std::string ClusterText(const v1::ClusterStatus& cluster, int width, absl::Time now);

// One line a checkpoint, newest first.
std::string CheckpointTable(const std::vector<CheckpointEntry>& checkpoints, int width);

// What is said about a failed job: the root cause first, then its evidence and the consequences. No final newline.
std::string FailureText(const v1::JobStatus& job);

}  // namespace penstock

#endif  // PENSTOCK_CLI_JOB_VIEW_H_
