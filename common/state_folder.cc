#include "common/state_folder.h"

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"

namespace penstock {
namespace {

std::string LockOf(const std::string& state_dir) { return JoinPath(state_dir, "lock"); }

}  // namespace

absl::StatusOr<FileLock> TakeStateFolder(const std::string& state_dir) {
  PENSTOCK_RETURN_IF_ERROR(MakeDirs(state_dir));
  absl::StatusOr<FileLock> lock = FileLock::Acquire(LockOf(state_dir));
  if (lock.ok() || !absl::IsFailedPrecondition(lock.status())) return lock;
  return Annotate(lock.status(), absl::StrCat("another coordinator has the state folder ", state_dir));
}

absl::StatusOr<FileLock> InheritStateFolder(const std::string& state_dir, int fd) {
  return FileLock::Inherit(LockOf(state_dir), fd);
}

}  // namespace penstock
