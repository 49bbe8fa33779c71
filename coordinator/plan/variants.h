// Which schedules a job's pipeline could run, and in which shape. Pure.
// Source: docs/schedules.md, "Schedules".
#ifndef PENSTOCK_COORDINATOR_PLAN_VARIANTS_H_
#define PENSTOCK_COORDINATOR_PLAN_VARIANTS_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "coordinator/plan/planning.h"
#include "proto/job.pb.h"

namespace penstock {

// The stages a rank of a schedule where `chunks` is not written: as few as it works with, and two for interleaved,
// which with one is 1F1B.
int DefaultChunks(const std::string& schedule);

// How many ranks the keys ask for: stages / chunks.
// Errors: InvalidArgument: chunks does not divide stages.
absl::StatusOr<int> RanksOf(const v1::Pipeline& pipeline);

// The shape that the keys ask for with the schedule that they name.
// Errors: InvalidArgument: no schedule of this name; a need of it that is not met. Names the key.
absl::StatusOr<Variant> VariantOf(const v1::Pipeline& pipeline);

// Every shape worth comparing on as many ranks, in the order of the schedules' names, the simplest first: each schedule
// with the chunks that the keys name or, where they name none or one, with those it works with (interleaved: 2 to 4).
std::vector<Variant> AllVariants(const v1::Pipeline& pipeline, int ranks);

// The same job with the keys of a variant. A split of another number of stages becomes `auto`.
v1::JobSpec WithVariant(const v1::JobSpec& spec, const Variant& variant);

// The keys that would make this plan, so that one of them can be changed. A schedule without a name becomes gpipe.
v1::JobSpec WithKeysOf(const v1::JobSpec& spec, const v1::Plan& plan);

}  // namespace penstock

#endif  // PENSTOCK_COORDINATOR_PLAN_VARIANTS_H_
