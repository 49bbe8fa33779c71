// Looks for the best partition by trying: every one where there are few, else moves of cut points. Pure.
// Source: docs/schedules.md, "Partition".
#ifndef PENSTOCK_COORDINATOR_PLAN_SPLIT_SEARCH_H_
#define PENSTOCK_COORDINATOR_PLAN_SPLIT_SEARCH_H_

#include <cstdint>
#include <functional>
#include <vector>

#include "absl/status/statusor.h"
#include "coordinator/plan/partition.h"

namespace penstock {

// What a partition is worth: first that it fits, then that it is fast.
struct SplitScore {
  uint64_t missing_bytes = 0;  // by how much the ranks exceed their limits, together
  double step_us = 0;

  friend bool operator<(const SplitScore& a, const SplitScore& b) {
    if (a.missing_bytes != b.missing_bytes) return a.missing_bytes < b.missing_bytes;
    return a.step_us < b.step_us;
  }
};

struct SplitSearch {
  Partition best;
  SplitScore score;
  int trials = 0;
  bool exhaustive = false;  // no partition is better
};

// Tries all partitions if there are at most max_trials of them. Else tries `starts`, and from the best of them moves
// one cut, or a run of neighbouring cuts together, by one or two layers, the best move first, until no move helps or
// max_trials are used up.
// Args:    starts: at least one, all of the same layers and number of stages. The first wins against equal ones.
//          first_end: the first stage has at least the layers before this one.
// Errors:  those of `score`, which ends the search.
absl::StatusOr<SplitSearch> SearchSplit(const std::vector<Partition>& starts, int first_end, int max_trials,
                                        const std::function<absl::StatusOr<SplitScore>(const Partition&)>& score);

}  // namespace penstock

#endif  // PENSTOCK_COORDINATOR_PLAN_SPLIT_SEARCH_H_
