// Costs of consecutive layers in constant time. Pure.
#ifndef PENSTOCK_COORDINATOR_PLAN_PREFIX_SUMS_H_
#define PENSTOCK_COORDINATOR_PLAN_PREFIX_SUMS_H_

#include <cstddef>
#include <vector>

namespace penstock {

class PrefixSums {
 public:
  explicit PrefixSums(const std::vector<double>& values) : sums_(values.size() + 1, 0.0) {
    for (size_t i = 0; i < values.size(); ++i) sums_[i + 1] = sums_[i] + values[i];
  }

  int size() const { return static_cast<int>(sums_.size()) - 1; }

  // The sum of values [begin, end). Never falls when a range grows, rounding included, where no value is negative.
  double Sum(int begin, int end) const { return sums_[end] - sums_[begin]; }

 private:
  std::vector<double> sums_;
};

}  // namespace penstock

#endif  // PENSTOCK_COORDINATOR_PLAN_PREFIX_SUMS_H_
