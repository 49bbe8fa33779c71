// Ranks that compute nothing: they let the time of their delay layers pass, send tensors of the plan's sizes over the
// links that training uses, and drop what they receive, so that what a pass takes beyond the delays its links take.
// Thread-safe; its ranks are thread-compatible. Source: docs/schedules.md, "Measured costs".
#ifndef PENSTOCK_WORKER_RUNTIME_PROBE_DEVICE_H_
#define PENSTOCK_WORKER_RUNTIME_PROBE_DEVICE_H_

#include "common/clock.h"
#include "worker/runtime/stage_runner.h"
#include "worker/runtime/step_committer.h"

namespace penstock {

class ProbeDevice final : public Device {
 public:
  explicit ProbeDevice(Clock* clock) : clock_(clock) {}

  std::string Name() const override { return "probe"; }
  uint64_t MemoryLimitBytes() const override { return 0; }
  std::string SelfTestHash() const override { return ""; }
  std::string NumericFingerprint() const override { return ""; }
  absl::StatusOr<std::unique_ptr<LoadedRank>> Load(const v1::LoadRequest& request) override;
  absl::StatusOr<v1::MeasuredCosts> Measure(const v1::MeasureRequest& request,
                                            const std::function<bool()>& cancelled) override;

 private:
  Clock* const clock_;
};

// Says yes to every step: a probe's passes change nothing, so that nobody has to decide on them.
class ProbeCommitter final : public StepCommitter {
 public:
  absl::StatusOr<v1::StepDecision> Commit(const v1::StepVote& vote, StopSignal* stop) override;
};

}  // namespace penstock

#endif  // PENSTOCK_WORKER_RUNTIME_PROBE_DEVICE_H_
