// The job machine's way along its course: training ranges, and what is due at their ends.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "coordinator/jobs/job_machine.h"

namespace penstock {
namespace {

// Evaluation batches in one call: enough to keep the pipeline full, few enough that a stop is noticed soon.
constexpr uint64_t kEvalBatches = 16;

// The next multiple of `every` after `step`; `end` where `every` is 0 or the multiple lies beyond.
uint64_t NextMultiple(uint64_t step, uint64_t every, uint64_t end) {
  return every == 0 ? end : std::min(end, step - step % every + every);
}

bool Due(uint64_t step, uint64_t every, uint64_t last) {
  return step == last || (every > 0 && step > 0 && step % every == 0);
}

}  // namespace

void JobMachine::StartRun(RunRank run, uint64_t passes) {
  run.first_pass = next_pass_;
  next_pass_ += passes;
  for (int r = 0; r < course_.ranks; ++r) {
    run.rank = r;
    ranks_[r].call = Call::kRun;
    commands_.push_back(run);
  }
}

void JobMachine::StartTraining() {
  phase_ = Phase::kTrain;
  Enter(v1::RUNNING, warning_);
  evaluated_ = sampled_ = false;
  range_end_ = NextMultiple(step_, course_.checkpoint_every, course_.steps);
  if (course_.eval_batches > 0 || course_.sample_tokens > 0) {
    range_end_ = std::min(range_end_, NextMultiple(step_, course_.eval_every, course_.steps));
  }
  if (course_.hash) range_end_ = step_ + 1;
  StartRun({.mode = v1::PASS_TRAIN, .from = step_ + 1, .to = range_end_, .hash = course_.hash}, range_end_ - step_);
}

void JobMachine::AfterRun() {
  switch (phase_) {
    case Phase::kTrain:
      return AfterTrain();
    case Phase::kEval:
      return AfterEval();
    case Phase::kSample:
      return AfterSample();
    default:
      return;
  }
}

void JobMachine::AfterTrain() {
  for (const Rank& rank : ranks_) {
    if (rank.completed_step == step_ && step_ == range_end_) continue;
    return Fail({Fault::Kind::kError,
                 rank.where,
                 absl::StrCat("ended its run at step ", rank.completed_step, "; the job decided on step ", step_,
                              " of a range that ends at ", range_end_),
                 {}});
  }
  AtBoundary();
}

void JobMachine::AtBoundary() {
  if (!stop_ && Due(step_, course_.eval_every, course_.steps)) {
    if (course_.eval_batches > 0 && !evaluated_) {
      eval_ = v1::EvalSums();
      eval_batch_ = 0;
      return StartEval();
    }
    if (course_.sample_tokens > 0 && !sampled_) {
      sample_ = course_.sample_prompt;
      return StartSamplePass();
    }
  }
  const bool due = stop_ ? !stop_without_checkpoint_ : Due(step_, course_.checkpoint_every, course_.steps);
  if (due && saved_step_ != step_) return StartSave();
  if (stop_) return StartUnload(Outcome::kStopped);
  if (step_ == course_.steps) return StartUnload(Outcome::kSucceeded);
  StartTraining();
}

void JobMachine::StartEval() {
  phase_ = Phase::kEval;
  Enter(v1::RUNNING, absl::StrCat("evaluates after step ", step_));
  const uint64_t end = std::min<uint64_t>(eval_batch_ + kEvalBatches, course_.eval_batches);
  StartRun({.mode = v1::PASS_EVAL, .from = eval_batch_, .to = end - 1}, end - eval_batch_);
  eval_batch_ = end;
}

void JobMachine::AfterEval() {
  const v1::EvalSums part = std::exchange(eval_part_, v1::EvalSums());
  eval_.set_loss_sum(eval_.loss_sum() + part.loss_sum());
  eval_.set_targets(eval_.targets() + part.targets());
  eval_.set_correct(eval_.correct() + part.correct());
  if (!stop_ && eval_batch_ < course_.eval_batches) return StartEval();
  evaluated_ = true;
  if (eval_.targets() > 0 && !stop_) commands_.push_back(ReportEval{step_, eval_});
  AtBoundary();
}

void JobMachine::StartSamplePass() {
  phase_ = Phase::kSample;
  Enter(v1::RUNNING, absl::StrCat("generates a sample after step ", step_));
  const size_t length = std::min(sample_.size(), course_.context);
  const uint64_t index = sample_.size() - course_.sample_prompt.size();
  StartRun({.mode = v1::PASS_GENERATE,
            .tokens = std::vector<int64_t>(sample_.end() - static_cast<int64_t>(length), sample_.end()),
            .seed = course_.seed + index},
           1);
}

void JobMachine::AfterSample() {
  if (!next_token_.has_value()) {
    return Fail({Fault::Kind::kError, ranks_.back().where, "a generation pass gave no token", {}});
  }
  sample_.push_back(*std::exchange(next_token_, std::nullopt));
  const bool whole = sample_.size() == course_.sample_prompt.size() + course_.sample_tokens;
  if (!whole && !stop_) return StartSamplePass();
  sampled_ = true;
  if (whole) commands_.push_back(ReportSample{step_, sample_});
  AtBoundary();
}

void JobMachine::StartSave() {
  phase_ = Phase::kSave;
  save_status_ = absl::OkStatus();
  const std::string what = absl::StrCat("writes the checkpoint of step ", step_);
  Enter(stop_ ? v1::STOPPING : v1::CHECKPOINTING, what);
  for (int r = 0; r < course_.ranks; ++r) {
    ranks_[r].call = Call::kSave;
    commands_.push_back(SaveRank{r, step_});
  }
}

void JobMachine::AfterSave() {
  if (!save_status_.ok()) {
    commands_.push_back(DropCheckpoint{step_});
    return AfterCheckpoint();
  }
  phase_ = Phase::kCommit;
  committing_ = true;
  commands_.push_back(WriteManifest{step_});
}

// A checkpoint on the way that could not be written is a warning: the next one may succeed, and training goes on.
// The last one is what the job is for.
void JobMachine::AfterCheckpoint() {
  if (save_status_.ok()) {
    warning_.clear();
    return AtBoundary();
  }
  if (stop_ && stop_without_checkpoint_) return StartUnload(Outcome::kStopped);  // nobody asked for this one
  const std::string text =
      absl::StrCat("the checkpoint of step ", step_, " could not be written: ", save_status_.message());
  if (stop_ || step_ == course_.steps) return Fail({KindOf(save_status_), "", text, {}});
  warning_ = text;
  StartTraining();
}

}  // namespace penstock
