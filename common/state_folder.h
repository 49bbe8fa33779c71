// A coordinator's state folder: one process at a time owns it, from before anything is written there. Thread-safe.
// Source: docs/recovery.md, "The store".
#ifndef PENSTOCK_COMMON_STATE_FOLDER_H_
#define PENSTOCK_COMMON_STATE_FOLDER_H_

#include <string>

#include "absl/status/statusor.h"
#include "common/file.h"

namespace penstock {

// Makes the folder where it is missing, and takes it for this process: until the lock, or the process, ends.
// Errors: FailedPrecondition: another coordinator has the folder; names its process id.
absl::StatusOr<FileLock> TakeStateFolder(const std::string& state_dir);

// Takes over a folder that the parent process took for this one (the lock's descriptor, left open for it).
// Errors: as FileLock::Inherit.
absl::StatusOr<FileLock> InheritStateFolder(const std::string& state_dir, int fd);

}  // namespace penstock

#endif  // PENSTOCK_COMMON_STATE_FOLDER_H_
