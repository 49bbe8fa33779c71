#include "coordinator/plan/min_variance.h"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <vector>

#include "common/logging.h"
#include "coordinator/plan/cover.h"

namespace penstock {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// best[k][j]: the least sum of squares of k stages over the layers [0, j). Squares of sums satisfy the quadrangle
// inequality, so the best last cut never moves left when j grows, and each row is found by divide and conquer: the
// middle j first, then each half with what its cut leaves of the candidates. An upper bound on stages that grow with
// their range (`allowed`) keeps the inequality.
class Program {
 public:
  Program(const PrefixSums& costs, int num_stages, const std::function<bool(int, int)>& allowed)
      : costs_(costs), num_stages_(num_stages), allowed_(allowed) {}

  // 1. FindEnds: where k stages can end at all. 2. FillRow for each k. 3. Follow the cuts back.
  Partition Run() {
    FindEnds();
    previous_ = {0.0};
    for (int k = 1; k <= num_stages_; ++k) {
      row_ = k;
      const int first = first_end_[k], last = last_end_[k];
      CHECK_LE(first, last) << "no partition of allowed stages";
      current_.assign(last - first + 1, kInfinity);
      cut_[k].assign(last - first + 1, 0);
      FillRow(first, last, first_end_[k - 1], last_end_[k - 1]);
      previous_.swap(current_);
    }
    Partition partition(num_stages_);
    int end = costs_.size();
    for (int k = num_stages_; k >= 1; --k) {
      const int begin = cut_[k][end - first_end_[k]];
      partition[k - 1] = {begin, end};
      end = begin;
    }
    return partition;
  }

 private:
  // The end of the longest allowed stage that begins at `begin`.
  int LongestFrom(int begin) const {
    int low = begin, high = costs_.size();
    while (low < high) {
      const int middle = (low + high + 1) / 2;
      (allowed_(begin, middle) ? low : high) = allowed_(begin, middle) ? middle : middle - 1;
    }
    return low;
  }

  // The begin of the longest allowed stage that ends at `end`.
  int LongestTo(int end) const {
    int low = 0, high = end;
    while (low < high) {
      const int middle = (low + high) / 2;
      (allowed_(middle, end) ? high : low) = allowed_(middle, end) ? middle : middle + 1;
    }
    return high;
  }

  // first_end_[k], last_end_[k]: k stages can end between these, and the rest can still be covered.
  void FindEnds() {
    const int layers = costs_.size();
    first_end_.assign(num_stages_ + 1, 0);
    last_end_.assign(num_stages_ + 1, 0);
    cut_.resize(num_stages_ + 1);
    for (int k = 1, end = 0; k <= num_stages_; ++k) {
      end = LongestFrom(end);
      last_end_[k] = std::min(end, layers - (num_stages_ - k));
    }
    first_end_[num_stages_] = layers;
    for (int k = num_stages_ - 1, begin = layers; k >= 1; --k) {
      begin = LongestTo(begin);
      first_end_[k] = std::max(begin, k);
    }
  }

  // Fills ends [first, last] of the current row, whose best last cuts lie in [first_cut, last_cut].
  void FillRow(int first, int last, int first_cut, int last_cut) {
    while (first <= last) {
      const int end = (first + last) / 2;
      double best = kInfinity;
      int best_cut = first_cut;
      for (int cut = std::min(last_cut, end - 1); cut >= first_cut; --cut) {
        const double stage = costs_.Sum(cut, end);
        const double square = stage * stage;
        // Stages only get longer to the left, so from here on none is better or allowed.
        if (square > best || !allowed_(cut, end)) break;
        const double total = previous_[cut - first_end_[row_ - 1]] + square;
        if (total <= best) {
          best = total;
          best_cut = cut;
        }
      }
      current_[end - first_end_[row_]] = best;
      cut_[row_][end - first_end_[row_]] = best_cut;
      FillRow(first, end - 1, first_cut, best_cut);
      first = end + 1;
      first_cut = best_cut;
    }
  }

  const PrefixSums& costs_;
  const int num_stages_;
  const std::function<bool(int, int)>& allowed_;
  int row_ = 0;
  std::vector<int> first_end_, last_end_;  // by k
  std::vector<double> previous_,
      current_;                            // best[row - 1], best[row], from first_end_ on
  std::vector<std::vector<int32_t>> cut_;  // the last cut, by k and end
};

}  // namespace

Partition MinVarianceWithin(const PrefixSums& costs, int num_stages, const std::vector<int>& reach,
                            const StageLimits& limits) {
  const StageEnds ends(reach, num_stages, limits);
  CHECK(ends.Complete()) << "no partition within the limits";
  const int layers = costs.size();
  std::vector<double> previous = {0.0}, current;          // least sums of squares, from ends.First(count) on
  std::vector<std::vector<int32_t>> cut(num_stages + 1);  // the last cut, by count and end
  for (int count = 1; count <= num_stages; ++count) {
    const int first = ends.First(count), last = ends.Last(count);
    const int first_cut = ends.First(count - 1), last_cut = ends.Last(count - 1);
    current.assign(last - first + 1, kInfinity);
    cut[count].assign(last - first + 1, 0);
    for (int end = first; end <= last; ++end) {
      if (!ends.Possible(count, end)) continue;
      double& best = current[end - first];
      for (int begin = std::min(last_cut, end - 1); begin >= first_cut && reach[begin] >= end; --begin) {
        const double stage = costs.Sum(begin, end), square = stage * stage;
        if (square > best) break;  // stages only get longer to the left
        if (!ends.Possible(count - 1, begin) || limits.LongestFrom(count - 1, begin, layers) < end) continue;
        const double total = previous[begin - first_cut] + square;
        if (total >= best) continue;
        best = total;
        cut[count][end - first] = begin;
      }
    }
    previous.swap(current);
  }
  Partition partition(num_stages);
  for (int count = num_stages, end = layers; count >= 1; --count) {
    const int begin = cut[count][end - ends.First(count)];
    partition[count - 1] = {begin, end};
    end = begin;
  }
  return partition;
}

Partition MinVarianceAmong(const PrefixSums& costs, int num_stages, const std::function<bool(int, int)>& allowed) {
  return Program(costs, num_stages, allowed).Run();
}

}  // namespace penstock
