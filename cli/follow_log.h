// Reading a job's log without losing or repeating a line. Called from the command's main thread.
#ifndef PENSTOCK_CLI_FOLLOW_LOG_H_
#define PENSTOCK_CLI_FOLLOW_LOG_H_

#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "cli/client.h"
#include "proto/coordinator.pb.h"

namespace penstock {

// Streams the log to `on_line`. If it is to be followed, a connection that breaks is made again, from the position
// after the last chunk that came.
// Args:    patience: how long without an answer before giving up; a first connection that fails is not retried.
// Errors:  as Jobs.Logs. Cancelled: by `canceller`. Unavailable: no answer within `patience`.
absl::Status FollowLog(Client* client, v1::LogsRequest request, absl::Duration patience, Canceller* canceller,
                       const std::function<void(const std::string& line)>& on_line);

}  // namespace penstock

#endif  // PENSTOCK_CLI_FOLLOW_LOG_H_
