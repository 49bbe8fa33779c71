#include "coordinator/executor.h"

#include <utility>

namespace penstock {
namespace {

// Log batches of about a minute, from a cluster of a hundred workers that all log at each heartbeat.
constexpr size_t kMaxOptional = 30000;

}  // namespace

Executor::Executor() : thread_([this] { Loop(); }) {}

Executor::~Executor() {
  {
    absl::MutexLock lock(&mu_);
    ending_ = true;
  }
  thread_.join();
}

void Executor::Post(std::function<void()> work) {
  absl::MutexLock lock(&mu_);
  queue_.push_back(std::move(work));
}

bool Executor::TryPost(std::function<void()> work) {
  absl::MutexLock lock(&mu_);
  if (queue_.size() >= kMaxOptional) return false;
  queue_.push_back(std::move(work));
  return true;
}

void Executor::Flush() {
  absl::MutexLock lock(&mu_);
  const auto idle = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return queue_.empty() && !running_; };
  mu_.Await(absl::Condition(&idle));
}

void Executor::Loop() {
  while (true) {
    std::function<void()> work;
    {
      absl::MutexLock lock(&mu_);
      running_ = false;
      const auto due = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return ending_ || !queue_.empty(); };
      mu_.Await(absl::Condition(&due));
      if (queue_.empty()) return;
      work = std::move(queue_.front());
      queue_.pop_front();
      running_ = true;
    }
    work();
  }
}

}  // namespace penstock
