#include "coordinator/plan/schedule_search.h"

#include <algorithm>
#include <limits>
#include <optional>

namespace penstock {
namespace {

// The three choices of a walk.
struct Choices {
  bool late_first_gradient = false;  // warm-up: one forward more, though the first gradient then waits for it
  bool hold_back = false;            // skip a forward that the next rank is not ready for, if that costs nothing
  bool fill_hidden_gaps = false;     // put a W even into a gap that another rank's idle time hides
};

struct Rank {
  double now = 0;
  double first_start = 0;
  double idle = 0;  // after its first forward
  int64_t kept = 0;
  int forwards = 0, inputs = 0, weights = 0;  // how many of each are laid
  std::vector<double> forward_end, input_end;
  ActionList list;
};

// A walk over rounds. Round i ends with I of micro-batch i on every rank; until forwards run out, it begins with a
// forward on every rank.
class Walk {
 public:
  Walk(int ranks, int micro_batches, const PipelineCosts& costs, const std::vector<int64_t>& limit_bytes,
       const Choices& choices)
      : micro_batches_(micro_batches), costs_(costs), limit_(limit_bytes), choices_(choices), ranks_(ranks) {
    for (Rank& rank : ranks_) rank.list.reserve(size_t{3} * micro_batches);
  }

  // 1. WarmUp: forwards until the first gradient, and that.
  // 2. LayForwards, LayInputGradients: round by round, W's in the gaps.
  // 3. The W's that are left.
  void Run() {
    WarmUp();
    for (int round = 1; round < micro_batches_; ++round) {
      LayForwards();
      LayInputGradients(round);
    }
    for (int r = 0; r < size(); ++r) {
      while (WeightWaits(r)) Lay(r, ActionKind::kWeightGradient);
    }
  }

  double Span() const {
    double span = 0;
    for (const Rank& rank : ranks_) span = std::max(span, rank.now - rank.first_start);
    return span;
  }
  double Makespan() const {
    double end = 0;
    for (const Rank& rank : ranks_) end = std::max(end, rank.now);
    return end;
  }
  ActionTable Take() && {
    ActionTable table;
    for (Rank& rank : ranks_) table.push_back(std::move(rank.list));
    return table;
  }

 private:
  int size() const { return static_cast<int>(ranks_.size()); }
  bool WeightWaits(int r) const { return ranks_[r].weights < ranks_[r].inputs; }

  double ForwardUs(int r, int m) const { return costs_.Of(r, m).forward_us; }
  double InputUs(int r, int m) const { return costs_.Of(r, m).backward_us - costs_.Of(r, m).weight_gradient_us; }
  double WeightUs(int r, int m) const { return costs_.Of(r, m).weight_gradient_us; }
  // Either way between ranks r and r + 1: a gradient is as large as the activation.
  double TransferUs(int r, int m) const {
    const Link& link = costs_.links[r];
    return link.latency_us + (link.bytes_per_us > 0 ? costs_.Of(r, m).output_bytes / link.bytes_per_us : 0);
  }
  int64_t ActivationBytes(int r, int m) const { return SearchedActivationBytes(costs_.Of(r, m)); }
  int64_t DeferredBytes(int r, int m) const {
    const StageCost& cost = costs_.Of(r, m);
    return cost.activation_bytes > 0 ? cost.deferred_bytes : ActivationBytes(r, m);
  }

  // When what the rank's next action of this kind needs has come.
  double Arrival(int r, ActionKind kind) const {
    const Rank& rank = ranks_[r];
    if (kind == ActionKind::kForward && r > 0) {
      return ranks_[r - 1].forward_end[rank.forwards] + TransferUs(r - 1, rank.forwards);
    }
    if (kind == ActionKind::kInputGradient && r + 1 < size()) {
      return ranks_[r + 1].input_end[rank.inputs] + TransferUs(r, rank.inputs);
    }
    return 0;
  }

  void Lay(int r, ActionKind kind) {
    Rank& rank = ranks_[r];
    const double start = std::max(rank.now, Arrival(r, kind));
    if (rank.forwards > 0) {
      rank.idle += start - rank.now;
      most_idle_ = std::max(most_idle_, rank.idle);
    } else {
      rank.first_start = start;
    }
    switch (kind) {
      case ActionKind::kForward:
        rank.kept += ActivationBytes(r, rank.forwards);
        rank.now = start + ForwardUs(r, rank.forwards);
        rank.forward_end.push_back(rank.now);
        rank.list.push_back({r, kind, rank.forwards++});
        break;
      case ActionKind::kInputGradient:
        rank.kept += DeferredBytes(r, rank.inputs) - ActivationBytes(r, rank.inputs);
        rank.now = start + InputUs(r, rank.inputs);
        rank.input_end.push_back(rank.now);
        rank.list.push_back({r, kind, rank.inputs++});
        break;
      default:
        rank.kept -= DeferredBytes(r, rank.weights);
        rank.now = start + WeightUs(r, rank.weights);
        rank.list.push_back({r, kind, rank.weights++});
    }
  }

  // Lays W's until `bytes` more may be kept. Returns whether they may.
  bool MakeRoom(int r, int64_t bytes) {
    while (ranks_[r].kept + bytes > limit_[r] && WeightWaits(r)) Lay(r, ActionKind::kWeightGradient);
    return ranks_[r].kept + bytes <= limit_[r];
  }

  // W's in the gap before the next action of this kind: those that fit, and one that does not if waiting would make
  // the worst rank worse, or if the choice says so.
  void FillGap(int r, ActionKind kind) {
    Rank& rank = ranks_[r];
    const double arrival = Arrival(r, kind);
    while (WeightWaits(r) && rank.now + WeightUs(r, rank.weights) <= arrival) Lay(r, ActionKind::kWeightGradient);
    if (!WeightWaits(r) || rank.now >= arrival) return;
    const bool hidden = rank.idle + (arrival - rank.now) <= most_idle_;
    if (!hidden || choices_.fill_hidden_gaps) Lay(r, ActionKind::kWeightGradient);
  }

  // How many forwards each rank runs after its first, until the first gradient comes to it: from the last rank up,
  // since that tells when. Each rank at least one more than the next, while there are any.
  std::vector<int> WarmUpForwards() const {
    std::vector<int> more(size(), 0);
    double gradient_end = ranks_.back().now + InputUs(size() - 1, 0);
    for (int r = size() - 2; r >= 0; --r) {
      const double arrival = gradient_end + TransferUs(r, 0);
      double now = ranks_[r].now;
      int64_t kept = ranks_[r].kept;
      for (int m = 1; m < micro_batches_ && kept + ActivationBytes(r, m) <= limit_[r]; ++m) {
        const double end = now + ForwardUs(r, m);
        if (choices_.late_first_gradient ? now >= arrival : end > arrival) break;
        now = end;
        kept += ActivationBytes(r, m);
        ++more[r];
      }
      gradient_end = std::max(now, arrival) + InputUs(r, 0);
    }
    for (int r = 1; r < size(); ++r) {
      const bool has_all = more[r - 1] + 1 == micro_batches_;
      more[r] = std::min(more[r], has_all ? more[r - 1] : std::max(0, more[r - 1] - 1));
    }
    return more;
  }

  void WarmUp() {
    for (int r = 0; r < size(); ++r) Lay(r, ActionKind::kForward);
    const std::vector<int> more = WarmUpForwards();
    for (int r = 0; r < size(); ++r) {
      for (int i = 0; i < more[r]; ++i) Lay(r, ActionKind::kForward);
    }
    for (int r = size() - 1; r >= 0; --r) Lay(r, ActionKind::kInputGradient);
  }

  // Whether the rank can let this round's forward be: the next rank has several to go, and will not be waiting for one
  // before it has run the next and a gradient.
  bool CanHoldBack(int r) const {
    const Rank& rank = ranks_[r];
    if (!choices_.hold_back || r + 1 == size() || rank.forwards < ranks_[r + 1].forwards + 2) return false;
    const Rank& next = ranks_[r + 1];
    // When the gradient after the next rank's coming forward can be here.
    const double needed =
        next.now + ForwardUs(r + 1, next.forwards) + InputUs(r + 1, next.inputs) + TransferUs(r, next.inputs);
    if (rank.now >= needed) return true;
    // The forward, with the W's that it takes to make room for it.
    double end = rank.now + ForwardUs(r, rank.forwards);
    int64_t kept = rank.kept + ActivationBytes(r, rank.forwards);
    for (int w = rank.weights; w < rank.inputs && kept > limit_[r]; ++w) {
      end += WeightUs(r, w);
      kept -= DeferredBytes(r, w);
    }
    if (end <= needed) return false;
    return rank.idle + (needed - rank.now) <= most_idle_;
  }

  void LayForwards() {
    std::vector<bool> wanted(ranks_.size());
    for (int r = 0; r < size(); ++r) wanted[r] = ranks_[r].forwards < micro_batches_ && !CanHoldBack(r);
    // Who holds back holds back all before it: each stays ahead of the next as it was.
    for (int r = size() - 2; r >= 0; --r) {
      if (!wanted[r + 1] && ranks_[r + 1].forwards < micro_batches_) wanted[r] = false;
    }
    for (int r = 0; r < size(); ++r) {
      Rank& rank = ranks_[r];
      // A rank that has nothing for this round's gradient must go on whatever it takes.
      const bool must = rank.forwards == rank.inputs && rank.forwards < micro_batches_;
      if (!must && (!wanted[r] || (r > 0 && ranks_[r - 1].forwards <= rank.forwards))) continue;
      if (!MakeRoom(r, ActivationBytes(r, rank.forwards)) && !must) continue;
      if (r > 0) FillGap(r, ActionKind::kForward);
      Lay(r, ActionKind::kForward);
    }
  }

  void LayInputGradients(int round) {
    for (int r = size() - 1; r >= 0; --r) {
      MakeRoom(r, DeferredBytes(r, round) - ActivationBytes(r, round));
      if (r + 1 < size()) FillGap(r, ActionKind::kInputGradient);
      // Nobody waits for the first rank's gradients once its forwards are through.
      while (r == 0 && ranks_[r].forwards == micro_batches_ && WeightWaits(r)) Lay(r, ActionKind::kWeightGradient);
      Lay(r, ActionKind::kInputGradient);
    }
  }

  const int micro_batches_;
  const PipelineCosts& costs_;
  const std::vector<int64_t>& limit_;
  const Choices choices_;
  std::vector<Rank> ranks_;
  double most_idle_ = 0;
};

}  // namespace

int64_t SearchedActivationBytes(const StageCost& cost) {
  // Factors that wait may be larger than what made them; an I must find the room that its F has left.
  return cost.activation_bytes > 0 ? std::max(cost.activation_bytes, cost.deferred_bytes) : 1;
}

ActionTable SearchZeroBubble(int ranks, int micro_batches, const PipelineCosts& costs,
                             const std::vector<int64_t>& limit_bytes) {
  ActionTable best;
  double best_span = std::numeric_limits<double>::infinity(), best_makespan = best_span;
  for (int choice = 0; choice < 8; ++choice) {
    Walk walk(ranks, micro_batches, costs, limit_bytes, {(choice & 1) != 0, (choice & 2) != 0, (choice & 4) != 0});
    walk.Run();
    const double span = walk.Span(), makespan = walk.Makespan();
    if (!best.empty() && (span > best_span || (span == best_span && makespan >= best_makespan))) continue;
    best_span = span;
    best_makespan = makespan;
    best = std::move(walk).Take();
  }
  return best;
}

}  // namespace penstock
