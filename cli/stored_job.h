// A job and what is known of it, from a coordinator or, where none knows it, from the store of a state folder: `run`
// leaves its jobs there when its coordinator is gone. Call from main's thread.
#ifndef PENSTOCK_CLI_STORED_JOB_H_
#define PENSTOCK_CLI_STORED_JOB_H_

#include <string>

#include "absl/status/statusor.h"
#include "proto/coordinator.pb.h"

namespace penstock {

// Args:    job: as people name it. address: of the coordinator that is asked first.
// Returns: its status, spec and plan.
// Errors:  NotFound: neither has it; names the known ones. InvalidArgument: the prefix fits several jobs.
absl::StatusOr<v1::GetReply> FindJob(const std::string& job, const std::string& address, const std::string& state_dir);

}  // namespace penstock

#endif  // PENSTOCK_CLI_STORED_JOB_H_
