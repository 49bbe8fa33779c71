#include "worker/data/batch.h"

#include <bit>

#include "common/logging.h"

namespace penstock {

std::vector<SampleRef> TrainBatch(uint64_t seed, uint64_t step, int64_t batch_size, int64_t samples, bool sequential) {
  CHECK(step >= 1 && batch_size >= 1 && samples >= 1);
  const uint64_t size = static_cast<uint64_t>(samples);
  std::vector<SampleRef> batch;
  batch.reserve(static_cast<size_t>(batch_size));
  uint64_t place = (step - 1) * static_cast<uint64_t>(batch_size);
  const uint64_t end = place + static_cast<uint64_t>(batch_size);
  while (place < end) {
    const uint64_t epoch = place / size;
    const uint64_t epoch_end = (epoch + 1) * size;
    if (sequential) {
      for (; place < end && place < epoch_end; ++place) batch.push_back({static_cast<int64_t>(place % size)});
      continue;
    }
    const Permutation order(seed, epoch, size);
    for (; place < end && place < epoch_end; ++place) {
      batch.push_back({static_cast<int64_t>(order.At(place % size))});
    }
  }
  return batch;
}

int64_t EvalBatches(int64_t batch_size, int64_t samples) { return (samples + batch_size - 1) / batch_size; }

std::vector<SampleRef> EvalBatch(int64_t batch, int64_t batch_size, int64_t samples) {
  CHECK(batch >= 0 && batch_size >= 1 && batch < EvalBatches(batch_size, samples));
  std::vector<SampleRef> refs;
  refs.reserve(static_cast<size_t>(batch_size));
  for (int64_t i = batch * batch_size; i < (batch + 1) * batch_size; ++i) refs.push_back({i % samples, i < samples});
  return refs;
}

Permutation::Permutation(uint64_t seed, uint64_t epoch, uint64_t size)
    : size_(size), half_bits_((std::bit_width(size - 1) + 1) / 2), half_mask_((uint64_t{1} << half_bits_) - 1) {
  CHECK_GE(size, 1u);
  rounds_.reserve(kRounds);
  for (int round = 0; round < kRounds; ++round) rounds_.emplace_back(seed, "data.order", epoch, round);
}

uint64_t Permutation::Encrypt(uint64_t value) const {
  uint64_t left = value >> half_bits_, right = value & half_mask_;
  for (const Philox& round : rounds_) {
    const uint64_t mixed = left ^ (round.Block(right)[0] & half_mask_);
    left = right;
    right = mixed;
  }
  return left << half_bits_ | right;
}

uint64_t Permutation::At(uint64_t index) const {
  // The walk stays on a cycle of the larger permutation that passes through [0, size): it comes back into it. The
  // larger domain has less than 4 * size elements, so that takes fewer than 4 turns on average.
  do {
    index = Encrypt(index);
  } while (index >= size_);
  return index;
}

}  // namespace penstock
