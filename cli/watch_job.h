// Following a job on the screen until it has ended. Functions are called from the command's main thread.
#ifndef PENSTOCK_CLI_WATCH_JOB_H_
#define PENSTOCK_CLI_WATCH_JOB_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "cli/client.h"
#include "cli/console.h"
#include "proto/coordinator.pb.h"

namespace penstock {

// Shows the job's progress on standard error until it has ended. A connection that breaks is made again.
// Args:    patience: how long without an answer before giving up.
// Returns: the job's final status.
// Errors:  Cancelled: by `canceller`. NotFound: no such job. Unavailable: no answer within `patience`.
absl::StatusOr<v1::JobStatus> WatchJob(Client* client, const std::string& job, absl::Duration patience,
                                       Canceller* canceller, Console* console);

// Says from which checkpoint a job goes on that was submitted to do so. An answer that does not come is left out: the
// job itself is not concerned.
void SayWhereItGoesOn(Client* client, const std::string& job, Console* console);

// How long a watcher waits for a coordinator that is being started again.
inline constexpr absl::Duration kWatchPatience = absl::Seconds(30);

// Prints how a job ended: on standard output its sample, summary, checkpoint and hash (or one JSON object), on standard
// error the failure. Returns the exit code.
// Args: address: of its coordinator; empty: that ends with it.
int ReportEnd(const v1::JobStatus& job, bool json, absl::string_view address, Console* console);

// The id of a job that is named in any of the ways there are: "@last" may be another one a moment later.
// Errors: as Client::Get.
absl::StatusOr<std::string> IdOf(Client* client, const std::string& job);

// WatchJob and ReportEnd; a cancellation detaches from the job and says so. Returns the exit code.
int FollowJob(Client* client, const std::string& job, bool json, Canceller* canceller, Console* console);

}  // namespace penstock

#endif  // PENSTOCK_CLI_WATCH_JOB_H_
