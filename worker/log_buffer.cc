#include "worker/log_buffer.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/limits.h"
#include "common/logging.h"

namespace penstock {

void LogBuffer::Write(const std::string& job, int rank, absl::string_view text) {
  LOG(INFO) << job << " rank " << rank << ": " << text;
  v1::LogLine line;
  line.set_job(job);
  line.set_rank(static_cast<uint32_t>(rank));
  line.set_unix_ms(absl::ToUnixMillis(clock_->Wall()));
  line.set_text(std::string(text));
  absl::MutexLock lock(&mu_);
  if (pending_.size() == limits::kMaxPendingLogLines) {
    pending_.pop_front();
    ++lost_;
  }
  pending_.push_back(std::move(line));
}

std::vector<v1::LogLine> LogBuffer::Take() {
  absl::MutexLock lock(&mu_);
  std::vector<v1::LogLine> lines;
  if (lost_ > 0) {
    v1::LogLine line = pending_.front();
    line.set_text(absl::StrCat(lost_, " earlier lines were dropped: the coordinator did not take them in time"));
    lines.push_back(std::move(line));
    lost_ = 0;
  }
  const size_t count = std::min(pending_.size(), limits::kMaxLogLinesPerHeartbeat);
  std::move(pending_.begin(), pending_.begin() + static_cast<std::ptrdiff_t>(count), std::back_inserter(lines));
  pending_.erase(pending_.begin(), pending_.begin() + static_cast<std::ptrdiff_t>(count));
  return lines;
}

}  // namespace penstock
