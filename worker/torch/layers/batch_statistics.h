// A BatchNorm's moving averages: each micro-batch leaves its statistics, the mini-batch's are merged in micro-batch
// order and committed once, with the optimizer's update. Thread-compatible. Source: docs/models.md, "batch_norm"; Chan,
// Golub and LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances" (1979).
#ifndef PENSTOCK_WORKER_TORCH_LAYERS_BATCH_STATISTICS_H_
#define PENSTOCK_WORKER_TORCH_LAYERS_BATCH_STATISTICS_H_

#include <string>
#include <vector>

#include "worker/torch/torch.h"

namespace penstock {

class BatchStatistics {
 public:
  // Args: mean, variance: the moving averages [channels] float32, changed in place by Commit.
  BatchStatistics(at::Tensor mean, at::Tensor variance, double momentum)
      : mean_(std::move(mean)), variance_(std::move(variance)), momentum_(momentum) {}

  const at::Tensor& mean() const { return mean_; }
  const at::Tensor& variance() const { return variance_; }

  // Forgets what micro-batches have left; there will be `micro_batches`.
  void Begin(int micro_batches);

  // Statistics of one micro-batch: `count` values a channel, their mean and their unbiased variance [channels] float32.
  void Add(int micro_batch, int64_t count, const at::Tensor& mean, const at::Tensor& unbiased_variance);

  // One update of the moving averages, with the mini-batch's unbiased variance. Nothing when no micro-batch was added.
  void Commit();

 private:
  struct Moments {
    double count = 0;
    std::vector<double> mean;
    std::vector<double> m2;  // sum of squared distances from the mean
  };

  const at::Tensor mean_;
  const at::Tensor variance_;
  const double momentum_;
  std::vector<Moments> micro_batches_;
};

}  // namespace penstock

#endif  // PENSTOCK_WORKER_TORCH_LAYERS_BATCH_STATISTICS_H_
