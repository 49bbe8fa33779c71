// A clock that stands still until a test turns it. Thread-safe.
#ifndef PENSTOCK_COMMON_FAKE_CLOCK_H_
#define PENSTOCK_COMMON_FAKE_CLOCK_H_

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/clock.h"

namespace penstock {

class FakeClock final : public Clock {
 public:
  absl::Duration Monotonic() const override;
  absl::Time Wall() const override;
  // Waits in real time until the condition holds or Advance() has passed the deadline.
  bool AwaitUntil(absl::Mutex* mu, const absl::Condition& condition, absl::Duration deadline) override;
  // Waits until Advance() has moved the clock by `duration`.
  void Sleep(absl::Duration duration) override;

  void Advance(absl::Duration duration);

 private:
  mutable absl::Mutex mu_;
  absl::Duration now_ ABSL_GUARDED_BY(mu_) = absl::Seconds(1000);
};

}  // namespace penstock

#endif  // PENSTOCK_COMMON_FAKE_CLOCK_H_
