// What CKPT|JOB on the command line means. Thread-compatible.
#ifndef PENSTOCK_CLI_CHECKPOINT_ARGUMENT_H_
#define PENSTOCK_CLI_CHECKPOINT_ARGUMENT_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace penstock {

// Whether the argument names a folder: it is one, or has a '/', which no job's name has.
bool NamesFolder(const std::string& argument);

struct CheckpointArgument {
  std::string path;                  // the checkpoint's own folder, absolute
  std::vector<std::string> skipped;  // newer ones that are damaged, and why
};

// A step's folder itself, or the newest whole one of a folder of step folders.
// Errors: NotFound: no such folder, or no checkpoint in it.
absl::StatusOr<CheckpointArgument> FindCheckpoint(const std::string& folder);

// The newest checkpoint of a job, asked from the coordinator at `address`.
// Errors: as Client::Get. NotFound: it has none yet.
absl::StatusOr<CheckpointArgument> FindJobCheckpoint(const std::string& job, const std::string& address);

}  // namespace penstock

#endif  // PENSTOCK_CLI_CHECKPOINT_ARGUMENT_H_
