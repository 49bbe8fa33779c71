#include "coordinator/plan/simulate.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <optional>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "coordinator/plan/table.h"

namespace penstock {
namespace {

bool IsAmount(double value) { return std::isfinite(value) && value >= 0; }

absl::Status CheckCosts(const PipelineCosts& costs, int num_stages, int micro_batches) {
  const auto check = [&](const std::vector<StageCost>& stages) {
    if (static_cast<int>(stages.size()) != num_stages) {
      return absl::InvalidArgumentError(absl::StrCat(stages.size(), " stage costs for ", num_stages, " stages"));
    }
    for (int s = 0; s < num_stages; ++s) {
      const StageCost& cost = stages[s];
      if (IsAmount(cost.forward_us) && IsAmount(cost.backward_us) && cost.activation_bytes >= 0 &&
          cost.output_bytes >= 0) {
        continue;
      }
      return absl::InvalidArgumentError(absl::StrCat(
          "stage ", s, " takes ", cost.forward_us, " us forward and ", cost.backward_us, " us backward, keeps ",
          cost.activation_bytes, " bytes and sends ", cost.output_bytes, "; all must be numbers and none negative"));
    }
    return absl::OkStatus();
  };
  PENSTOCK_RETURN_IF_ERROR(check(costs.larger));
  if (costs.num_larger < micro_batches) PENSTOCK_RETURN_IF_ERROR(check(costs.smaller));
  if (static_cast<int>(costs.links.size()) + 1 < num_stages) {
    return absl::InvalidArgumentError(absl::StrCat(costs.links.size(), " links between ", num_stages, " stages"));
  }
  for (size_t i = 0; i < costs.links.size(); ++i) {
    if (IsAmount(costs.links[i].latency_us) && IsAmount(costs.links[i].bytes_per_us)) continue;
    return absl::InvalidArgumentError(absl::StrCat("the link after stage ", i, " has latency ",
                                                   costs.links[i].latency_us, " us and ", costs.links[i].bytes_per_us,
                                                   " bytes a us; both must be numbers and none negative"));
  }
  return absl::OkStatus();
}

// One way between two neighbouring stages. Remembers when what was sent arrives, until it is taken.
class Way {
 public:
  Way(const Link& link, bool same_rank, int micro_batches)
      : link_(link), same_rank_(same_rank), arrival_(micro_batches, 0.0) {}

  void Send(int micro_batch, double at, int64_t bytes) {
    if (same_rank_) {
      arrival_[micro_batch] = at;
      return;
    }
    free_at_ = std::max(free_at_, at);
    if (link_.bytes_per_us > 0) free_at_ += bytes / link_.bytes_per_us;
    arrival_[micro_batch] = free_at_ + link_.latency_us;
  }

  double Arrival(int micro_batch) const { return arrival_[micro_batch]; }

 private:
  Link link_;
  bool same_rank_;
  double free_at_ = 0;
  std::vector<double> arrival_;
};

// Micro-batches between forward and backward, counted as a rank's list goes on.
struct Kept {
  int micro_batches = 0, peak_micro_batches = 0;
  int64_t bytes = 0, peak_bytes = 0;

  void Add(int count, int64_t more) {
    micro_batches += count;
    bytes += more;
    peak_micro_batches = std::max(peak_micro_batches, micro_batches);
    peak_bytes = std::max(peak_bytes, bytes);
  }
};

struct Rank {
  double now = 0;
  double busy = 0;
  Kept kept;
};

struct StageRun {
  double first_start = std::numeric_limits<double>::infinity();
  double last_end = 0;
  Kept kept;
  std::vector<bool> backward_done;  // by micro-batch
  int turn = 0;                     // the first micro-batch whose backward is not done
};

// The state of a run. WalkTable hands the actions in an order in which all inputs are known.
class Run {
 public:
  Run(const Placement& placement, int micro_batches, const PipelineCosts& costs)
      : placement_(placement), costs_(costs), ranks_(placement.num_ranks()), stages_(placement.num_stages()) {
    for (StageRun& stage : stages_) stage.backward_done.assign(micro_batches, false);
    for (int s = 0; s + 1 < placement.num_stages(); ++s) {
      const bool same_rank = placement.rank_of_stage[s] == placement.rank_of_stage[s + 1];
      up_.emplace_back(costs.links[s], same_rank, micro_batches);
      down_.emplace_back(costs.links[s], same_rank, micro_batches);
    }
  }

  void Visit(int rank, const Action& action) {
    const auto [stage, kind, micro_batch, fused] = action;
    if (IsSend(kind)) return;  // costs no time; the result left when it was made
    const bool forward = kind == ActionKind::kForward || kind == ActionKind::kRecvForward;
    Rank& at = ranks_[rank];
    if (forward && stage > 0) at.now = std::max(at.now, up_[stage - 1].Arrival(micro_batch));
    if (!forward && stage + 1 < placement_.num_stages()) at.now = std::max(at.now, down_[stage].Arrival(micro_batch));
    if (IsCompute(kind)) Compute(&at, action, forward);
  }

  Simulation Finish() const {
    Simulation result;
    double work = 0;
    for (const Rank& rank : ranks_) {
      result.makespan_us = std::max(result.makespan_us, rank.now);
      result.busy_us.push_back(rank.busy);
      result.rank_peak_activation_bytes.push_back(rank.kept.peak_bytes);
      work = std::max(work, rank.busy);
    }
    for (const StageRun& stage : stages_) {
      result.span_us = std::max(result.span_us, stage.last_end - stage.first_start);
      result.peak_micro_batches.push_back(stage.kept.peak_micro_batches);
      result.peak_activation_bytes.push_back(stage.kept.peak_bytes);
    }
    const double total = std::accumulate(result.busy_us.begin(), result.busy_us.end(), 0.0);
    if (work > 0) {
      result.bubbles.gpipe = 1 - total / (result.makespan_us * static_cast<double>(ranks_.size()));
      result.bubbles.megatron = (result.makespan_us - work) / work;
      result.bubbles.zero_bubble = (result.span_us - work) / result.span_us;
    }
    return result;
  }

 private:
  void Compute(Rank* rank, const Action& action, bool forward) {
    const auto [stage, kind, micro_batch, fused] = action;
    const StageCost& cost = costs_.Of(stage, micro_batch);
    const double duration = forward ? cost.forward_us : cost.backward_us;
    StageRun& run = stages_[stage];
    run.first_start = std::min(run.first_start, rank->now);
    rank->now += duration;
    rank->busy += duration;
    run.last_end = std::max(run.last_end, rank->now);
    if (forward) {
      rank->kept.Add(1, cost.activation_bytes);
      run.kept.Add(1, cost.activation_bytes);
    } else {
      Release(rank, stage, micro_batch);
    }
    if (forward && stage + 1 < placement_.num_stages()) {
      up_[stage].Send(micro_batch, rank->now, cost.output_bytes);
    } else if (!forward && stage > 0) {
      down_[stage - 1].Send(micro_batch, rank->now, costs_.Of(stage - 1, micro_batch).output_bytes);
    }
  }

  // Gradients are added in the order of micro-batches: a backward before its turn keeps what it needs until then.
  void Release(Rank* rank, int stage, int micro_batch) {
    StageRun& run = stages_[stage];
    run.backward_done[micro_batch] = true;
    while (run.turn < static_cast<int>(run.backward_done.size()) && run.backward_done[run.turn]) {
      const int64_t bytes = costs_.Of(stage, run.turn++).activation_bytes;
      rank->kept.Add(-1, -bytes);
      run.kept.Add(-1, -bytes);
    }
  }

  const Placement& placement_;
  const PipelineCosts& costs_;
  std::vector<Rank> ranks_;
  std::vector<StageRun> stages_;
  std::vector<Way> up_, down_;  // [s]: from stage s to s + 1, and back
};

}  // namespace

absl::StatusOr<Simulation> Simulate(const ActionTable& table, const Placement& placement, int micro_batches,
                                    const PipelineCosts& costs) {
  PENSTOCK_RETURN_IF_ERROR(CheckCosts(costs, placement.num_stages(), micro_batches));
  Run run(placement, micro_batches, costs);
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
