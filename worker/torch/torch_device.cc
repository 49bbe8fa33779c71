#include "worker/torch/torch_device.h"

#include <cstdlib>
#include <functional>
#include <string>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/clock.h"
#include "common/status_macros.h"
#include "worker/device/device_memory.h"
#include "worker/torch/measure.h"
#include "worker/torch/self_test.h"
#include "worker/torch/torch.h"
#include "worker/torch/torch_rank.h"

namespace penstock {
namespace {

class TorchDevice final : public Device {
 public:
  TorchDevice(std::string name, std::unique_ptr<DeviceMemory> memory, std::string self_test)
      : name_(std::move(name)),
        memory_(std::move(memory)),
        self_test_(std::move(self_test)),
        fingerprint_(DescribeNumerics(name_)) {}

  std::string Name() const override { return name_; }
  uint64_t MemoryLimitBytes() const override { return memory_->LimitBytes(); }
  std::string SelfTestHash() const override { return self_test_; }
  std::string NumericFingerprint() const override { return fingerprint_; }

  absl::StatusOr<std::unique_ptr<LoadedRank>> Load(const v1::LoadRequest& request) override {
    PENSTOCK_ASSIGN_OR_RETURN(std::unique_ptr<TorchRank> rank,
                              TorchRank::Load(request, at::Device(name_), memory_.get(), Clock::Real()));
    return rank;
  }

  absl::StatusOr<v1::MeasuredCosts> Measure(const v1::MeasureRequest& request,
                                            const std::function<bool()>& cancelled) override {
    return MeasureCosts(request, name_, memory_.get(), Clock::Real(), cancelled);
  }

 private:
  const std::string name_;
  const std::unique_ptr<DeviceMemory> memory_;
  const std::string self_test_;
  const std::string fingerprint_;
};

absl::StatusOr<std::unique_ptr<DeviceMemory>> OpenMemory(absl::string_view name, uint64_t limit_bytes) {
  if (name == "cpu") return OpenCpuMemory(limit_bytes);
  absl::string_view number = name;
  int index = 0;
  if (!absl::ConsumePrefix(&number, "cuda:") || !absl::SimpleAtoi(number, &index) || index < 0 ||
      number != absl::StrCat(index)) {
    return absl::InvalidArgumentError(absl::StrCat("'", name, "' is not a device: use cpu, or cuda:N with N from 0"));
  }
  return OpenCudaMemory(index, limit_bytes);
}

}  // namespace

void PrepareTorch() {
  // MKL reads it at its first call; without it a product's bits depend on the address of its operands.
  setenv("MKL_CBWR", "AUTO", /*overwrite=*/1);
  // cuBLAS has no deterministic workspace unless told.
  setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8", /*overwrite=*/1);
  InstallCpuAllocator();
  at::set_num_threads(1);
  at::set_num_interop_threads(1);
  at::Context& context = at::globalContext();
  context.setDeterministicAlgorithms(/*value=*/true, /*warn_only=*/false);
  // The flag would also fill every new tensor with NaN; no operator here reads what it has not written.
  context.setDeterministicFillUninitializedMemory(false);
  context.setFloat32MatmulPrecision("highest");
}

absl::StatusOr<std::unique_ptr<Device>> OpenTorchDevice(absl::string_view name, uint64_t memory_limit_bytes) {
  PENSTOCK_ASSIGN_OR_RETURN(std::unique_ptr<DeviceMemory> memory, OpenMemory(name, memory_limit_bytes));
  PENSTOCK_ASSIGN_OR_RETURN(std::string self_test, RunSelfTest(name));
  return std::make_unique<TorchDevice>(std::string(name), std::move(memory), std::move(self_test));
}

}  // namespace penstock
