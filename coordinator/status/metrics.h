// The cluster's figures in Prometheus' text format. Pure. Names penstock_*, base units.
// Source: docs/reference.md, "Metrics".
#ifndef PENSTOCK_COORDINATOR_STATUS_METRICS_H_
#define PENSTOCK_COORDINATOR_STATUS_METRICS_H_

#include <string>

#include "proto/coordinator.pb.h"

namespace penstock {

std::string MetricsText(const v1::ClusterStatus& cluster);

}  // namespace penstock

#endif  // PENSTOCK_COORDINATOR_STATUS_METRICS_H_
