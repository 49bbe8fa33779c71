// Recomputation: which forwards keep only their input, and where they run again. Pure.
// Source: docs/schedules.md, "Recomputation". GPipe's re-materialization: arXiv 1811.06965.
#ifndef PENSTOCK_COORDINATOR_PLAN_RECOMPUTE_H_
#define PENSTOCK_COORDINATOR_PLAN_RECOMPUTE_H_

#include "common/action.h"
#include "proto/job.pb.h"

namespace penstock {

// Puts an R right before the B or I of every micro-batch whose F keeps only its stage's input; before the pair where
// that B or I is fused with the action before it. AddCommunication puts the gradient's receive behind the R, which so
// runs while the gradient is on its way.
// Args:    table: compute actions, valid, without R.
//          policy: NONE and LAYERS: none (a layer that is marked runs forward again inside its own backward).
//          BOUNDARY: every micro-batch of every stage. EXCEPT_LAST: but for each stage's last forward, and for those
//          whose backward is what their stage does next: keeping those for so short a time costs little.
// O(actions) time.
ActionTable AddRecompute(const ActionTable& table, v1::Pipeline::Recompute policy);

// The table without its R's.
ActionTable WithoutRecompute(const ActionTable& table);

}  // namespace penstock

#endif  // PENSTOCK_COORDINATOR_PLAN_RECOMPUTE_H_
