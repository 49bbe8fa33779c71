// What a LoadRequest says to one rank, checked and unpacked. Pure.
#ifndef PENSTOCK_WORKER_RUNTIME_RANK_PLAN_H_
#define PENSTOCK_WORKER_RUNTIME_RANK_PLAN_H_

#include <cstddef>
#include <map>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "common/action.h"
#include "proto/worker.pb.h"
#include "worker/runtime/bounds.h"
#include "worker/runtime/credit_planner.h"
#include "worker/runtime/receiver.h"

namespace penstock {

struct RankPlan {
  RankIdentity identity;
  BoundaryBounds bounds{0};
  ActionList train;
  ActionList forward;   // a forward-only pass over all micro-batches
  ActionList generate;  // the same for micro-batch 0 alone

  // The list for passes of this mode.
  const ActionList& ListFor(v1::PassMode mode) const;
};

// Checks the request as far as the runtime uses it.
// Errors: InvalidArgument: lists, stages or neighbours that do not fit each other, an address that is not loopback.
absl::StatusOr<RankPlan> ReadRankPlan(const v1::LoadRequest& request);

// What the list receives from other ranks, in order; links are left open.
std::vector<ExpectedTensor> ExpectedTensors(const RankPlan& plan, const ActionList& list);

// How many tensors the list sends to another rank in one direction.
using LinkKey = std::pair<int, v1::Direction>;  // rank, direction
std::map<LinkKey, std::vector<BoundaryKey>> SentTensors(const RankPlan& plan, const ActionList& list);

// The byte budget for credit: the most that received tensors hold at one time while the training list runs (a rank that
// computes as fast as its neighbours has that memory anyway), and at least four of the largest tensors and
// limits::kMinCreditBytes, so that transfers overlap compute in lists that hold little.
size_t CreditBudget(const RankPlan& plan);

}  // namespace penstock

#endif  // PENSTOCK_WORKER_RUNTIME_RANK_PLAN_H_
