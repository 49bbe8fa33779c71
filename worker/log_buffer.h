// What this worker says about jobs: to its own log at once, and to the coordinator with the next heartbeat.
// Thread-safe.
#ifndef PENSTOCK_WORKER_LOG_BUFFER_H_
#define PENSTOCK_WORKER_LOG_BUFFER_H_

#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "common/clock.h"
#include "proto/coordinator.pb.h"
#include "worker/runtime/job_log.h"

namespace penstock {

class LogBuffer final : public JobLog {
 public:
  explicit LogBuffer(Clock* clock) : clock_(clock) {}

  // Keeps at most limits::kMaxPendingLogLines; the oldest go first, and a line says how many went.
  void Write(const std::string& job, int rank, absl::string_view text) override ABSL_LOCKS_EXCLUDED(mu_);

  // Takes every pending line, oldest first, at most limits::kMaxLogLinesPerHeartbeat.
  std::vector<v1::LogLine> Take() ABSL_LOCKS_EXCLUDED(mu_);

 private:
  Clock* const clock_;
  absl::Mutex mu_;
  std::deque<v1::LogLine> pending_ ABSL_GUARDED_BY(mu_);
  uint64_t lost_ ABSL_GUARDED_BY(mu_) = 0;
};

}  // namespace penstock

#endif  // PENSTOCK_WORKER_LOG_BUFFER_H_
