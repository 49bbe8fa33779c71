// Every bound that is not a user's option, each with its reason.
#ifndef PENSTOCK_COMMON_LIMITS_H_
#define PENSTOCK_COMMON_LIMITS_H_

#include <cstddef>
#include <cstdint>

#include "absl/time/time.h"

namespace penstock::limits {

// Payload of one frame. Larger gRPC messages halve the throughput, and gRPC's own receive limit is 4 MiB.
inline constexpr size_t kPieceBytes = size_t{1} << 20;

// Alignment of every tensor that came over the wire and of every slice of a flat buffer: a cache line, and
// what keeps vector kernels on one code path (docs/exactness.md).
inline constexpr size_t kTensorAlignment = 64;

// Dimensions of a boundary tensor; torch itself handles 64, no network here needs more than 8.
inline constexpr int kMaxTensorRank = 8;

// A job file larger than this is a mistake, and YAML aliases could blow up memory.
inline constexpr size_t kMaxYamlBytes = size_t{8} << 20;

// Errors shown for one file: more do not help.
inline constexpr int kMaxFileErrors = 20;

// safetensors' own bound on its header.
inline constexpr uint64_t kMaxSafetensorsHeaderBytes = uint64_t{100} << 20;

// Jobs that may wait in the queue; a flood of submissions ends in ResourceExhausted, not in a full disk.
inline constexpr int kMaxQueuedJobs = 1000;

// Log lines kept in a worker until a heartbeat takes them; the oldest go first, and the loss is logged.
inline constexpr size_t kMaxPendingLogLines = 4096;

// Longest wait for a control call that only answers (connect included).
inline constexpr absl::Duration kControlDeadline = absl::Seconds(10);

}  // namespace penstock::limits

#endif  // PENSTOCK_COMMON_LIMITS_H_
