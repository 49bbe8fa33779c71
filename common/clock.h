// Time, so that a test can turn it: nothing else in the project reads a clock. Thread-safe.
#ifndef PENSTOCK_COMMON_CLOCK_H_
#define PENSTOCK_COMMON_CLOCK_H_

#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace penstock {

class Clock {
 public:
  virtual ~Clock() = default;

  // Monotonic time since an arbitrary start; for durations and deadlines. Unaffected by wall clock jumps.
  virtual absl::Duration Monotonic() const = 0;

  // Wall time; for people and file names only.
  virtual absl::Time Wall() const = 0;

  // Waits until `condition` holds or `deadline` (on Monotonic()) has passed. Returns whether it holds.
  // REQUIRES: *mu held.
  virtual bool AwaitUntil(absl::Mutex* mu, const absl::Condition& condition, absl::Duration deadline) = 0;

  // Returns after `duration`. Thread that calls it blocks.
  virtual void Sleep(absl::Duration duration) = 0;

  // Returns when `duration` has passed, to a few microseconds: sleeps, then watches the clock for the last 0.2 ms, by
  // which a sleeping thread may wake too late.
  void SleepExactly(absl::Duration duration);

  // The process's clock. Never null.
  static Clock* Real();
};

}  // namespace penstock

#endif  // PENSTOCK_COMMON_CLOCK_H_
