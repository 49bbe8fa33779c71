// Which samples make up a mini-batch: a function of (seed, step) alone, so that every process, restart and plan
// sees the same data. Pure.
// Source: docs/training.md, "Batches".
#ifndef PENSTOCK_WORKER_DATA_BATCH_H_
#define PENSTOCK_WORKER_DATA_BATCH_H_

#include <cstdint>
#include <vector>

#include "common/philox.h"

namespace penstock {

// One place of a mini-batch.
struct SampleRef {
  int64_t index = 0;    // of the sample in the data
  bool counted = true;  // false: padding; its targets must not count

  friend bool operator==(const SampleRef&, const SampleRef&) = default;
};

// The samples of training step `step` (from 1), in order; MicroBatch() cuts them.
// Shuffled: each epoch is a permutation of all samples, none left out or repeated; a batch may span two epochs.
// Sequential: sample (step - 1) * batch_size + i, wrapping at `samples`.
// REQUIRES: step >= 1, batch_size >= 1, samples >= 1.
std::vector<SampleRef> TrainBatch(uint64_t seed, uint64_t step, int64_t batch_size, int64_t samples, bool sequential);

// Mini-batches that cover `samples` once: ceil(samples / batch_size).
int64_t EvalBatches(int64_t batch_size, int64_t samples);

// The samples of evaluation batch `batch` (from 0): [batch * batch_size, …) in order. Past the end it wraps, and those
// samples are not counted, so that shapes stay constant.
// REQUIRES: 0 <= batch < EvalBatches(batch_size, samples).
std::vector<SampleRef> EvalBatch(int64_t batch, int64_t batch_size, int64_t samples);

// A pseudo-random permutation of [0, size) that computes any element by itself, in O(1): a Feistel network over the
// next power of four, walked until it falls inside.
// Source: Black and Rogaway, "Ciphers with arbitrary finite domains" (CT-RSA 2002).
class Permutation {
 public:
  // REQUIRES: size >= 1.
  Permutation(uint64_t seed, uint64_t epoch, uint64_t size);

  // REQUIRES: index < size.
  uint64_t At(uint64_t index) const;

 private:
  // Four rounds make a Feistel network a strong pseudo-random permutation; two more since the halves are small here.
  static constexpr int kRounds = 6;

  uint64_t Encrypt(uint64_t value) const;

  uint64_t size_;
  int half_bits_;
  uint64_t half_mask_;
  std::vector<Philox> rounds_;
};

}  // namespace penstock

#endif  // PENSTOCK_WORKER_DATA_BATCH_H_
