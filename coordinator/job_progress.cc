#include "coordinator/job_progress.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "model/lr_schedule.h"

namespace penstock {
namespace {

constexpr size_t kRecentSteps = 51;

// "wte .. h.1", or the one layer's name.
std::string LayersText(const v1::JobSpec& spec, const v1::Stage& stage) {
  const auto name = [&spec](uint32_t layer) {
    return layer < static_cast<uint32_t>(spec.model().layers_size())
               ? spec.model().layers(static_cast<int>(layer)).name()
               : std::string("?");
  };
  if (stage.end_layer() <= stage.first_layer() + 1) return name(stage.first_layer());
  return absl::StrCat(name(stage.first_layer()), " .. ", name(stage.end_layer() - 1));
}

}  // namespace

JobProgress::JobProgress(const v1::JobSpec& spec, const v1::Plan& plan)
    : train_(spec.train()),
      log_every_(std::max<uint64_t>(spec.log().every(), 1)),
      hash_(spec.log().hash()),
      tokens_(spec.data().seq_len() > 0),
      units_per_step_(static_cast<double>(spec.train().batch_size()) * std::max<uint32_t>(spec.data().seq_len(), 1)) {
  for (int s = 0; s < plan.stages_size(); ++s) {
    v1::StageStatus& stage = stages_.emplace_back();
    stage.set_stage(s);
    stage.set_rank(plan.stages(s).rank());
    stage.set_layers(LayersText(spec, plan.stages(s)));
    stage.set_parameter_bytes(plan.stages(s).parameter_bytes());
    stage_rank_.push_back(static_cast<int>(plan.stages(s).rank()));
  }
}

void JobProgress::SetWorker(int rank, const std::string& worker) {
  for (size_t s = 0; s < stages_.size(); ++s) {
    if (stage_rank_[s] == rank) stages_[s].set_worker(worker);
  }
}

void JobProgress::OnLoaded(int rank, const v1::LoadReply& reply) {
  for (const v1::StageState& state : reply.stages()) {
    if (state.stage() >= stages_.size() || stage_rank_[state.stage()] != rank) continue;
    stages_[state.stage()].set_parameters(state.parameters());
    stages_[state.stage()].set_parameter_bytes(state.parameter_bytes());
  }
}

void JobProgress::OnVote(const v1::StepVote& vote) {
  for (size_t s = 0; s < stages_.size(); ++s) {
    if (stage_rank_[s] != static_cast<int>(vote.rank()) || vote.pass_seconds() <= 0) continue;
    stages_[s].set_busy(std::min(1.0, vote.busy_seconds() / vote.pass_seconds()));
  }
  if (vote.has_counters()) OnCounters(static_cast<int>(vote.rank()), vote.counters());
}

void JobProgress::OnCounters(int rank, const v1::Counters& counters) {
  for (size_t s = 0; s < stages_.size(); ++s) {
    if (stage_rank_[s] != rank) continue;
    stages_[s].set_frames_sent(counters.frames_sent());
    stages_[s].set_frames_received(counters.frames_received());
    stages_[s].set_bytes_sent(counters.bytes_sent());
    stages_[s].set_bytes_received(counters.bytes_received());
    stages_[s].set_peak_allocated_bytes(counters.peak_allocated_bytes());
  }
}

StepMetrics JobProgress::OnStep(const StepOutcome& outcome) {
  last_ = StepMetrics();
  last_.step = outcome.step;
  last_.loss = outcome.loss;
  last_.lr = LearningRate(train_, outcome.step);
  last_.grad_norm = outcome.grad_norm;
  last_.step_seconds = outcome.step_seconds;
  last_.bubble = outcome.bubble;
  if (outcome.step_seconds > 0) last_.tokens_per_second = units_per_step_ / outcome.step_seconds;
  // The first step pays for warming up: threads, connections, pages.
  if (stepped_) recent_step_seconds_.push_back(outcome.step_seconds);
  if (recent_step_seconds_.size() > kRecentSteps) recent_step_seconds_.pop_front();
  stepped_ = true;
  return last_;
}

bool JobProgress::LogsStep(uint64_t step) const { return hash_ || step % log_every_ == 0 || step == train_.steps(); }

double JobProgress::MedianStepSeconds() const {
  if (recent_step_seconds_.empty()) return last_.step_seconds;
  std::vector<double> sorted(recent_step_seconds_.begin(), recent_step_seconds_.end());
  std::nth_element(sorted.begin(), sorted.begin() + static_cast<std::ptrdiff_t>(sorted.size() / 2), sorted.end());
  return sorted[sorted.size() / 2];
}

void JobProgress::Fill(uint64_t step, v1::JobStatus* status) const {
  const double seconds = MedianStepSeconds();
  status->set_unit(tokens_ ? "tokens" : "samples");
  status->set_loss(last_.loss);
  status->set_lr(last_.lr);
  status->set_grad_norm(last_.grad_norm);
  status->set_bubble(last_.bubble);
  status->set_step_seconds(seconds);
  status->set_tokens_per_second(seconds > 0 ? units_per_step_ / seconds : 0);
  status->set_eta_seconds(train_.steps() > step ? seconds * static_cast<double>(train_.steps() - step) : 0);
  status->clear_stages();
  for (const v1::StageStatus& stage : stages_) *status->add_stages() = stage;
}

}  // namespace penstock
