#include "worker/runtime/rank_plan.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "common/channel.h"
#include "common/limits.h"
#include "common/status_macros.h"
#include "worker/runtime/executor.h"

namespace penstock {
namespace {

// Whether a send or a receive has its other end on another rank: between stages of one rank nothing is sent.
bool CrossesRanks(const RankPlan& plan, const Action& action) {
  const BoundaryKey key = BoundaryOf(action);
  const std::optional<int> source = plan.identity.SourceStage(key);
  return source.has_value() && plan.identity.rank_of_stage[*source] != plan.identity.rank_of_stage[key.stage];
}

// Checks that the list is this rank's and that what it sends and receives has another end.
absl::Status CheckList(const RankPlan& plan, const ActionList& list, int micro_batches) {
  const int stages = static_cast<int>(plan.identity.rank_of_stage.size());
  for (const Action& action : list) {
    if (action.stage < 0 || action.stage >= stages || plan.identity.rank_of_stage[action.stage] != plan.identity.rank ||
        action.micro_batch < 0 || action.micro_batch >= micro_batches ||
        (!IsCompute(action.kind) && !CrossesRanks(plan, action))) {
      return absl::InvalidArgumentError(
          absl::StrCat("action ", ToText(action), " cannot be in the list of rank ", plan.identity.rank));
    }
  }
  return absl::OkStatus();
}

}  // namespace

const ActionList& RankPlan::ListFor(v1::PassMode mode) const {
  if (mode == v1::PASS_TRAIN) return train;
  return mode == v1::PASS_EVAL ? forward : generate;
}

absl::StatusOr<RankPlan> ReadRankPlan(const v1::LoadRequest& request) {
  const v1::Plan& plan = request.plan();
  const int ranks = request.ranks_size();
  const int rank = static_cast<int>(request.rank());
  if (ranks == 0 || rank < 0 || rank >= ranks || plan.train_size() != ranks || plan.forward_size() != ranks) {
    return absl::InvalidArgumentError(absl::StrCat("rank ", request.rank(), " of ", ranks, " neighbours, with ",
                                                   plan.train_size(), " training and ", plan.forward_size(),
                                                   " forward lists"));
  }
  RankPlan result;
  result.identity = {.job = request.job(),
                     .plan_epoch = request.plan_epoch(),
                     .incarnation = request.incarnation(),
                     .rank = rank,
                     .ranks = {request.ranks().begin(), request.ranks().end()},
                     .shared_memory = !request.spec().transport().tcp_only()};
  for (int i = 0; i < ranks; ++i) {
    if (static_cast<int>(request.ranks(i).rank()) != i) {
      return absl::InvalidArgumentError(absl::StrCat("neighbour ", i, " is given as rank ", request.ranks(i).rank()));
    }
    PENSTOCK_RETURN_IF_ERROR(CheckLoopback(request.ranks(i).address()));
  }
  for (const v1::Stage& stage : plan.stages()) {
    if (stage.rank() >= static_cast<uint32_t>(ranks)) {
      return absl::InvalidArgumentError(absl::StrCat("a stage on rank ", stage.rank(), " of ", ranks));
    }
    result.identity.rank_of_stage.push_back(static_cast<int>(stage.rank()));
  }
  PENSTOCK_ASSIGN_OR_RETURN(result.bounds, BoundaryBounds::Of(request.spec(), plan));
  PENSTOCK_ASSIGN_OR_RETURN(result.train, FromProto(plan.train(rank)));
  PENSTOCK_ASSIGN_OR_RETURN(result.forward, FromProto(plan.forward(rank)));
  const int micro_batches = static_cast<int>(plan.micro_batches());
  PENSTOCK_RETURN_IF_ERROR(CheckList(result, result.train, micro_batches));
  PENSTOCK_RETURN_IF_ERROR(CheckList(result, result.forward, micro_batches));
  for (const Action& action : result.forward) {
    if (action.micro_batch == 0) result.generate.push_back(action);
  }
  return result;
}

std::vector<ExpectedTensor> ExpectedTensors(const RankPlan& plan, const ActionList& list) {
  std::vector<ExpectedTensor> expected;
  for (const Action& action : list) {
    if (!IsRecv(action.kind)) continue;
    for (BoundaryKey& key : KeysOf(action, 0, plan.bounds)) {
      const size_t bytes = plan.bounds.MaxBytes(key);
      expected.push_back({.key = std::move(key), .bytes = bytes});
    }
  }
  return expected;
}

std::map<LinkKey, std::vector<BoundaryKey>> SentTensors(const RankPlan& plan, const ActionList& list) {
  std::map<LinkKey, std::vector<BoundaryKey>> sent;
  for (const Action& action : list) {
    if (!IsSend(action.kind)) continue;
    for (BoundaryKey& key : KeysOf(action, 0, plan.bounds)) {
      sent[{plan.identity.rank_of_stage[key.stage], key.direction}].push_back(std::move(key));
    }
  }
  return sent;
}

size_t CreditBudget(const RankPlan& plan) {
  absl::flat_hash_map<BoundaryKey, size_t> held;
  size_t total = 0, peak = 0, largest = 0;
  const auto free = [&](const Action& action, v1::Direction direction) {
    for (const std::string& tensor : plan.bounds.Tensors(action.stage, direction)) {
      const auto found = held.find(BoundaryKey{
          .stage = action.stage, .direction = direction, .micro_batch = action.micro_batch, .tensor = tensor});
      if (found == held.end()) return;  // it came from a stage of this rank
      total -= found->second;
      held.erase(found);
    }
  };
  for (const Action& action : plan.train) {
    if (IsRecv(action.kind)) {
      for (const BoundaryKey& key : KeysOf(action, 0, plan.bounds)) {
        const size_t bytes = plan.bounds.MaxBytes(key);
        held[key] = bytes;
        total += bytes;
        largest = std::max(largest, bytes);
      }
    }
    peak = std::max(peak, total);
    // The input gradient needs both; the first layer's weight gradient may need the stage's input and the last one's
    // the gradient that came.
    if (action.kind == ActionKind::kBackward || action.kind == ActionKind::kWeightGradient) {
      free(action, v1::DIRECTION_FORWARD);
      free(action, v1::DIRECTION_BACKWARD);
    }
  }
  return std::max({peak, 4 * largest, limits::kMinCreditBytes});
}

}  // namespace penstock
