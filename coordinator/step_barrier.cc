#include "coordinator/step_barrier.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "model/loss_scale.h"

namespace penstock {

StepBarrier::StepBarrier(int ranks, std::vector<std::string> parameters, double grad_clip)
    : ranks_(ranks), parameters_(std::move(parameters)), grad_clip_(grad_clip) {
  for (size_t i = 0; i < parameters_.size(); ++i) index_[parameters_[i]] = i;
}

absl::StatusOr<std::optional<StepOutcome>> StepBarrier::Add(const v1::StepVote& vote, uint64_t next_step,
                                                            double loss_scale) {
  if (vote.rank() >= static_cast<uint32_t>(ranks_)) {
    return absl::InvalidArgumentError(absl::StrCat("rank ", vote.rank(), " votes; the plan has ", ranks_, " ranks"));
  }
  if (vote.step() != next_step) {
    return absl::FailedPreconditionError(
        absl::StrCat("rank ", vote.rank(), " votes on step ", vote.step(), "; the job's next step is ", next_step));
  }
  votes_.try_emplace(vote.rank(), vote);
  if (static_cast<int>(votes_.size()) < ranks_) return std::nullopt;
  return Combine(next_step, loss_scale);
}

void StepBarrier::Decided(uint64_t step, const v1::StepDecision& decision) {
  votes_.clear();
  decided_step_ = step;
  decision_ = decision;
}

std::optional<v1::StepDecision> StepBarrier::Repeated(const v1::StepVote& vote) const {
  if (decided_step_ == 0 || vote.step() != decided_step_) return std::nullopt;
  return decision_;
}

StepOutcome StepBarrier::Combine(uint64_t step, double loss_scale) const {
  StepOutcome outcome;
  outcome.step = step;
  outcome.loss_scale = loss_scale;
  double busy_share = 0;
  for (const auto& [rank, vote] : votes_) {
    for (const double loss : vote.losses()) outcome.loss += loss;
    outcome.step_seconds = std::max(outcome.step_seconds, vote.step_seconds());
    if (vote.pass_seconds() > 0) busy_share += std::min(1.0, vote.busy_seconds() / vote.pass_seconds());
  }
  outcome.bubble = 1 - busy_share / ranks_;
  CombineNorms(loss_scale, &outcome);
  if (outcome.fault.empty() && !std::isfinite(outcome.loss)) outcome.fault = "the loss is not finite";
  for (const auto& [rank, vote] : votes_) {
    // A rank may look at more than the norms show: its word counts.
    if (outcome.fault.empty() && !vote.finite()) {
      outcome.fault = absl::StrCat("rank ", rank, " found a value that is not finite");
    }
  }
  if (loss_scale > kLeastLossScale) outcome.overflow = std::exchange(outcome.fault, "");
  return outcome;
}

void StepBarrier::CombineNorms(double loss_scale, StepOutcome* outcome) const {
  std::vector<double> squared(parameters_.size(), 0.0);
  for (const auto& [rank, vote] : votes_) {
    for (const v1::ParameterNorm& norm : vote.norms()) {
      const auto it = index_.find(norm.name());
      if (it != index_.end()) squared[it->second] = norm.squared();
    }
  }
  double sum = 0;
  for (size_t i = 0; i < squared.size(); ++i) {
    if (!std::isfinite(squared[i])) {
      outcome->fault = absl::StrCat("the gradient of ", parameters_[i], " is not finite");
      return;
    }
    sum += squared[i];
  }
  outcome->grad_norm = std::sqrt(sum) / loss_scale;
  // torch.nn.utils.clip_grad_norm_'s rule; where no clipping applies the factor is exactly 1.
  if (grad_clip_ > 0 && outcome->grad_norm > grad_clip_) outcome->clip_scale = grad_clip_ / (outcome->grad_norm + 1e-6);
  outcome->clip_scale /= loss_scale;
}

}  // namespace penstock
