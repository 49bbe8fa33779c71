// Times the way between two workers: loads a pipeline of two ranks that compute nothing on them and lets them send each
// other tensors in turn, small ones for the latency, large ones for the throughput. Blocks. Thread-safe.
// Source: docs/schedules.md, "Measured costs".
#ifndef PENSTOCK_COORDINATOR_LINK_PROBE_H_
#define PENSTOCK_COORDINATOR_LINK_PROBE_H_

#include <cstdint>
#include <functional>
#include <memory>

#include "absl/status/statusor.h"
#include "coordinator/worker_lease.h"

namespace penstock {

struct LinkTimes {
  double latency_us = 0;    // of a message whose size does not matter, one way, from one executor to the other
  double bytes_per_us = 0;  // beyond that
};

// Args:    lease: at least two workers; the first two are used. new_epoch: a larger plan epoch each time.
//          cancelled: whether nobody waits for it any more.
// Errors:  of the workers' calls; Cancelled.
absl::StatusOr<LinkTimes> ProbeLink(WorkerLease* lease, const std::function<uint64_t()>& new_epoch,
                                    const std::function<bool()>& cancelled);

}  // namespace penstock

#endif  // PENSTOCK_COORDINATOR_LINK_PROBE_H_
