// `pipeline.split` for a model whose first layers may have to stay together. Pure.
// Source: docs/schedules.md, "Partition".
#ifndef PENSTOCK_COORDINATOR_PLAN_CUTS_H_
#define PENSTOCK_COORDINATOR_PLAN_CUTS_H_

#include "absl/status/statusor.h"
#include "coordinator/plan/planning.h"

namespace penstock {

// Whether the model can be cut into so many stages at all.
// Errors: InvalidArgument: says into how many it can.
absl::Status CheckStageCount(const Planning& planning, int stages);

absl::StatusOr<Partition> CutUniformly(const Planning& planning, int stages);
absl::StatusOr<Partition> CutByVariance(const Planning& planning, int stages);
// Args:   limits: of `stages` stages over all layers, or none.
// Errors: ResourceExhausted: no cut keeps the limits.
absl::StatusOr<Partition> CutByMakespan(const Planning& planning, int stages, const StageLimits& limits = {});
// As `split_sizes` says. Errors: InvalidArgument also for a cut where only tokens pass.
absl::StatusOr<Partition> CutAsWritten(const Planning& planning, int stages);

}  // namespace penstock

#endif  // PENSTOCK_COORDINATOR_PLAN_CUTS_H_
