// The status pages' contents as JSON. Pure. Field names are those of proto/coordinator.proto and do not change.
// Source: docs/reference.md, "HTTP".
#ifndef PENSTOCK_COORDINATOR_STATUS_STATUS_JSON_H_
#define PENSTOCK_COORDINATOR_STATUS_STATUS_JSON_H_

#include <string>

#include "proto/coordinator.pb.h"

namespace penstock {

// {"name", "version", "address", …, "workers": [WorkerStatus], "jobs": [JobStatus]}.
std::string ClusterJson(const v1::ClusterStatus& cluster);

// The fields of JobStatus ("state", "step", "steps", "loss", "tokens_per_second", "bubble", "stages", …), then
// "checkpoints": [CheckpointInfo].
std::string JobJson(const v1::GetReply& job);

}  // namespace penstock

#endif  // PENSTOCK_COORDINATOR_STATUS_STATUS_JSON_H_
