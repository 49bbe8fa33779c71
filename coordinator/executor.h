// A thread that runs what it is given, one after another, in order: the coordinator's disk work. Thread-safe.
#ifndef PENSTOCK_COORDINATOR_EXECUTOR_H_
#define PENSTOCK_COORDINATOR_EXECUTOR_H_

#include <cstddef>
#include <deque>
#include <functional>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace penstock {

class Executor {
 public:
  Executor();
  // Runs what is left, then ends the thread.
  ~Executor();

  // Queues work that must be done. Never blocks.
  void Post(std::function<void()> work);
  // Queues work that may be left out: false where the queue is long, which bounds what a slow disk can pile up.
  bool TryPost(std::function<void()> work);
  // Returns once all that was posted before has run. Not from the executor's own thread.
  void Flush();

 private:
  void Loop();

  absl::Mutex mu_;
  std::deque<std::function<void()>> queue_ ABSL_GUARDED_BY(mu_);
  bool running_ ABSL_GUARDED_BY(mu_) = false;
  bool ending_ ABSL_GUARDED_BY(mu_) = false;
  std::thread thread_;
};

}  // namespace penstock

#endif  // PENSTOCK_COORDINATOR_EXECUTOR_H_
