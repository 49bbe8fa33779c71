#include "cli/follow_log.h"

#include "common/clock.h"

namespace penstock {
namespace {

constexpr absl::Duration kRetryEvery = absl::Milliseconds(500);

}  // namespace

absl::Status FollowLog(Client* client, v1::LogsRequest request, absl::Duration patience, Canceller* canceller,
                       const std::function<void(const std::string& line)>& on_line) {
  Clock* const clock = Clock::Real();
  bool connected = false;
  absl::Duration heard_at = clock->Monotonic();
  while (true) {
    const absl::Status status = client->Logs(request, canceller, [&](const v1::LogChunk& chunk) {
      connected = true;
      heard_at = clock->Monotonic();
      for (const std::string& line : chunk.lines()) on_line(line);
      request.set_from(chunk.next());
      return true;
    });
    const bool worth_a_try = absl::IsUnavailable(status) && connected && request.follow();
    if (!worth_a_try || clock->Monotonic() - heard_at >= patience) return status;
    clock->Sleep(kRetryEvery);
  }
}

}  // namespace penstock
