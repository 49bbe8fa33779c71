// Goes on with a prompt through a pipeline: a checkpoint is loaded on idle workers, tokens come one at a time.
// Blocking, on the caller's thread. Thread-safe.
#ifndef PENSTOCK_COORDINATOR_GENERATION_H_
#define PENSTOCK_COORDINATOR_GENERATION_H_

#include <functional>

#include "absl/status/status.h"
#include "coordinator/core.h"
#include "proto/coordinator.pb.h"

namespace penstock {

// Args:    emit: takes each token; false ends the generation (nobody listens any more).
// Errors:  as rpc Jobs.Generate; Unavailable: a worker was lost on the way; the workers' own errors.
absl::Status Generate(Core* core, const v1::GenerateRequest& request,
                      const std::function<bool(const v1::GenerateReply&)>& emit);

}  // namespace penstock

#endif  // PENSTOCK_COORDINATOR_GENERATION_H_
