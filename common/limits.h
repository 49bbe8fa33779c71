// Every bound that is not a user's option, each with its reason.
#ifndef PENSTOCK_COMMON_LIMITS_H_
#define PENSTOCK_COMMON_LIMITS_H_

#include <cstddef>
#include <cstdint>

#include "absl/time/time.h"

namespace penstock::limits {

// Payload of one frame. Larger gRPC messages halve the throughput.
inline constexpr size_t kPieceBytes = size_t{1} << 20;

// The most that any message may have, at both ends. The largest is a plan: some 60 bytes for each micro-batch of each
// stage, so that a million of these pairs fit. A frame is held to kPieceBytes besides.
inline constexpr size_t kMaxMessageBytes = size_t{64} << 20;

// Small tensors never wait for credit: a budget of so many bytes costs nothing.
inline constexpr size_t kMinCreditBytes = size_t{4} << 20;

// Pieces that a stream's shared ring holds: one is written and one read at a time, the others are on their way or wait
// for a thread. More would leave the processor's cache before they are read.
inline constexpr int kRingSlots = 8;

// Smaller payloads travel in the frame: copying them through the socket costs less than giving slots back.
inline constexpr size_t kMinRingBytes = size_t{64} << 10;

// A frame's header: ids, a name and a shape; 200 bytes in practice.
inline constexpr size_t kMaxFrameHeaderBytes = size_t{16} << 10;

// How long a rank waits for a tensor, or for the step's decision, before it gives up: the last of the timeouts, for a
// peer that is alive and does nothing. A dead one is seen by its stream within milliseconds.
inline constexpr absl::Duration kMailboxWait = absl::Minutes(10);

// A wait that lasts so long is told in the log, with what is waited for.
inline constexpr absl::Duration kStalledNotice = absl::Seconds(10);

// Free receive buffers that a worker keeps for the next tensors, beside those in use.
inline constexpr size_t kMaxPooledBytes = size_t{256} << 20;

// Alignment of every tensor that came over the wire and of every slice of a flat buffer: a cache line, and
// what keeps vector kernels on one code path (docs/exactness.md).
inline constexpr size_t kTensorAlignment = 64;

// Dimensions of a boundary tensor; torch itself handles 64, no network here needs more than 8.
inline constexpr int kMaxTensorRank = 8;

// A job file larger than this is a mistake, and YAML aliases could blow up memory.
inline constexpr size_t kMaxYamlBytes = size_t{8} << 20;

// Layers of a model once `repeat` is unrolled: beyond any real network, and a typo must not fill memory.
inline constexpr int kMaxLayers = 10'000;

// Errors shown for one file: more do not help.
inline constexpr int kMaxFileErrors = 20;

// safetensors' own bound on its header.
inline constexpr uint64_t kMaxSafetensorsHeaderBytes = uint64_t{100} << 20;

// Jobs that may wait in the queue; a flood of submissions ends in ResourceExhausted, not in a full disk.
inline constexpr int kMaxQueuedJobs = 1000;

// Log lines kept in a worker until a heartbeat takes them; the oldest go first, and the loss is logged.
inline constexpr size_t kMaxPendingLogLines = 4096;

// Log lines that one heartbeat carries: far below kMaxMessageBytes even when each holds a compiler's message.
inline constexpr size_t kMaxLogLinesPerHeartbeat = 256;

// Longest wait for a control call that only answers (connect included).
inline constexpr absl::Duration kControlDeadline = absl::Seconds(10);

}  // namespace penstock::limits

#endif  // PENSTOCK_COMMON_LIMITS_H_
