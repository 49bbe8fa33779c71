#include "cli/comparison.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace penstock {
namespace {

constexpr double kMicrosecond = 1e-6;

// A difference below this is none worth an explanation: steps vary as much from run to run.
constexpr double kSame = 0.01;

std::optional<double> Positive(double value) { return value > 0 ? std::optional<double>(value) : std::nullopt; }

// A percentage beyond this is read as a factor.
constexpr double kFactor = 2;

// Measured minus predicted; 0 where one is absent.
double Excess(const Figure& figure) { return figure.measured.value_or(0) - figure.predicted.value_or(0); }

// The action of a stage on this rank that departs most from its prediction, over the whole step.
std::string WorstAction(const Comparison& comparison, uint32_t rank) {
  std::string worst;
  double most = 0;
  for (const StageComparison& stage : comparison.stages) {
    if (stage.rank != rank) continue;
    const std::pair<const char*, const Figure*> kinds[] = {{"forward passes", &stage.forward_seconds},
                                                           {"input gradients", &stage.input_gradient_seconds},
                                                           {"weight gradients", &stage.weight_gradient_seconds},
                                                           {"recomputation", &stage.recompute_seconds}};
    for (const auto& [name, figure] : kinds) {
      const std::optional<double> difference = figure->Difference();
      if (!difference.has_value() || std::abs(Excess(*figure)) <= most) continue;
      most = std::abs(Excess(*figure));
      worst = absl::StrCat("most of it in the ", name, " of stage ", stage.stage, ", ", figure->DifferenceText());
    }
  }
  return worst;
}

std::string Milliseconds(double seconds) { return absl::StrFormat("%+.2f ms", 1e3 * seconds); }

// Which part of the step makes the difference. The rank with the most work decides how long a pass is: its compute, its
// waiting, and what comes after the pass add up to the step.
std::string Verdict(const Comparison& comparison) {
  const std::optional<double> difference = comparison.step_seconds.Difference();
  if (!difference.has_value()) return "The plan predicts no step time.";
  const std::string step = absl::StrCat("The measured step is ", comparison.step_seconds.DifferenceText(),
                                        *difference > kFactor - 1 ? " the predicted one" : " from the predicted one");
  const RankComparison* busiest = &comparison.ranks.front();
  for (const RankComparison& rank : comparison.ranks) {
    if (rank.busy_seconds.measured.value_or(0) > busiest->busy_seconds.measured.value_or(0)) busiest = &rank;
  }
  const double compute = Excess(busiest->busy_seconds), wait = Excess(busiest->idle_seconds);
  const double update = Excess(comparison.update_seconds);
  const double largest = std::max({std::abs(compute), std::abs(wait), std::abs(update)});
  if (largest < kSame * *comparison.step_seconds.predicted) {
    return absl::StrCat(step, "; no part of it departs by more than 1 % of the step.");
  }
  if (std::abs(compute) == largest) {
    const std::string worst = WorstAction(comparison, busiest->rank);
    return absl::StrCat(step, ". They part most in compute: rank ", busiest->rank, ", the busiest, ",
                        Milliseconds(compute), " a step", worst.empty() ? "" : "; ", worst, ".");
  }
  if (std::abs(update) == largest) {
    return absl::StrCat(step, ". They part most after the pass, in the vote, the decision and the optimizer's update: ",
                        Milliseconds(update), " a step.");
  }
  // It waits otherwise than predicted: for ranks that compute otherwise, whose differences may add up along the
  // pipeline, or for what lies between their actions.
  const RankComparison* other = nullptr;
  double others = 0;
  for (const RankComparison& rank : comparison.ranks) {
    if (rank.rank == busiest->rank || Excess(rank.busy_seconds) * wait <= 0) continue;
    others += std::abs(Excess(rank.busy_seconds));
    if (other == nullptr || std::abs(Excess(rank.busy_seconds)) > std::abs(Excess(other->busy_seconds))) other = &rank;
  }
  const std::string waits = absl::StrCat(step, ". They part most in waiting: rank ", busiest->rank, ", the busiest, ",
                                         Milliseconds(wait), " a step");
  if (other != nullptr && others > std::abs(wait) / 2) {
    const bool alone = std::abs(Excess(other->busy_seconds)) > others / 2;
    return absl::StrCat(waits, ", for ", alone ? "" : "several ranks, most for ", "rank ", other->rank,
                        ", whose compute departs from its prediction by ", Milliseconds(Excess(other->busy_seconds)),
                        ".");
  }
  return absl::StrCat(waits,
                      ", which the ranks' compute does not explain: what lies between their actions (transfers, ",
                      "waking up for them, other work of the processors) takes ", wait > 0 ? "longer" : "less",
                      " than the plan assumes.");
}

Figure Of(double predicted_us, double measured_seconds) {
  return {Positive(predicted_us * kMicrosecond), Positive(measured_seconds)};
}

void AddStages(const v1::Plan& plan, const v1::JobStatus& status, Comparison* comparison) {
  for (const v1::StageStatus& measured : status.stages()) {
    if (measured.stage() >= static_cast<uint32_t>(plan.stages_size())) continue;
    const v1::Stage& stage = plan.stages(static_cast<int>(measured.stage()));
    StageComparison& entry = comparison->stages.emplace_back();
    entry.stage = measured.stage();
    entry.rank = measured.rank();
    entry.layers = measured.layers();
    entry.forward_seconds = Of(stage.forward_us(), measured.forward_seconds());
    entry.input_gradient_seconds =
        Of(stage.backward_us() - stage.weight_gradient_us(), measured.input_gradient_seconds());
    entry.weight_gradient_seconds = Of(stage.weight_gradient_us(), measured.weight_gradient_seconds());
    entry.recompute_seconds = Of(stage.recompute_us(), measured.recompute_seconds());
  }
}

void AddRanks(const v1::Plan& plan, const v1::JobStatus& status, Comparison* comparison) {
  std::map<uint32_t, double> state;
  for (const v1::Stage& stage : plan.stages()) state[stage.rank()] += static_cast<double>(stage.state_bytes());
  for (const v1::RankStatus& measured : status.ranks()) {
    RankComparison& entry = comparison->ranks.emplace_back();
    entry.rank = measured.rank();
    entry.worker = measured.worker();
    entry.busy_seconds.measured = measured.busy_seconds();
    entry.idle_seconds.measured = std::max(0.0, *comparison->pass_seconds.measured - measured.busy_seconds());
    entry.state_bytes = {Positive(state[measured.rank()]), Positive(static_cast<double>(measured.state_bytes()))};
    entry.peak_bytes.measured = Positive(static_cast<double>(measured.peak_bytes()));
    if (measured.rank() >= static_cast<uint32_t>(plan.ranks_size())) continue;
    const v1::RankPrediction& predicted = plan.ranks(static_cast<int>(measured.rank()));
    entry.busy_seconds.predicted = predicted.busy_us() * kMicrosecond;
    entry.idle_seconds.predicted = *comparison->pass_seconds.predicted - predicted.busy_us() * kMicrosecond;
    entry.peak_bytes.predicted = Positive(static_cast<double>(predicted.peak_bytes()));
  }
}

}  // namespace

std::optional<double> Figure::Difference() const {
  if (!predicted.has_value() || !measured.has_value() || *predicted == 0) return std::nullopt;
  return *measured / *predicted - 1;
}

std::string Figure::DifferenceText() const {
  const std::optional<double> difference = Difference();
  if (!difference.has_value()) return "-";
  if (*difference > kFactor - 1) return absl::StrFormat("%.1f x", *difference + 1);
  return absl::StrFormat("%+.1f %%", std::abs(*difference) < 0.0005 ? 0.0 : 100 * *difference);  // never "-0.0"
}

absl::StatusOr<Comparison> Compare(const v1::Plan& plan, const v1::JobStatus& status) {
  if (status.measured_steps() == 0 || status.ranks_size() == 0) {
    return absl::FailedPreconditionError(
        absl::StrCat("job ", status.job(), " has measured nothing yet: it needs two steps, of which the first does ",
                     "not count, and has done ", status.step()));
  }
  Comparison comparison;
  comparison.job = status.job();
  comparison.schedule = plan.schedule();
  comparison.cost_source = plan.cost_source();
  comparison.steps = status.measured_steps();
  comparison.step_seconds = Of(plan.predicted_step_us(), status.step_seconds());
  double pass = 0, busy = 0;
  for (const v1::RankStatus& rank : status.ranks()) {
    pass = std::max(pass, rank.pass_seconds());
    busy += rank.busy_seconds();
  }
  comparison.pass_seconds = Of(plan.predicted_step_us() - plan.predicted_update_us(), pass);
  comparison.update_seconds = {plan.predicted_update_us() * kMicrosecond, std::max(0.0, status.step_seconds() - pass)};
  comparison.bubble.predicted = plan.predicted_bubble();
  if (pass > 0) comparison.bubble.measured = std::max(0.0, 1 - busy / (pass * status.ranks_size()));
  AddStages(plan, status, &comparison);
  AddRanks(plan, status, &comparison);
  comparison.verdict = Verdict(comparison);
  return comparison;
}

}  // namespace penstock
