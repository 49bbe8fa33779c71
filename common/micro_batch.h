// How a mini-batch is cut into micro-batches. Pure.
#ifndef PENSTOCK_COMMON_MICRO_BATCH_H_
#define PENSTOCK_COMMON_MICRO_BATCH_H_

#include <cstdint>

namespace penstock {

// Samples [begin, end) of the mini-batch.
struct SampleRange {
  int64_t begin = 0;
  int64_t end = 0;
  int64_t size() const { return end - begin; }
};

// Micro-batch `index` of `count`: sizes differ by at most 1, larger first. Each counts in the loss by its share
// size / batch, so that an uneven tail is exact.
// REQUIRES: 1 <= count <= batch, 0 <= index < count.
inline SampleRange MicroBatch(int64_t batch, int64_t count, int64_t index) {
  const int64_t small = batch / count, larger = batch % count;
  const int64_t begin = index * small + (index < larger ? index : larger);
  return {begin, begin + small + (index < larger ? 1 : 0)};
}

}  // namespace penstock

#endif  // PENSTOCK_COMMON_MICRO_BATCH_H_
