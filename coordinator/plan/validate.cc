#include "coordinator/plan/validate.h"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "common/schedule_kind.h"
#include "common/status_macros.h"
#include "coordinator/plan/table.h"

namespace penstock {
namespace {

// The receive that needs what `kind` sends, and the reverse.
ActionKind Counterpart(ActionKind kind) {
  switch (kind) {
    case ActionKind::kSendForward:
      return ActionKind::kRecvForward;
    case ActionKind::kRecvForward:
      return ActionKind::kSendForward;
    case ActionKind::kSendBackward:
      return ActionKind::kRecvBackward;
    default:
      return ActionKind::kSendBackward;
  }
}

// Whether it is a forward pass's: F, or the transfer of what an F makes.
bool IsForwardPass(ActionKind kind) {
  return kind == ActionKind::kForward || kind == ActionKind::kSendForward || kind == ActionKind::kRecvForward;
}

class Validator {
 public:
  // `place` may be null; else it gets the place of the fault.
  Validator(const ActionTable& table, const Placement& placement, int micro_batches, PassKind pass, TablePlace* place)
      : table_(table), placement_(placement), micro_batches_(micro_batches), pass_(pass), place_(place) {}

  // 1. CheckShape and Index: each list belongs to a rank, each action to its list, and none stands twice.
  // 2. CheckBackwards, CheckComplete: nothing is missing, and no backward is whole and split at once.
  // 3. CheckPairs, CheckOrder: what a rank alone can tell of the order.
  // 4. CheckProgress: the lists can finish together.
  absl::Status Run(bool with_communication) {
    with_communication_ = with_communication;
    PENSTOCK_RETURN_IF_ERROR(CheckShape());
    PENSTOCK_RETURN_IF_ERROR(Index());
    if (pass_ == PassKind::kTraining) PENSTOCK_RETURN_IF_ERROR(CheckBackwards());
    PENSTOCK_RETURN_IF_ERROR(CheckComplete());
    PENSTOCK_RETURN_IF_ERROR(CheckPairs());
    PENSTOCK_RETURN_IF_ERROR(CheckOrder());
    return CheckProgress();
  }

 private:
  static constexpr int kKinds = static_cast<int>(ActionKind::kRecompute);

  absl::Status Fault(int rank, size_t position, absl::string_view rule) const {
    std::vector<std::optional<size_t>> places(table_.size());
    places[rank] = position;
    if (place_ != nullptr) *place_ = {rank, position};
    const ActionList& list = table_[rank];
    const std::string what = position < list.size() ? absl::StrCat(" (", ToText(list[position]), ")") : "";
    return absl::InvalidArgumentError(absl::StrCat("malformed schedule: rank ", rank, ", action ", position, what, ": ",
                                                   rule, "\n", TableText(table_, places)));
  }

  absl::Status CheckShape() const {
    if (micro_batches_ < 1) {
      return absl::InvalidArgumentError(
          absl::StrCat("malformed schedule: needs at least 1 micro-batch, has ", micro_batches_));
    }
    // Before memory is taken for it.
    if (int64_t{placement_.num_stages()} * micro_batches_ > kMaxPairs) {
      return absl::InvalidArgumentError(absl::StrCat("malformed schedule: ", placement_.num_stages(), " stages and ",
                                                     micro_batches_, " micro-batches; at most ", kMaxPairs,
                                                     " pairs of them are possible"));
    }
    if (static_cast<int>(table_.size()) == placement_.num_ranks()) return absl::OkStatus();
    return absl::InvalidArgumentError(absl::StrCat("malformed schedule: ", table_.size(), " lists for ",
                                                   placement_.num_ranks(), " ranks; each rank has one\n",
                                                   TableText(table_)));
  }

  // The rule that makes this action impossible in this list wherever it stands, or "".
  std::string Impossible(int rank, const Action& action) const {
    const auto [stage, kind, micro_batch, fused] = action;
    if (stage < 0 || stage >= placement_.num_stages()) {
      return absl::StrCat("there is no stage ", stage, "; stages are 0 to ", placement_.num_stages() - 1);
    }
    if (micro_batch < 0 || micro_batch >= micro_batches_) {
      return absl::StrCat("there is no micro-batch ", micro_batch, "; micro-batches are 0 to ", micro_batches_ - 1);
    }
    if (placement_.rank_of_stage[stage] != rank) {
      return absl::StrCat("stage ", stage, " is on rank ", placement_.rank_of_stage[stage]);
    }
    if (pass_ == PassKind::kForwardOnly && !IsForwardPass(kind)) {
      return "a forward-only pass has no backward";
    }
    if (IsCompute(kind)) return "";
    if (!with_communication_) return "sends and receives are put in by the communication pass, not by hand";
    const int peer = PeerStage(action);
    if (peer < 0 || peer >= placement_.num_stages()) return absl::StrCat("there is no stage ", peer);
    if (placement_.rank_of_stage[peer] == rank) {
      return absl::StrCat("stage ", peer, " is on the same rank: nothing travels");
    }
    return "";
  }

  size_t Slot(ActionKind kind, int stage, int micro_batch) const {
    const size_t row = (static_cast<size_t>(kind) - 1) * placement_.num_stages() + stage;
    return row * micro_batches_ + micro_batch;
  }

  absl::Status Index() {
    position_.assign(size_t{kKinds} * placement_.num_stages() * micro_batches_, kAbsent);
    for (int rank = 0; rank < placement_.num_ranks(); ++rank) {
      for (size_t i = 0; i < table_[rank].size(); ++i) {
        const Action& action = table_[rank][i];
        if (const std::string rule = Impossible(rank, action); !rule.empty()) return Fault(rank, i, rule);
        uint32_t& slot = position_[Slot(action.kind, action.stage, action.micro_batch)];
        if (slot != kAbsent) return Fault(rank, i, absl::StrCat("stands twice, first as action ", slot));
        slot = static_cast<uint32_t>(i);
      }
    }
    return absl::OkStatus();
  }

  // Where the action stands in its rank's list; kAbsent if nowhere.
  uint32_t At(ActionKind kind, int stage, int micro_batch) const { return position_[Slot(kind, stage, micro_batch)]; }

  // The B or I of a stage and micro-batch, whichever the table has; of a sound table.
  Action BackwardOf(int stage, int micro_batch) const {
    const bool whole = At(ActionKind::kBackward, stage, micro_batch) != kAbsent;
    return {stage, whole ? ActionKind::kBackward : ActionKind::kInputGradient, micro_batch};
  }

  // What makes the tensor that is sent, or needs the one that is received.
  Action ComputeOf(const Action& action) const {
    if (IsForwardPass(action.kind)) return {action.stage, ActionKind::kForward, action.micro_batch};
    return BackwardOf(action.stage, action.micro_batch);
  }

  // Every micro-batch has a B, or an I and a W, on every stage.
  absl::Status CheckBackwards() const {
    for (int stage = 0; stage < placement_.num_stages(); ++stage) {
      for (int m = 0; m < micro_batches_; ++m) PENSTOCK_RETURN_IF_ERROR(CheckBackward(stage, m));
    }
    return absl::OkStatus();
  }

  absl::Status CheckBackward(int stage, int m) const {
    const int rank = placement_.rank_of_stage[stage];
    const Action whole{stage, ActionKind::kBackward, m}, input{stage, ActionKind::kInputGradient, m};
    const Action weight{stage, ActionKind::kWeightGradient, m};
    const uint32_t at_whole = At(whole.kind, stage, m), at_input = At(input.kind, stage, m);
    const uint32_t at_weight = At(weight.kind, stage, m);
    const std::string rule = "; a backward is a B, or an I and a W";
    if (at_whole != kAbsent) {
      if (at_input == kAbsent && at_weight == kAbsent) return absl::OkStatus();
      const bool has_input = at_input != kAbsent;
      return Fault(rank, has_input ? at_input : at_weight, absl::StrCat("stands beside ", ToText(whole), rule));
    }
    if (at_input != kAbsent && at_weight != kAbsent) return absl::OkStatus();
    if (at_input == kAbsent && at_weight == kAbsent) return Missing(whole);
    const Action& missing = at_input == kAbsent ? input : weight;
    return Fault(rank, at_input == kAbsent ? at_weight : at_input,
                 absl::StrCat(ToText(missing), " is missing beside it", rule));
  }

  // Whether the table must hold this action, given its kind, stage and any micro-batch.
  bool Needed(ActionKind kind, int stage) const {
    if (kind == ActionKind::kForward) return true;
    if (IsCompute(kind)) return false;  // CheckBackwards; an R is a choice
    if (!with_communication_ || (pass_ == PassKind::kForwardOnly && !IsForwardPass(kind))) return false;
    const int peer = PeerStage({stage, kind, 0});
    return peer >= 0 && peer < placement_.num_stages() &&
           placement_.rank_of_stage[peer] != placement_.rank_of_stage[stage];
  }

  absl::Status CheckComplete() const {
    for (int kind_number = 1; kind_number <= kKinds; ++kind_number) {
      const ActionKind kind = static_cast<ActionKind>(kind_number);
      for (int stage = 0; stage < placement_.num_stages(); ++stage) {
        if (!Needed(kind, stage)) continue;
        for (int m = 0; m < micro_batches_; ++m) {
          if (At(kind, stage, m) == kAbsent) return Missing({stage, kind, m});
        }
      }
    }
    return absl::OkStatus();
  }

  absl::Status Missing(const Action& action) const {
    const int rank = placement_.rank_of_stage[action.stage];
    if (IsCompute(action.kind)) {
      return Fault(rank, table_[rank].size(),
                   absl::StrCat(ToText(action), " is missing; every stage runs every micro-batch once"));
    }
    // The place is the other end's, where that stands: it is what would wait, or arrive unasked.
    const Action other{PeerStage(action), Counterpart(action.kind), action.micro_batch};
    const uint32_t other_position = At(other.kind, other.stage, other.micro_batch);
    if (other_position == kAbsent) {
      return Fault(rank, table_[rank].size(),
                   absl::StrCat(ToText(action), " is missing, and so is its counterpart ", ToText(other)));
    }
    return Fault(
        placement_.rank_of_stage[other.stage], other_position,
        absl::StrCat("its counterpart ", ToText(action), " is missing on rank ", rank, "; every SEND has its RECV"));
  }

  // A fused action and the next compute action are a forward and a backward of different micro-batches or stages.
  absl::Status CheckPairs() const {
    for (int rank = 0; rank < placement_.num_ranks(); ++rank) {
      const ActionList& list = table_[rank];
      for (size_t i = 0; i < list.size(); ++i) {
        if (!list[i].fused) continue;
        if (!IsCompute(list[i].kind)) return Fault(rank, i, "only compute actions can be fused");
        size_t next = i + 1;
        while (next < list.size() && !IsCompute(list[next].kind)) ++next;
        if (next == list.size()) return Fault(rank, i, "is fused with the next compute action, but there is none");
        const Action &first = list[i], &second = list[next];
        const bool pair = (first.kind == ActionKind::kForward && IsBackward(second.kind)) ||
                          (IsBackward(first.kind) && second.kind == ActionKind::kForward);
        const bool same = first.stage == second.stage && first.micro_batch == second.micro_batch;
        if (pair && !same && !second.fused) continue;
        return Fault(rank, i,
                     absl::StrCat("is fused with ", ToText(second),
                                  "; a pair is one F and one B or I, of different stages or micro-batches"));
      }
    }
    return absl::OkStatus();
  }

  absl::Status CheckOrder() const {
    for (int rank = 0; rank < placement_.num_ranks(); ++rank) {
      for (size_t i = 0; i < table_[rank].size(); ++i) {
        const Action& action = table_[rank][i];
        const auto& [stage, kind, micro_batch, fused] = action;
        if (IsBackward(kind) || kind == ActionKind::kRecompute) {
          PENSTOCK_RETURN_IF_ERROR(CheckBefore(rank, i, {stage, ActionKind::kForward, micro_batch}));
        }
        if (kind == ActionKind::kWeightGradient) {
          PENSTOCK_RETURN_IF_ERROR(CheckBefore(rank, i, {stage, ActionKind::kInputGradient, micro_batch}));
        }
        if (IsSend(kind)) PENSTOCK_RETURN_IF_ERROR(CheckBefore(rank, i, ComputeOf(action)));
        if (IsRecv(kind) || kind == ActionKind::kRecompute) {
          const Action user = ComputeOf(action);
          if (At(user.kind, stage, micro_batch) > i) continue;
          return Fault(rank, i, absl::StrCat("comes after ", ToText(user), ", which needs it"));
        }
      }
    }
    return absl::OkStatus();
  }

  // `first` must stand before position `i` of the same list.
  absl::Status CheckBefore(int rank, size_t i, const Action& first) const {
    if (At(first.kind, first.stage, first.micro_batch) < i) return absl::OkStatus();
    return Fault(rank, i, absl::StrCat("comes before ", ToText(first), ", which it needs"));
  }

  absl::Status CheckProgress() const {
    const std::vector<size_t> position = WalkTable(table_, placement_, micro_batches_, [](int, const Action&) {});
    std::vector<std::optional<size_t>> places(table_.size());
    std::vector<std::string> waiting;
    for (size_t rank = 0; rank < table_.size(); ++rank) {
      if (position[rank] == table_[rank].size()) continue;
      places[rank] = position[rank];
      if (place_ != nullptr && waiting.empty()) *place_ = {static_cast<int>(rank), position[rank]};
      waiting.push_back(absl::StrCat("rank ", rank, " at ", ToText(table_[rank][position[rank]])));
    }
    if (waiting.empty()) return absl::OkStatus();
    std::string who;
    for (size_t i = 0; i < waiting.size() && i < 4; ++i) absl::StrAppend(&who, i == 0 ? "" : ", ", waiting[i]);
    if (waiting.size() > 4) absl::StrAppend(&who, " and ", waiting.size() - 4, " more");
    return absl::InvalidArgumentError(absl::StrCat(
        "malformed schedule: no progress: each of these waits for another: ", who, "\n", TableText(table_, places)));
  }

  static constexpr uint32_t kAbsent = UINT32_MAX;

  const ActionTable& table_;
  const Placement& placement_;
  const int micro_batches_;
  const PassKind pass_;
  TablePlace* const place_;
  bool with_communication_ = false;
  std::vector<uint32_t> position_;  // in its rank's list, by Slot
};

}  // namespace

absl::Status ValidateComputeActions(const ActionTable& table, const Placement& placement, int micro_batches,
                                    PassKind pass, TablePlace* place) {
  return Validator(table, placement, micro_batches, pass, place).Run(/*with_communication=*/false);
}

absl::Status ValidateTable(const ActionTable& table, const Placement& placement, int micro_batches, PassKind pass) {
  return Validator(table, placement, micro_batches, pass, /*place=*/nullptr).Run(/*with_communication=*/true);
}

}  // namespace penstock
