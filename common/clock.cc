#include "common/clock.h"

#include <algorithm>
#include <chrono>

#include "absl/time/clock.h"

namespace penstock {
namespace {

class RealClock final : public Clock {
 public:
  absl::Duration Monotonic() const override {
    return absl::FromChrono(std::chrono::steady_clock::now().time_since_epoch());
  }
  absl::Time Wall() const override { return absl::Now(); }
  bool AwaitUntil(absl::Mutex* mu, const absl::Condition& condition, absl::Duration deadline) override {
    return mu->AwaitWithTimeout(condition, std::max(deadline - Monotonic(), absl::ZeroDuration()));
  }
  void Sleep(absl::Duration duration) override { absl::SleepFor(duration); }
};

}  // namespace

void Clock::SleepExactly(absl::Duration duration) {
  constexpr absl::Duration kWatch = absl::Microseconds(200);
  const absl::Duration end = Monotonic() + duration;
  if (duration > kWatch) Sleep(duration - kWatch);
  while (Monotonic() < end) {
  }
}

Clock* Clock::Real() {
  static RealClock* const clock = new RealClock;
  return clock;
}

}  // namespace penstock
