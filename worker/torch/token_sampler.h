// Chooses the next token from a language model's output. Pure.
// Source: docs/commands.md, "generate".
#ifndef PENSTOCK_WORKER_TORCH_TOKEN_SAMPLER_H_
#define PENSTOCK_WORKER_TORCH_TOKEN_SAMPLER_H_

#include <cstdint>

#include "absl/types/span.h"

namespace penstock {

struct SamplingOptions {
  double temperature = 0;  // 0: the most likely token
  uint32_t top_k = 0;      // only the k most likely; 0: all
  uint64_t seed = 0;
};

// Args:    context: the tokens that the new one follows. With the seed they key the random number, so that a sample is
//          reproducible, by whatever plan and in whatever run it is made.
// Returns: an index of `logits`; equals are ranked by index.
// REQUIRES: logits isn't empty.
int64_t SampleToken(absl::Span<const float> logits, const SamplingOptions& options, absl::Span<const int64_t> context);

}  // namespace penstock

#endif  // PENSTOCK_WORKER_TORCH_TOKEN_SAMPLER_H_
