#include "coordinator/job_progress.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "model/lr_schedule.h"

namespace penstock {
namespace {

constexpr size_t kRecentSteps = 51;

template <typename T>
void Keep(T value, std::deque<T>* recent) {
  recent->push_back(std::move(value));
  if (recent->size() > kRecentSteps) recent->pop_front();
}

// 0 where there is none. One slow step, which a mean would remember for long, does not move it.
double Median(std::vector<double> values) {
  if (values.empty()) return 0;
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

// Of a figure over votes, of those where it was taken.
double MedianOf(const std::deque<v1::StepVote>& votes, double (v1::StepVote::*figure)() const) {
  std::vector<double> values;
  for (const v1::StepVote& vote : votes) {
    if ((vote.*figure)() > 0) values.push_back((vote.*figure)());
  }
  return Median(std::move(values));
}

// Of one action of a stage: its steps' means.
double MedianOf(const std::deque<v1::StepVote>& votes, uint32_t stage,
                const v1::ActionTime& (v1::StageTimes::*kind)() const) {
  std::vector<double> values;
  for (const v1::StepVote& vote : votes) {
    for (const v1::StageTimes& times : vote.stages()) {
      const v1::ActionTime& time = (times.*kind)();
      if (times.stage() == stage && time.count() > 0) values.push_back(time.seconds() / time.count());
    }
  }
  return Median(std::move(values));
}

void FillStage(const std::deque<v1::StepVote>& votes, v1::StageStatus* stage) {
  stage->set_forward_seconds(MedianOf(votes, stage->stage(), &v1::StageTimes::forward));
  stage->set_input_gradient_seconds(MedianOf(votes, stage->stage(), &v1::StageTimes::input_gradient));
  stage->set_weight_gradient_seconds(MedianOf(votes, stage->stage(), &v1::StageTimes::weight_gradient));
  stage->set_recompute_seconds(MedianOf(votes, stage->stage(), &v1::StageTimes::recompute));
}

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
  rank_worker_.resize(std::max<size_t>(rank_worker_.size(), rank + 1));
  rank_worker_[rank] = worker;
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
  v1::StepVote& kept = votes_[vote.rank()] = vote;
  kept.clear_norms();
  kept.clear_losses();
  kept.clear_counters();
}

void JobProgress::OnCounters(int rank, const v1::Counters& counters) {
  for (size_t s = 0; s < stages_.size(); ++s) {
    if (stage_rank_[s] != rank) continue;
    stages_[s].set_frames_sent(counters.frames_sent());
    stages_[s].set_frames_received(counters.frames_received());
    stages_[s].set_bytes_sent(counters.bytes_sent());
    stages_[s].set_bytes_received(counters.bytes_received());
    stages_[s].set_shared_bytes_sent(counters.shared_bytes_sent());
    stages_[s].set_peak_allocated_bytes(counters.peak_allocated_bytes());
  }
}

StepMetrics JobProgress::OnStep(const StepOutcome& outcome) {
  const StepMetrics before = std::exchange(last_, StepMetrics());
  last_.step = outcome.step;
  last_.loss = outcome.loss;
  last_.lr = LearningRate(train_, outcome.step);
  last_.grad_norm = outcome.grad_norm;
  last_.step_seconds = outcome.step_seconds;
  last_.bubble = outcome.bubble;
  if (outcome.step_seconds > 0) last_.tokens_per_second = units_per_step_ / outcome.step_seconds;
  // The first step pays for warming up: threads, connections, pages.
  if (stepped_) {
    Keep(outcome.step_seconds, &recent_step_seconds_);
    for (auto& [rank, vote] : votes_) Keep(std::move(vote), &recent_[rank]);
  }
  votes_.clear();
  stepped_ = true;
  StepMetrics line = last_;
  if (loss_scale_.scale() != 0) line.loss_scale = outcome.loss_scale;
  line.skipped = !outcome.overflow.empty();
  if (line.skipped) {
    line.grad_norm = std::numeric_limits<double>::infinity();
    last_.loss = before.loss;
    last_.grad_norm = before.grad_norm;
  }
  return line;
}

bool JobProgress::LogsStep(uint64_t step) const { return hash_ || step % log_every_ == 0 || step == train_.steps(); }

double JobProgress::MedianStepSeconds() const {
  if (recent_step_seconds_.empty()) return last_.step_seconds;
  return Median({recent_step_seconds_.begin(), recent_step_seconds_.end()});
}

void JobProgress::Fill(uint64_t step, v1::JobStatus* status) const {
  const double seconds = MedianStepSeconds();
  status->set_unit(tokens_ ? "tokens" : "samples");
  status->set_loss(last_.loss);
  status->set_lr(last_.lr);
  status->set_grad_norm(last_.grad_norm);
  status->set_loss_scale(loss_scale_.scale());
  status->set_skipped_steps(loss_scale_.skipped());
  status->set_bubble(last_.bubble);
  status->set_step_seconds(seconds);
  status->set_tokens_per_second(seconds > 0 ? units_per_step_ / seconds : 0);
  status->set_eta_seconds(train_.steps() > step ? seconds * static_cast<double>(train_.steps() - step) : 0);
  status->clear_stages();
  for (const v1::StageStatus& stage : stages_) *status->add_stages() = stage;
  FillMedians(status);
}

void JobProgress::FillMedians(v1::JobStatus* status) const {
  status->clear_ranks();
  status->set_measured_steps(0);
  for (const auto& [number, votes] : recent_) {
    for (v1::StageStatus& stage : *status->mutable_stages()) {
      if (stage.rank() == number) FillStage(votes, &stage);
    }
    v1::RankStatus* rank = status->add_ranks();
    rank->set_rank(number);
    if (number < rank_worker_.size()) rank->set_worker(rank_worker_[number]);
    rank->set_pass_seconds(MedianOf(votes, &v1::StepVote::pass_seconds));
    rank->set_busy_seconds(MedianOf(votes, &v1::StepVote::busy_seconds));
    rank->set_receive_seconds(MedianOf(votes, &v1::StepVote::receive_seconds));
    rank->set_send_seconds(MedianOf(votes, &v1::StepVote::send_seconds));
    rank->set_commit_seconds(MedianOf(votes, &v1::StepVote::last_commit_seconds));
    rank->set_update_seconds(MedianOf(votes, &v1::StepVote::last_update_seconds));
    rank->set_state_bytes(votes.back().state_bytes());
    rank->set_peak_bytes(votes.back().peak_bytes());
    status->set_measured_steps(static_cast<uint32_t>(votes.size()));
  }
}

}  // namespace penstock
