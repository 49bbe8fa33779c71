#include "coordinator/plan/split_search.h"

#include <optional>
#include <set>
#include <utility>

#include "common/logging.h"
#include "common/status_macros.h"

namespace penstock {
namespace {

// The ends of all stages but the last.
using Cuts = std::vector<int>;

Cuts CutsOf(const Partition& partition) {
  Cuts cuts;
  for (size_t s = 0; s + 1 < partition.size(); ++s) cuts.push_back(partition[s].end);
  return cuts;
}

Partition PartitionOf(const Cuts& cuts, int num_layers) {
  Partition partition;
  int begin = 0;
  for (const int cut : cuts) {
    partition.push_back({begin, cut});
    begin = cut;
  }
  partition.push_back({begin, num_layers});
  return partition;
}

class Search {
 public:
  Search(int num_layers, int num_cuts, int first_end, int max_trials,
         const std::function<absl::StatusOr<SplitScore>(const Partition&)>& score)
      : num_layers_(num_layers), num_cuts_(num_cuts), first_end_(first_end), max_trials_(max_trials), score_(score) {}

  absl::Status TryPartitions(const std::vector<Partition>& partitions) {
    for (const Partition& partition : partitions) PENSTOCK_RETURN_IF_ERROR(Try(CutsOf(partition)));
    return absl::OkStatus();
  }

  // Whether there are at most max_trials partitions.
  bool Few() const {
    // The ways to choose the cuts among the places that they may have.
    const int places = num_layers_ - first_end_;
    double ways = 1;
    for (int i = 0; i < num_cuts_; ++i) {
      ways = ways * (places - i) / (i + 1);
      if (ways > 4.0 * max_trials_ && i < places / 2) return false;
    }
    return ways <= max_trials_;
  }

  absl::Status TryAll() {
    Cuts cuts(num_cuts_);
    PENSTOCK_RETURN_IF_ERROR(TryFrom(0, &cuts));
    result_.exhaustive = true;
    return absl::OkStatus();
  }

  absl::Status Improve() {
    while (result_.trials < max_trials_) {
      const Cuts from = best_;
      PENSTOCK_RETURN_IF_ERROR(TryMoves(from));
      if (best_ == from) break;
    }
    return absl::OkStatus();
  }

  SplitSearch Finish() {
    result_.best = PartitionOf(best_, num_layers_);
    return std::move(result_);
  }

 private:
  bool Valid(const Cuts& cuts) const {
    int previous = first_end_ - 1;
    for (const int cut : cuts) {
      if (cut <= previous) return false;
      previous = cut;
    }
    return previous < num_layers_;
  }

  absl::Status Try(const Cuts& cuts) {
    if (!Valid(cuts) || !tried_.insert(cuts).second) return absl::OkStatus();
    ++result_.trials;
    PENSTOCK_ASSIGN_OR_RETURN(const SplitScore score, score_(PartitionOf(cuts, num_layers_)));
    if (has_best_ && !(score < result_.score)) return absl::OkStatus();
    has_best_ = true;
    best_ = cuts;
    result_.score = score;
    return absl::OkStatus();
  }

  absl::Status TryFrom(int index, Cuts* cuts) {
    if (index == num_cuts_) return Try(*cuts);
    const int first = index == 0 ? first_end_ : (*cuts)[index - 1] + 1;
    for (int cut = first; cut < num_layers_ - (num_cuts_ - 1 - index); ++cut) {
      (*cuts)[index] = cut;
      PENSTOCK_RETURN_IF_ERROR(TryFrom(index + 1, cuts));
    }
    return absl::OkStatus();
  }

  // Shorter runs of cuts first: most often it is one stage that is too long.
  absl::Status TryMoves(const Cuts& from) {
    for (int run = 1; run <= num_cuts_; ++run) {
      for (int first = 0; first + run <= num_cuts_; ++first) {
        for (const int by : {-1, 1, -2, 2}) {
          if (result_.trials >= max_trials_) return absl::OkStatus();
          Cuts cuts = from;
          for (int i = first; i < first + run; ++i) cuts[i] += by;
          PENSTOCK_RETURN_IF_ERROR(Try(cuts));
        }
      }
    }
    return absl::OkStatus();
  }

  const int num_layers_, num_cuts_, first_end_, max_trials_;
  const std::function<absl::StatusOr<SplitScore>(const Partition&)>& score_;
  std::set<Cuts> tried_;
  bool has_best_ = false;
  Cuts best_;
  SplitSearch result_;
};

}  // namespace

absl::StatusOr<SplitSearch> SearchSplit(const std::vector<Partition>& starts, int first_end, int max_trials,
                                        const std::function<absl::StatusOr<SplitScore>(const Partition&)>& score) {
  CHECK(!starts.empty());
  Search search(starts[0].back().end, static_cast<int>(starts[0].size()) - 1, first_end, max_trials, score);
  PENSTOCK_RETURN_IF_ERROR(search.TryPartitions(starts));
  if (search.Few()) {
    PENSTOCK_RETURN_IF_ERROR(search.TryAll());
  } else {
    PENSTOCK_RETURN_IF_ERROR(search.Improve());
  }
  return search.Finish();
}

}  // namespace penstock
