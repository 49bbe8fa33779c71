#include "worker/runtime/stop_signal.h"

#include <utility>

#include "common/logging.h"

namespace penstock {

StopSignal::Registration::~Registration() {
  absl::MutexLock lock(&signal_->mu_);
  signal_->callbacks_.erase(id_);
}

void StopSignal::Stop(const absl::Status& why) {
  CHECK(!why.ok());
  absl::MutexLock lock(&mu_);
  if (!status_.ok()) return;
  status_ = why;
  for (auto& [id, callback] : callbacks_) callback(status_);
}

absl::Status StopSignal::status() const {
  absl::MutexLock lock(&mu_);
  return status_;
}

std::unique_ptr<StopSignal::Registration> StopSignal::OnStop(Callback callback) {
  absl::MutexLock lock(&mu_);
  if (!status_.ok()) callback(status_);
  const uint64_t id = next_id_++;
  callbacks_.emplace(id, std::move(callback));
  return std::make_unique<Registration>(this, id);
}

}  // namespace penstock
