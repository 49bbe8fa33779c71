#include "worker/torch/token_sampler.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "common/philox.h"

namespace penstock {

int64_t SampleToken(absl::Span<const float> logits, const SamplingOptions& options, absl::Span<const int64_t> context) {
  std::vector<int64_t> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  const auto likelier = [&](int64_t a, int64_t b) { return logits[a] != logits[b] ? logits[a] > logits[b] : a < b; };
  if (options.temperature <= 0) return *std::min_element(order.begin(), order.end(), likelier);
  if (options.top_k > 0 && options.top_k < order.size()) {
    std::nth_element(order.begin(), order.begin() + options.top_k - 1, order.end(), likelier);
    order.resize(options.top_k);
    std::sort(order.begin(), order.end());
  }
  double largest = logits[order[0]];
  for (int64_t token : order) largest = std::max<double>(largest, logits[token]);
  std::vector<double> cumulative;
  double total = 0;
  for (int64_t token : order) {
    total += std::exp((logits[token] - largest) / options.temperature);
    cumulative.push_back(total);
  }
  const absl::string_view key(reinterpret_cast<const char*>(context.data()), context.size() * sizeof(int64_t));
  const std::array<uint32_t, 4> words = Philox(options.seed, key, context.size()).Block(0);
  const double uniform = (static_cast<double>(words[0]) * 0x1p32 + words[1]) * 0x1p-64;
  const auto chosen = std::upper_bound(cumulative.begin(), cumulative.end(), uniform * total);
  return order[std::min<size_t>(chosen - cumulative.begin(), order.size() - 1)];
}

}  // namespace penstock
