// A device without arithmetic, for tests of the runtime: its ranks check the order of calls and fill boundary tensors
// with bytes that tell which tensor they are, so that the receiver can verify them. Testonly.
// FakeDevice is thread-safe; its ranks are thread-compatible.
#ifndef PENSTOCK_WORKER_RUNTIME_FAKE_RANK_H_
#define PENSTOCK_WORKER_RUNTIME_FAKE_RANK_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "common/action.h"
#include "worker/runtime/stage_runner.h"

namespace penstock {

class FakeDevice final : public Device {
 public:
  // Called before each compute action; an error fails it, blocking delays it.
  using BeforeAction = std::function<absl::Status(const Pass& pass, const Action& action)>;

  explicit FakeDevice(BeforeAction before = nullptr) : before_(std::move(before)) {}

  std::string Name() const override { return "cpu"; }
  uint64_t MemoryLimitBytes() const override { return 0; }
  std::string SelfTestHash() const override { return "fake"; }
  std::string NumericFingerprint() const override { return "no arithmetic"; }
  absl::StatusOr<std::unique_ptr<LoadedRank>> Load(const v1::LoadRequest& request) override;
  // 1 us for each part of each layer.
  absl::StatusOr<v1::MeasuredCosts> Measure(const v1::MeasureRequest& request,
                                            const std::function<bool()>& cancelled) override;

  // Ranks that have been loaded and not been freed yet.
  int live_ranks() const { return *live_; }

 private:
  const BeforeAction before_;
  const std::shared_ptr<std::atomic<int>> live_ = std::make_shared<std::atomic<int>>(0);
};

// The bytes of a boundary tensor: a sequence that depends on the whole key.
void FillPattern(const BoundaryKey& key, char* data, size_t bytes);
bool HasPattern(const BoundaryKey& key, const char* data, size_t bytes);

}  // namespace penstock

#endif  // PENSTOCK_WORKER_RUNTIME_FAKE_RANK_H_
