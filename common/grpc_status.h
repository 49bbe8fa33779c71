// The bridge between absl::Status and grpc::Status: the only place that makes a grpc::Status.
// The codes have the same numbers and meanings on both sides. Thread-safe.
#ifndef PENSTOCK_COMMON_GRPC_STATUS_H_
#define PENSTOCK_COMMON_GRPC_STATUS_H_

#include <grpcpp/support/status.h>

#include "absl/status/status.h"

namespace penstock {

grpc::Status ToGrpc(const absl::Status& status);
absl::Status FromGrpc(const grpc::Status& status);

}  // namespace penstock

#endif  // PENSTOCK_COMMON_GRPC_STATUS_H_
