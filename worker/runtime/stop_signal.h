// One reason to stop, seen by everything that waits. The first reason wins. Thread-safe.
#ifndef PENSTOCK_WORKER_RUNTIME_STOP_SIGNAL_H_
#define PENSTOCK_WORKER_RUNTIME_STOP_SIGNAL_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"

namespace penstock {

class StopSignal {
 public:
  using Callback = std::function<void(const absl::Status& why)>;

  // Takes the callback back. When its destructor has returned, the callback is not running and will not run.
  class Registration {
   public:
    Registration(StopSignal* signal, uint64_t id) : signal_(signal), id_(id) {}
    ~Registration();
    Registration(const Registration&) = delete;
    Registration& operator=(const Registration&) = delete;

   private:
    StopSignal* const signal_;
    const uint64_t id_;
  };

  // Records the reason and runs every callback, on this thread. Later calls do nothing.
  // REQUIRES: !why.ok()
  void Stop(const absl::Status& why) ABSL_LOCKS_EXCLUDED(mu_);

  // OK until Stop.
  absl::Status status() const ABSL_LOCKS_EXCLUDED(mu_);

  // Runs `callback` at Stop, or now if that has been. It must neither block nor call this signal.
  [[nodiscard]] std::unique_ptr<Registration> OnStop(Callback callback) ABSL_LOCKS_EXCLUDED(mu_);

 private:
  mutable absl::Mutex mu_;  // held while callbacks run, so that ~Registration waits for them
  absl::Status status_ ABSL_GUARDED_BY(mu_);
  uint64_t next_id_ ABSL_GUARDED_BY(mu_) = 0;
  std::map<uint64_t, Callback> callbacks_ ABSL_GUARDED_BY(mu_);
};

}  // namespace penstock

#endif  // PENSTOCK_WORKER_RUNTIME_STOP_SIGNAL_H_
