// What the command's exit code tells a script. Pure.
// Source: docs/commands.md, "Exit codes".
#ifndef PENSTOCK_CLI_EXIT_CODE_H_
#define PENSTOCK_CLI_EXIT_CODE_H_

#include "absl/status/status.h"
#include "proto/coordinator.pb.h"

namespace penstock {

enum class ExitCode : int {
  kDone = 0,
  kFailed = 1,         // the job failed, or what was asked for could not be done
  kBadUsage = 2,       // arguments or a file
  kUnreachable = 3,    // no coordinator answers, or it does not let us
  kNotFound = 4,       // no such job, worker, checkpoint
  kDoesNotFit = 5,     // the plan needs more memory or more workers than there are
  kStopped = 75,       // stopped with a checkpoint: run again to go on (EX_TEMPFAIL)
  kInterrupted = 130,  // Ctrl-C, as shells write it: 128 + SIGINT
};

// The code for a failed call to the coordinator, or for kDone if `status` is OK.
ExitCode ExitCodeOf(const absl::Status& status);

// The code for a job that has ended. REQUIRES: HasEnded(job.state()).
ExitCode ExitCodeOf(const v1::JobStatus& job);

// SUCCEEDED, FAILED or STOPPED.
bool HasEnded(v1::JobState state);

}  // namespace penstock

#endif  // PENSTOCK_CLI_EXIT_CODE_H_
