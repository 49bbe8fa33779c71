#include "common/fake_clock.h"

#include "absl/time/time.h"

namespace penstock {
namespace {
// How often a waiter looks whether the test has turned the clock: absl::Condition cannot watch two mutexes.
constexpr absl::Duration kPoll = absl::Milliseconds(1);
}  // namespace

absl::Duration FakeClock::Monotonic() const {
  absl::MutexLock lock(&mu_);
  return now_;
}

absl::Time FakeClock::Wall() const { return absl::UnixEpoch() + Monotonic(); }

bool FakeClock::AwaitUntil(absl::Mutex* mu, const absl::Condition& condition, absl::Duration deadline) {
  while (Monotonic() < deadline) {
    if (mu->AwaitWithTimeout(condition, kPoll)) return true;
  }
  return condition.Eval();
}

void FakeClock::Sleep(absl::Duration duration) {
  absl::MutexLock lock(&mu_);
  const absl::Duration until = now_ + duration;
  const auto reached = [this, until] { mu_.AssertReaderHeld(); return now_ >= until; };
  mu_.Await(absl::Condition(&reached));
}

void FakeClock::Advance(absl::Duration duration) {
  absl::MutexLock lock(&mu_);
  now_ += duration;
}

}  // namespace penstock
