// Stateless random numbers: Philox 4x32-10 keyed by what the number is for. The same key and index give the same
// bits on every process, in any order. Pure.
// Source: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3" (SC 2011).
#ifndef PENSTOCK_COMMON_PHILOX_H_
#define PENSTOCK_COMMON_PHILOX_H_

#include <array>
#include <cstddef>
#include <cstdint>

#include "absl/strings/string_view.h"

namespace penstock {

// The bijection itself: ten rounds of Philox 4x32. Words as the paper and Random123 order them.
std::array<uint32_t, 4> Philox4x32(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key);

// A stream of random numbers. Number i of the stream depends on (key, i) alone.
class Philox {
 public:
  // Keyed by what the stream is for; pass every part that must change it.
  // Dropout: (seed, "layer.name", step, micro_batch). Initial values: (seed, "parameter.name", 0, 0).
  Philox(uint64_t seed, absl::string_view name, uint64_t a = 0, uint64_t b = 0);

  // Block `index`: four 32-bit words.
  std::array<uint32_t, 4> Block(uint64_t index) const;

  // out[i] in [0, 1), i < count, from the stream's start.
  void Uniform(float* out, size_t count) const;

  // out[i] ~ N(0, 1), i < count (Box-Muller over pairs of uniforms, computed in double).
  void Normal(float* out, size_t count) const;

  // out[i] = scale with probability 1 - p, else 0; for dropout, scale = 1 / (1 - p). 0 <= p < 1.
  void DropoutMask(float* out, size_t count, double p) const;

  // An integer in [0, bound) for index i. REQUIRES: bound >= 1.
  uint64_t Below(uint64_t bound, uint64_t index) const;

 private:
  std::array<uint32_t, 2> key_;
  std::array<uint32_t, 2> high_;  // the upper half of the counter
};

}  // namespace penstock

#endif  // PENSTOCK_COMMON_PHILOX_H_
