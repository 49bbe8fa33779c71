#include "coordinator/worker_lease.h"

#include <algorithm>
#include <utility>

namespace penstock {

WorkerLease::WorkerLease(std::string name, std::vector<WorkerHandle> workers,
                         std::vector<std::shared_ptr<WorkerClient>> clients, std::function<void()> release)
    : name_(std::move(name)),
      workers_(std::move(workers)),
      clients_(std::move(clients)),
      release_(std::move(release)) {}

WorkerLease::~WorkerLease() { release_(); }

std::shared_ptr<WorkerCall> WorkerLease::NewCall() {
  auto call = std::make_shared<WorkerCall>();
  absl::MutexLock lock(&mu_);
  calls_.erase(std::remove_if(calls_.begin(), calls_.end(), [](const auto& c) { return c.expired(); }), calls_.end());
  calls_.push_back(call);
  if (!status_.ok()) call->Cancel();  // not started yet, so this runs no callback
  return call;
}

void WorkerLease::Lose(const absl::Status& status) {
  std::vector<std::weak_ptr<WorkerCall>> calls;
  {
    absl::MutexLock lock(&mu_);
    status_.Update(status);
    calls.swap(calls_);
  }
  for (const auto& weak : calls) {
    if (const std::shared_ptr<WorkerCall> call = weak.lock()) call->Cancel();
  }
}

absl::Status WorkerLease::status() {
  absl::MutexLock lock(&mu_);
  return status_;
}

}  // namespace penstock
