// An action table as text, and the order in which its actions can run. Pure.
// Source: docs/schedules.md, "Action tables".
#ifndef PENSTOCK_COORDINATOR_PLAN_TABLE_H_
#define PENSTOCK_COORDINATOR_PLAN_TABLE_H_

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/action.h"
#include "coordinator/plan/placement.h"

namespace penstock {

// Where an action stands, or at a list's end would.
struct TablePlace {
  int rank = 0;
  size_t position = 0;
};

// One list's words (common/action.h), separated by spaces: "0F0 0SEND_F0 0B0".
std::string ListText(const ActionList& list);

// One line a rank: "  rank 0: 0F0 0B0". At the rank's place the action stands as ">>0B0<<"; a place at the list's end
// marks nothing. Long tables are cut around the places, and say so with "...".
// Args: places[r]: position in rank r's list, or none; may be shorter than the table.
std::string TableText(const ActionTable& table, const std::vector<std::optional<size_t>>& places = {});

// The compute actions of each list, in order.
ActionTable ComputeOnly(const ActionTable& table);

// The stage at the other end of a send or receive.
// REQUIRES: a send or receive.
int PeerStage(const Action& action);

// The placement of a table that a person wrote: a stage is where its actions are.
// Errors: InvalidArgument: a rank without action, a stage on two ranks, or one that has no action though a later one
// has;
//         `place`, unless null, is then the place of the action, or the end of the list without any.
absl::StatusOr<Placement> PlacementOfTable(const ActionTable& table, TablePlace* place = nullptr);

// Walks all lists at once, each in its own order, and calls `visit` for every action whose inputs are there: a compute
// action after those that made its inputs (the gradient of a stage's output comes from the next stage's B or I, never
// from its W), a SEND after what it sends was made, a RECV after its SEND. A fused pair is walked as two actions.
// Args:    every action is of a known stage, rank and micro-batch (validate.h checks it).
// Returns: how many actions of each list could be visited; all of them unless the table cannot finish.
// O(actions) time.
std::vector<size_t> WalkTable(const ActionTable& table, const Placement& placement, int micro_batches,
                              absl::FunctionRef<void(int rank, const Action& action)> visit);

}  // namespace penstock

#endif  // PENSTOCK_COORDINATOR_PLAN_TABLE_H_
