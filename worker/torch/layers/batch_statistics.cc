#include "worker/torch/layers/batch_statistics.h"

#include <utility>

namespace penstock {

void BatchStatistics::Begin(int micro_batches) {
  micro_batches_.clear();
  micro_batches_.resize(micro_batches);
}

void BatchStatistics::Add(int micro_batch, int64_t count, const at::Tensor& mean, const at::Tensor& unbiased_variance) {
  const at::Tensor host_mean = mean.cpu(), host_variance = unbiased_variance.cpu();
  const float* means = host_mean.const_data_ptr<float>();
  const float* variances = host_variance.const_data_ptr<float>();
  Moments& moments = micro_batches_[micro_batch];
  moments.count = static_cast<double>(count);
  moments.mean.assign(means, means + host_mean.numel());
  moments.m2.resize(host_mean.numel());
  for (size_t c = 0; c < moments.m2.size(); ++c) {
    // A single value has no spread; torch's unbiased variance of it is not a number.
    moments.m2[c] = count > 1 ? static_cast<double>(variances[c]) * static_cast<double>(count - 1) : 0;
  }
}

void BatchStatistics::Commit() {
  Moments total;
  for (const Moments& part : micro_batches_) {
    if (part.count == 0) continue;
    if (total.count == 0) {
      total = part;
      continue;
    }
    const double count = total.count + part.count;
    for (size_t c = 0; c < total.mean.size(); ++c) {
      const double delta = part.mean[c] - total.mean[c];
      total.mean[c] += delta * part.count / count;
      total.m2[c] += part.m2[c] + delta * delta * total.count * part.count / count;
    }
    total.count = count;
  }
  micro_batches_.clear();
  if (total.count < 2) return;
  at::Tensor mean = mean_.cpu(), variance = variance_.cpu();
  float* means = mean.mutable_data_ptr<float>();
  float* variances = variance.mutable_data_ptr<float>();
  for (size_t c = 0; c < total.mean.size(); ++c) {
    means[c] = static_cast<float>((1 - momentum_) * means[c] + momentum_ * total.mean[c]);
    variances[c] = static_cast<float>((1 - momentum_) * variances[c] + momentum_ * total.m2[c] / (total.count - 1));
  }
  if (!mean_.is_same(mean)) mean_.copy_(mean);
  if (!variance_.is_same(variance)) variance_.copy_(variance);
}

}  // namespace penstock
