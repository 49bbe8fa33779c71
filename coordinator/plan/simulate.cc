#include "coordinator/plan/simulate.h"

#include <algorithm>
#include <limits>
#include <map>
#include <numeric>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "coordinator/plan/table.h"

namespace penstock {
namespace {

// One way between two neighbouring stages. Remembers when what was sent arrives, until it is taken.
class Way {
 public:
  struct Arrival {
    double at = 0;
    uint32_t index = 0;  // of the action that made it, among its rank's compute actions
  };

  // Args: queue: when the wire between the two ranks is free; shared by all stages that use it. Null: one rank.
  Way(const Link& link, int from_rank, double* queue, int micro_batches)
      : link_(link), from_rank_(from_rank), queue_(queue), arrivals_(micro_batches) {}

  bool within_rank() const { return queue_ == nullptr; }
  int from_rank() const { return from_rank_; }

  void Make(int micro_batch, uint32_t index) { arrivals_[micro_batch].index = index; }

  void Send(int micro_batch, double at, int64_t bytes) {
    arrivals_[micro_batch].at = at;
    if (within_rank()) return;
    *queue_ = std::max(*queue_, at) + OnTheWire(bytes);
    arrivals_[micro_batch].at = *queue_ + link_.latency_us;
  }

  const Arrival& Of(int micro_batch) const { return arrivals_[micro_batch]; }

  // How long one result is on the way if none is before it.
  double TransferTime(int64_t bytes) const { return within_rank() ? 0 : OnTheWire(bytes) + link_.latency_us; }

 private:
  double OnTheWire(int64_t bytes) const {
    return link_.bytes_per_us > 0 ? static_cast<double>(bytes) / link_.bytes_per_us : 0;
  }

  Link link_;
  int from_rank_;
  double* queue_;
  std::vector<Arrival> arrivals_;
};

// What is kept, counted as a rank's list goes on.
struct Kept {
  int micro_batches = 0, peak_micro_batches = 0;
  int64_t bytes = 0, peak_bytes = 0;

  void Add(int count, int64_t more, int64_t working_bytes) {
    micro_batches += count;
    bytes += more;
    peak_micro_batches = std::max(peak_micro_batches, micro_batches);
    peak_bytes = std::max(peak_bytes, std::max(bytes, bytes - more) + working_bytes);
  }
};

struct Rank {
  double now = 0;
  double busy = 0;
  double first_start = std::numeric_limits<double>::infinity();
  double last_end = 0;
  Kept kept;
  uint32_t next_index = 0;  // of its next compute action
  TimedAction awaited;      // what it waited for since its last compute action; only the awaited_ fields
};

struct StageRun {
  Kept kept;
  std::vector<bool> backward_done;  // by micro-batch, the weight gradient too
  std::vector<bool> recomputed;     // by micro-batch; empty if none is
  int turn = 0;                     // the first micro-batch whose backward is not done
};

// The state of a run. WalkTable hands the actions in an order in which all inputs are known.
class Run {
 public:
  Run(const ActionTable& table, const Placement& placement, int micro_batches, const PipelineCosts& costs,
      SimulationDetail detail)
      : num_stages_(placement.num_stages()), costs_(costs), ranks_(table.size()), stages_(num_stages_) {
    for (StageRun& stage : stages_) stage.backward_done.assign(micro_batches, false);
    for (int s = 0; s + 1 < num_stages_; ++s) {
      const int below = placement.rank_of_stage[s], above = placement.rank_of_stage[s + 1];
      const auto queue = [&](int from, int to) { return from == to ? nullptr : &queues_[{from, to}]; };
      up_.emplace_back(costs.links[s], below, queue(below, above), micro_batches);
      down_.emplace_back(costs.links[s], above, queue(above, below), micro_batches);
    }
    if (detail == SimulationDetail::kActions) timed_.resize(table.size());
    for (const ActionList& list : table) {
      for (const Action& action : list) {
        if (!IsCompute(action.kind)) has_communication_ = true;
        if (action.kind != ActionKind::kRecompute) continue;
        std::vector<bool>& recomputed = stages_[action.stage].recomputed;
        recomputed.resize(micro_batches, false);
        recomputed[action.micro_batch] = true;
      }
    }
  }

  void Visit(int rank, const Action& action) {
    const auto [stage, kind, micro_batch, fused] = action;
    switch (kind) {
      case ActionKind::kSendForward:
        return SendForward(stage, micro_batch, ranks_[rank].now);
      case ActionKind::kSendBackward:
        return SendBackward(stage, micro_batch, ranks_[rank].now);
      case ActionKind::kForward:
      case ActionKind::kRecvForward:
        if (stage > 0) Await(rank, up_[stage - 1], micro_batch, costs_.Of(stage - 1, micro_batch).output_bytes);
        break;
      case ActionKind::kBackward:
      case ActionKind::kInputGradient:
      case ActionKind::kRecvBackward:
        if (stage + 1 < num_stages_) {
          Await(rank, down_[stage], micro_batch, costs_.Of(stage, micro_batch).output_bytes);
        }
        break;
      case ActionKind::kWeightGradient:
      case ActionKind::kRecompute:
        break;
    }
    if (IsCompute(kind)) Compute(rank, action);
  }

  Simulation Finish() {
    Simulation result;
    double work = 0;
    for (const Rank& rank : ranks_) {
      result.makespan_us = std::max(result.makespan_us, rank.last_end);
      result.span_us = std::max(result.span_us, rank.last_end - rank.first_start);
      result.busy_us.push_back(rank.busy);
      result.rank_peak_activation_bytes.push_back(rank.kept.peak_bytes);
      work = std::max(work, rank.busy);
    }
    for (const StageRun& stage : stages_) {
      result.peak_micro_batches.push_back(stage.kept.peak_micro_batches);
      result.peak_activation_bytes.push_back(stage.kept.peak_bytes);
    }
    const double total = std::accumulate(result.busy_us.begin(), result.busy_us.end(), 0.0);
    if (work > 0) {
      result.bubbles.gpipe = 1 - total / (result.makespan_us * static_cast<double>(ranks_.size()));
      result.bubbles.megatron = (result.makespan_us - work) / work;
      result.bubbles.zero_bubble = (result.span_us - work) / result.span_us;
    }
    result.actions = std::move(timed_);
    return result;
  }

 private:
  void Await(int rank, const Way& way, int micro_batch, int64_t bytes) {
    Rank& at = ranks_[rank];
    const Way::Arrival& arrival = way.Of(micro_batch);
    if (arrival.at <= at.now) return;
    at.now = arrival.at;
    at.awaited.awaited_rank = way.from_rank();
    at.awaited.awaited_index = arrival.index;
    at.awaited.transfer_us = way.TransferTime(bytes);
  }

  void SendForward(int stage, int micro_batch, double at) {
    up_[stage].Send(micro_batch, at, costs_.Of(stage, micro_batch).output_bytes);
  }

  void SendBackward(int stage, int micro_batch, double at) {
    down_[stage - 1].Send(micro_batch, at, costs_.Of(stage - 1, micro_batch).output_bytes);
  }

  static double Duration(const StageCost& cost, ActionKind kind) {
    switch (kind) {
      case ActionKind::kForward:
        return cost.forward_us;
      case ActionKind::kInputGradient:
        return std::max(0.0, cost.backward_us - cost.weight_gradient_us);
      case ActionKind::kWeightGradient:
        return cost.weight_gradient_us;
      case ActionKind::kRecompute:
        return cost.recompute_us;
      default:
        return cost.backward_us;
    }
  }

  void Compute(int rank, const Action& action) {
    Rank& at = ranks_[rank];
    const double start = at.now, duration = Duration(costs_.Of(action.stage, action.micro_batch), action.kind);
    at.first_start = std::min(at.first_start, start);
    at.now += duration;
    at.busy += duration;
    at.last_end = at.now;
    Keep(&at.kept, action);
    HandOn(at, action);
    if (!timed_.empty()) {
      TimedAction& timed = timed_[rank].emplace_back(at.awaited);
      timed.action = action;
      timed.start_us = start;
      timed.end_us = at.now;
      timed.kept_bytes = at.kept.bytes;
      at.awaited.awaited_rank = -1;
      at.awaited.transfer_us = 0;
    }
    ++at.next_index;
  }

  // A result is sent where the list says so; in a list of compute actions alone, at once.
  void HandOn(const Rank& rank, const Action& action) {
    const auto [stage, kind, micro_batch, fused] = action;
    if (kind == ActionKind::kForward && stage + 1 < num_stages_) {
      up_[stage].Make(micro_batch, rank.next_index);
      if (!has_communication_ || up_[stage].within_rank()) SendForward(stage, micro_batch, rank.now);
    }
    if ((kind == ActionKind::kBackward || kind == ActionKind::kInputGradient) && stage > 0) {
      down_[stage - 1].Make(micro_batch, rank.next_index);
      if (!has_communication_ || down_[stage - 1].within_rank()) SendBackward(stage, micro_batch, rank.now);
    }
  }

  void Keep(Kept* rank, const Action& action) {
    const auto [stage, kind, micro_batch, fused] = action;
    const StageCost& cost = costs_.Of(stage, micro_batch);
    StageRun& run = stages_[stage];
    const bool recomputed = !run.recomputed.empty() && run.recomputed[micro_batch];
    const auto add = [&](int count, int64_t bytes, int64_t working_bytes) {
      rank->Add(count, bytes, working_bytes);
      run.kept.Add(count, bytes, working_bytes);
    };
    if (kind == ActionKind::kForward)
      add(1, recomputed ? cost.boundary_bytes : cost.activation_bytes, cost.working_bytes);
    if (kind == ActionKind::kRecompute) add(0, cost.activation_bytes - cost.boundary_bytes, cost.working_bytes);
    if (kind == ActionKind::kBackward || kind == ActionKind::kInputGradient) {
      add(0, cost.deferred_bytes - cost.activation_bytes, cost.working_bytes);
    }
    if (kind != ActionKind::kBackward && kind != ActionKind::kWeightGradient) return;
    // Gradients are added in the order of micro-batches: one before its turn keeps its factors until then.
    run.backward_done[micro_batch] = true;
    while (run.turn < static_cast<int>(run.backward_done.size()) && run.backward_done[run.turn]) {
      add(-1, -costs_.Of(stage, run.turn++).deferred_bytes, 0);
    }
  }

  const int num_stages_;
  const PipelineCosts& costs_;
  bool has_communication_ = false;
  std::vector<Rank> ranks_;
  std::vector<StageRun> stages_;
  std::map<std::pair<int, int>, double> queues_;  // by sending and receiving rank
  std::vector<Way> up_, down_;                    // [s]: from stage s to s + 1, and back
  std::vector<std::vector<TimedAction>> timed_;   // by rank; empty unless asked for
};

}  // namespace

absl::StatusOr<Simulation> Simulate(const ActionTable& table, const Placement& placement, int micro_batches,
                                    const PipelineCosts& costs, SimulationDetail detail) {
  PENSTOCK_RETURN_IF_ERROR(CheckCosts(costs, placement.num_stages(), micro_batches));
  Run run(table, placement, micro_batches, costs, detail);
  const std::vector<size_t> position =
      WalkTable(table, placement, micro_batches, [&](int rank, const Action& action) { run.Visit(rank, action); });
  std::vector<std::optional<size_t>> places(table.size());
  bool finished = true;
  for (size_t rank = 0; rank < table.size(); ++rank) {
    if (position[rank] == table[rank].size()) continue;
    places[rank] = position[rank];
    finished = false;
  }
  if (finished) return run.Finish();
  return absl::InvalidArgumentError(
      absl::StrCat("the schedule cannot finish: no marked action gets what it waits for\n", TableText(table, places)));
}

}  // namespace penstock
