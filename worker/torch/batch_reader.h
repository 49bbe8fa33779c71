// Reads a pass's micro-batches as tensors. Thread-compatible.
#ifndef PENSTOCK_WORKER_TORCH_BATCH_READER_H_
#define PENSTOCK_WORKER_TORCH_BATCH_READER_H_

#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto/job.pb.h"
#include "worker/data/dataset.h"
#include "worker/runtime/stage_runner.h"
#include "worker/torch/torch.h"

namespace penstock {

class BatchReader {
 public:
  // Opens the job's training data, and its evaluation data if it has any. A spec whose data.train has no path only
  // generates: nothing is opened.
  // Args:    micro_batches: the plan's. classes: as DataSource::Open.
  // Errors:  as DataSource::Open.
  static absl::StatusOr<BatchReader> Open(const v1::JobSpec& spec, int64_t micro_batches, int64_t classes);

  // Mini-batches of evaluation data; 0 without any.
  int64_t eval_batches() const { return eval_ == nullptr ? 0 : EvalBatches(batch_size_, eval_->samples()); }

  // The training data, as they were when opened; no files: there are none.
  const v1::DataIdentity& identity() const { return identity_; }

  // Chooses the pass's samples. Generation has its tokens in the pass.
  // Errors: FailedPrecondition: training or evaluation without such data. InvalidArgument: no such evaluation batch.
  absl::Status BeginPass(const Pass& pass);

  // [samples, ...] of a micro-batch of the pass, on the CPU.
  // Errors: as DataSource::Read.
  absl::StatusOr<at::Tensor> Inputs(int micro_batch) const { return Read(micro_batch, /*targets=*/false); }
  // REQUIRES: not generation.
  absl::StatusOr<at::Tensor> Targets(int micro_batch) const { return Read(micro_batch, /*targets=*/true); }

 private:
  BatchReader() = default;
  absl::StatusOr<at::Tensor> Read(int micro_batch, bool targets) const;

  uint64_t seed_ = 0;
  int64_t batch_size_ = 0;
  int64_t micro_batches_ = 0;
  bool sequential_ = false;
  std::unique_ptr<DataSource> train_;  // null: none
  std::unique_ptr<DataSource> eval_;   // null: none
  v1::DataIdentity identity_;
  const DataSource* source_ = nullptr;  // the pass's; null: generation
  std::vector<SampleRef> samples_;
  std::vector<int64_t> tokens_;  // generation
};

}  // namespace penstock

#endif  // PENSTOCK_WORKER_TORCH_BATCH_READER_H_
