#include "worker/runtime/credit_planner.h"

#include <utility>

#include "common/logging.h"

namespace penstock {
namespace {

BoundaryKey WithPass(BoundaryKey key, uint64_t pass) {
  key.pass = pass;
  return key;
}

}  // namespace

Grant CreditPlanner::At(uint64_t index) const {
  const ExpectedTensor& tensor = expected_[index % expected_.size()];
  return {WithPass(tensor.key, first_pass_ + index / expected_.size()), tensor.link};
}

std::vector<Grant> CreditPlanner::BeginRange(std::vector<ExpectedTensor> expected, uint64_t first_pass,
                                             uint64_t passes) {
  for (const Grant& grant : Granted()) left_over_.insert(grant.key);
  absl::erase_if(left_over_, [first_pass](const BoundaryKey& key) { return key.pass < first_pass; });
  expected_ = std::move(expected);
  place_.clear();
  for (size_t i = 0; i < expected_.size(); ++i) place_[WithPass(expected_[i].key, 0)] = i;
  first_pass_ = first_pass;
  passes_ = passes;
  next_take_ = next_grant_ = 0;
  granted_bytes_ = 0;
  return Extend();
}

std::vector<Grant> CreditPlanner::Extend() {
  std::vector<Grant> grants;
  while (next_grant_ < End() &&
         (next_grant_ == next_take_ || granted_bytes_ + BytesAt(next_grant_) <= budget_bytes_)) {
    grants.push_back(At(next_grant_));
    granted_bytes_ += BytesAt(next_grant_);
    ++next_grant_;
  }
  return grants;
}

std::vector<Grant> CreditPlanner::Taken(const BoundaryKey& key) {
  CHECK(next_take_ < next_grant_ && At(next_take_).key == key) << ToText(key) << " was taken out of order";
  left_over_.erase(key);
  granted_bytes_ -= BytesAt(next_take_);
  ++next_take_;
  if (next_grant_ == next_take_ || granted_bytes_ <= budget_bytes_ / 2) return Extend();
  return {};
}

CreditPlanner::State CreditPlanner::StateOf(const BoundaryKey& key) const {
  if (key.pass < first_pass_) return State::kTaken;
  const uint64_t ahead = key.pass - first_pass_;
  if (ahead < passes_) {
    const auto place = place_.find(WithPass(key, 0));
    if (place != place_.end()) {
      const uint64_t index = ahead * expected_.size() + place->second;
      if (index < next_take_) return State::kTaken;
      if (index < next_grant_) return State::kGranted;
    }
  }
  return left_over_.contains(key) ? State::kGranted : State::kNotGranted;
}

std::vector<Grant> CreditPlanner::Granted() const {
  std::vector<Grant> grants;
  for (uint64_t i = next_take_; i < next_grant_; ++i) grants.push_back(At(i));
  return grants;
}

}  // namespace penstock
