#include "cli/exit_code.h"

namespace penstock {

ExitCode ExitCodeOf(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kOk:
      return ExitCode::kDone;
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kAlreadyExists:  // another run's checkpoint folder: the caller must choose another
      return ExitCode::kBadUsage;
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kDeadlineExceeded:
    case absl::StatusCode::kUnauthenticated:
    case absl::StatusCode::kPermissionDenied:
    case absl::StatusCode::kUnimplemented:  // something else listens there
      return ExitCode::kUnreachable;
    case absl::StatusCode::kNotFound:
      return ExitCode::kNotFound;
    case absl::StatusCode::kCancelled:
      return ExitCode::kInterrupted;
    default:
      return ExitCode::kFailed;
  }
}

ExitCode ExitCodeOf(const v1::JobStatus& job) {
  if (job.state() == v1::SUCCEEDED) return ExitCode::kDone;
  if (job.state() != v1::STOPPED) return ExitCode::kFailed;
  return job.checkpoint().empty() ? ExitCode::kInterrupted : ExitCode::kStopped;
}

bool HasEnded(v1::JobState state) { return state == v1::SUCCEEDED || state == v1::FAILED || state == v1::STOPPED; }

}  // namespace penstock
