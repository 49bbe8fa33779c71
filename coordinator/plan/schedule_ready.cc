// The lists of `ready`: what ranks do that run whatever is there.
#include "coordinator/plan/schedule_ready.h"

#include <algorithm>
#include <queue>
#include <set>
#include <tuple>
#include <vector>

namespace penstock {
namespace {

// An F or B whose input is on its rank. The one that came first runs first; of several that came at once the earliest
// micro-batch, and of that the stage nearest to the end of its pass.
struct Waiting {
  double arrival = 0;
  Action action;

  friend bool operator<(const Waiting& a, const Waiting& b) {
    const auto key = [](const Waiting& w) {
      const int to_go = w.action.kind == ActionKind::kForward ? -w.action.stage : w.action.stage;
      return std::make_tuple(w.arrival, w.action.micro_batch, to_go);
    };
    return key(a) < key(b);
  }
};

// Something happens on a rank: its device is free, or an input comes.
struct Event {
  double time = 0;
  int rank = 0;

  friend bool operator>(const Event& a, const Event& b) {
    return std::make_tuple(a.time, a.rank) > std::make_tuple(b.time, b.rank);
  }
};

class Run {
 public:
  Run(const Placement& placement, int micro_batches, const PipelineCosts& costs)
      : placement_(placement),
        micro_batches_(micro_batches),
        costs_(costs),
        free_at_(placement.num_ranks(), 0),
        waiting_(placement.num_ranks()),
        up_free_at_(placement.num_stages(), 0),
        down_free_at_(placement.num_stages(), 0),
        table_(placement.num_ranks()) {}

  // All micro-batches are ready for the first stage. Once all of them have been through the last one, all are ready to
  // go back from it.
  ActionTable Finish() {
    for (int m = 0; m < micro_batches_; ++m) Arrive({0, ActionKind::kForward, m}, 0);
    while (!events_.empty()) {
      const Event event = events_.top();
      events_.pop();
      Start(event.rank, event.time);
    }
    return std::move(table_);
  }

 private:
  void Arrive(const Action& action, double time) {
    const int rank = placement_.rank_of_stage[action.stage];
    waiting_[rank].insert({time, action});
    events_.push({time, rank});
  }

  // Hands the result of `action` on to stage `to`; `free_at` is the way there.
  void Send(const Action& action, int to, double time, double* free_at) {
    const int below = std::min(action.stage, to);
    if (placement_.rank_of_stage[action.stage] != placement_.rank_of_stage[to]) {
      const Link& link = costs_.links[below];
      *free_at = std::max(*free_at, time);
      // A gradient is as large as the activation.
      const auto bytes = static_cast<double>(costs_.Of(below, action.micro_batch).output_bytes);
      if (link.bytes_per_us > 0) *free_at += bytes / link.bytes_per_us;
      time = *free_at + link.latency_us;
    }
    Arrive({to, action.kind, action.micro_batch}, time);
  }

  // Runs the first action that is there by now, if the rank is free.
  void Start(int rank, double now) {
    std::set<Waiting>& waiting = waiting_[rank];
    if (free_at_[rank] > now || waiting.empty() || waiting.begin()->arrival > now) return;
    const Action action = waiting.begin()->action;
    waiting.erase(waiting.begin());
    const auto [stage, kind, micro_batch, fused] = action;
    const StageCost& cost = costs_.Of(stage, micro_batch);
    const bool forward = kind == ActionKind::kForward;
    const double end = now + (forward ? cost.forward_us : cost.backward_us);
    table_[rank].push_back(action);
    free_at_[rank] = end;
    events_.push({end, rank});
    if (forward && stage + 1 < placement_.num_stages()) {
      Send(action, stage + 1, end, &up_free_at_[stage]);
    } else if (!forward && stage > 0) {
      Send(action, stage - 1, end, &down_free_at_[stage]);
    } else if (forward && ++through_ == micro_batches_) {
      for (int m = 0; m < micro_batches_; ++m) Arrive({stage, ActionKind::kBackward, m}, end);
    }
  }

  const Placement& placement_;
  const int micro_batches_;
  const PipelineCosts& costs_;
  int through_ = 0;  // micro-batches that have reached the end of the last stage
  std::vector<double> free_at_;
  std::vector<std::set<Waiting>> waiting_;
  std::vector<double> up_free_at_, down_free_at_;  // by stage: its way to the next stage, and to the one before
  std::priority_queue<Event, std::vector<Event>, std::greater<Event>> events_;
  ActionTable table_;
};

}  // namespace

ActionTable ReadyLists(const Placement& placement, int micro_batches, const PipelineCosts& costs) {
  return Run(placement, micro_batches, costs).Finish();
}

}  // namespace penstock
