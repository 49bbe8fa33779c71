#include "worker/torch/batch_reader.h"

#include <utility>

#include "common/data/identity.h"
#include "common/micro_batch.h"
#include "common/status_macros.h"
#include "worker/data/batch.h"

namespace penstock {
namespace {

at::ScalarType TorchType(v1::DType dtype) {
  CHECK(dtype == v1::DTYPE_INT64 || dtype == v1::DTYPE_FLOAT32) << v1::DType_Name(dtype);
  return dtype == v1::DTYPE_INT64 ? at::kLong : at::kFloat;
}

}  // namespace

absl::StatusOr<BatchReader> BatchReader::Open(const v1::JobSpec& spec, int64_t micro_batches, int64_t classes) {
  BatchReader reader;
  reader.seed_ = spec.train().seed();
  reader.batch_size_ = spec.train().batch_size();
  reader.micro_batches_ = micro_batches;
  reader.sequential_ = spec.data().sequential();
  if (spec.data().train().path().empty()) return reader;
  PENSTOCK_ASSIGN_OR_RETURN(reader.train_, DataSource::Open(spec, DataPart::kTrain, classes));
  PENSTOCK_ASSIGN_OR_RETURN(reader.identity_, IdentityOf(spec.data()));
  reader.identity_.set_samples(static_cast<uint64_t>(reader.train_->samples()));
  if (spec.data().has_eval()) {
    PENSTOCK_ASSIGN_OR_RETURN(reader.eval_, DataSource::Open(spec, DataPart::kEval, classes));
  }
  return reader;
}

absl::Status BatchReader::BeginPass(const Pass& pass) {
  samples_.clear();
  tokens_.clear();
  source_ = nullptr;
  switch (pass.mode) {
    case v1::PASS_TRAIN:
      if (train_ == nullptr) return absl::FailedPreconditionError("the job was loaded without its training data");
      source_ = train_.get();
      samples_ = TrainBatch(seed_, pass.step, batch_size_, source_->samples(), sequential_);
      return absl::OkStatus();
    case v1::PASS_EVAL: {
      if (eval_ == nullptr) return absl::FailedPreconditionError("the job has no evaluation data (data.eval)");
      if (pass.step >= static_cast<uint64_t>(eval_batches())) {
        return absl::InvalidArgumentError(
            absl::StrCat("no evaluation batch ", pass.step, ": the data has ", eval_batches(), ", counted from 0"));
      }
      source_ = eval_.get();
      samples_ = EvalBatch(pass.step, batch_size_, source_->samples());
      return absl::OkStatus();
    }
    default:
      tokens_ = pass.tokens;
      return absl::OkStatus();
  }
}

absl::StatusOr<at::Tensor> BatchReader::Read(int micro_batch, bool targets) const {
  if (source_ == nullptr) {
    at::Tensor tokens = at::empty({1, static_cast<int64_t>(tokens_.size())}, at::kLong);
    std::copy(tokens_.begin(), tokens_.end(), tokens.mutable_data_ptr<int64_t>());
    return tokens;
  }
  const SampleRange range = MicroBatch(batch_size_, micro_batches_, micro_batch);
  const SampleLayout& layout = source_->layout();
  std::vector<int64_t> shape = targets ? layout.target_shape : layout.input_shape;
  shape.insert(shape.begin(), range.size());
  at::Tensor tensor = at::empty(shape, TorchType(targets ? layout.target_dtype : layout.input_dtype));
  char* out = static_cast<char*>(tensor.mutable_data_ptr());
  const absl::Span<const SampleRef> samples = absl::MakeConstSpan(samples_).subspan(range.begin, range.size());
  PENSTOCK_RETURN_IF_ERROR(source_->Read(samples, targets ? nullptr : out, targets ? out : nullptr));
  return tensor;
}

}  // namespace penstock
