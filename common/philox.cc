#include "common/philox.h"

#include <xxhash.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <string>

#include "common/logging.h"

namespace penstock {
namespace {

// Counters that run side by side, so that the compiler can keep them in vector registers.
constexpr size_t kLanes = 8;
// Words that one round of lanes yields.
constexpr size_t kWords = 4 * kLanes;

// The constants of Salmon et al., table 2.
constexpr uint32_t kMultiplier0 = 0xD2511F53, kMultiplier1 = 0xCD9E8D57;
constexpr uint32_t kWeyl0 = 0x9E3779B9, kWeyl1 = 0xBB67AE85;
constexpr int kRounds = 10;

// words[4 * l + w] = word w of the block with counter (first + l, high); l < kLanes.
void Blocks(const std::array<uint32_t, 2>& key, const std::array<uint32_t, 2>& high, uint64_t first, uint32_t* words) {
  uint32_t c0[kLanes], c1[kLanes], c2[kLanes], c3[kLanes];
  for (size_t l = 0; l < kLanes; ++l) {
    c0[l] = static_cast<uint32_t>(first + l);
    c1[l] = static_cast<uint32_t>((first + l) >> 32);
    c2[l] = high[0];
    c3[l] = high[1];
  }
  uint32_t k0 = key[0], k1 = key[1];
  for (int round = 0; round < kRounds; ++round) {
    for (size_t l = 0; l < kLanes; ++l) {
      const uint64_t product0 = uint64_t{kMultiplier0} * c0[l], product1 = uint64_t{kMultiplier1} * c2[l];
      c0[l] = static_cast<uint32_t>(product1 >> 32) ^ c1[l] ^ k0;
      c1[l] = static_cast<uint32_t>(product1);
      c2[l] = static_cast<uint32_t>(product0 >> 32) ^ c3[l] ^ k1;
      c3[l] = static_cast<uint32_t>(product0);
    }
    k0 += kWeyl0;
    k1 += kWeyl1;
  }
  for (size_t l = 0; l < kLanes; ++l) {
    words[4 * l] = c0[l];
    words[4 * l + 1] = c1[l];
    words[4 * l + 2] = c2[l];
    words[4 * l + 3] = c3[l];
  }
}

// A uniform in [0, 1) with 24 bits: what a float holds exactly.
inline float ToUnit(uint32_t word) { return static_cast<float>(word >> 8) * 0x1.0p-24f; }

void AppendLittleEndian(uint64_t value, std::string* out) {
  for (int byte = 0; byte < 8; ++byte) out->push_back(static_cast<char>(value >> (8 * byte)));
}

}  // namespace

std::array<uint32_t, 4> Philox4x32(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key) {
  uint32_t words[kWords];
  Blocks(key, {counter[2], counter[3]}, uint64_t{counter[1]} << 32 | counter[0], words);
  return {words[0], words[1], words[2], words[3]};
}

// What the stream is for is hashed into 128 bits, half of them the key, half the upper counter: two purposes share a
// stream only if XXH3-128 collides.
Philox::Philox(uint64_t seed, absl::string_view name, uint64_t a, uint64_t b) {
  std::string purpose;
  AppendLittleEndian(seed, &purpose);
  AppendLittleEndian(a, &purpose);
  AppendLittleEndian(b, &purpose);
  purpose.append(name.data(), name.size());
  const XXH128_hash_t hash = XXH3_128bits(purpose.data(), purpose.size());
  key_ = {static_cast<uint32_t>(hash.low64), static_cast<uint32_t>(hash.low64 >> 32)};
  high_ = {static_cast<uint32_t>(hash.high64), static_cast<uint32_t>(hash.high64 >> 32)};
}

std::array<uint32_t, 4> Philox::Block(uint64_t index) const {
  return Philox4x32({static_cast<uint32_t>(index), static_cast<uint32_t>(index >> 32), high_[0], high_[1]}, key_);
}

void Philox::Uniform(float* out, size_t count) const {
  uint32_t words[kWords];
  for (size_t begin = 0; begin < count; begin += kWords) {
    Blocks(key_, high_, begin / 4, words);
    const size_t size = std::min(kWords, count - begin);
    for (size_t i = 0; i < size; ++i) out[begin + i] = ToUnit(words[i]);
  }
}

void Philox::Normal(float* out, size_t count) const {
  uint32_t words[kWords];
  for (size_t begin = 0; begin < count; begin += kWords) {
    Blocks(key_, high_, begin / 4, words);
    const size_t size = std::min(kWords, count - begin);
    for (size_t i = 0; i < size; i += 2) {
      // In (0, 1]: the logarithm of 0 does not exist.
      const double radius = std::sqrt(-2.0 * std::log((words[i] + 1.0) * 0x1.0p-32));
      const double angle = 2.0 * std::numbers::pi * (words[i + 1] * 0x1.0p-32);
      out[begin + i] = static_cast<float>(radius * std::cos(angle));
      if (i + 1 < size) out[begin + i + 1] = static_cast<float>(radius * std::sin(angle));
    }
  }
}

void Philox::DropoutMask(float* out, size_t count, double p) const {
  CHECK(p >= 0 && p < 1) << "dropout probability " << p;
  const float scale = static_cast<float>(1.0 / (1.0 - p));
  const uint64_t dropped = static_cast<uint64_t>(std::llround(p * 0x1.0p32));  // of 2^32 words
  const uint32_t threshold = static_cast<uint32_t>(std::min<uint64_t>(dropped, UINT32_MAX));
  uint32_t words[kWords];
  for (size_t begin = 0; begin < count; begin += kWords) {
    Blocks(key_, high_, begin / 4, words);
    const size_t size = std::min(kWords, count - begin);
    for (size_t i = 0; i < size; ++i) out[begin + i] = words[i] >= threshold ? scale : 0.0f;
  }
}

uint64_t Philox::Below(uint64_t bound, uint64_t index) const {
  CHECK_GE(bound, 1u);
  const std::array<uint32_t, 4> block = Block(index);
  const uint64_t word = uint64_t{block[1]} << 32 | block[0];
  // Multiply and shift (Lemire): off by at most bound / 2^64 from uniform.
  return static_cast<uint64_t>((static_cast<unsigned __int128>(word) * bound) >> 64);
}

}  // namespace penstock
