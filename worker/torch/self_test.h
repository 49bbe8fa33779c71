// What a host's arithmetic is: two workers whose hashes and fingerprints are equal compute the same bits.
// This header includes no torch.
#ifndef PENSTOCK_WORKER_TORCH_SELF_TEST_H_
#define PENSTOCK_WORKER_TORCH_SELF_TEST_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace penstock {

// SHA-256 over the results of fixed computations, forward and backward: matrix products, a convolution, a softmax,
// attention, a normalisation and an optimizer's update, of sizes that reach the tails of vector loops. Under 100 ms.
// Args:    device: "cpu", "cuda:0".
// Errors:  as RunTorch.
absl::StatusOr<std::string> RunSelfTest(absl::string_view device);

// "libtorch 2.11.0; MKL 2024.2 ...; oneDNN v3.10.2 ...; AVX512; 1 thread; ...": one line.
std::string DescribeNumerics(absl::string_view device);

}  // namespace penstock

#endif  // PENSTOCK_WORKER_TORCH_SELF_TEST_H_
