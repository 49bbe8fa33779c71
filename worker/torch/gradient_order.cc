#include "worker/torch/gradient_order.h"

#include <utility>

namespace penstock {
namespace {

// A gradient that is computed already.
class KnownGradient final : public PendingGradient {
 public:
  KnownGradient(Parameter* parameter, at::Tensor gradient) : parameter_(parameter), gradient_(std::move(gradient)) {}

  void AddUp() override { parameter_->AddGradient(gradient_); }

 private:
  Parameter* const parameter_;
  const at::Tensor gradient_;
};

}  // namespace

void GradientOrder::Queue::Begin(int micro_batches) {
  turn_ = 0;
  held_.clear();
  held_.resize(micro_batches);
}

void GradientOrder::Queue::Put(int micro_batch, std::unique_ptr<PendingGradient> term) {
  if (static_cast<size_t>(micro_batch) == turn_) {
    term->AddUp();
  } else {
    held_[micro_batch].terms.push_back(std::move(term));
  }
}

void GradientOrder::Queue::Close(int micro_batch) {
  held_[micro_batch].closed = true;
  for (; !complete() && held_[turn_].closed; ++turn_) {
    for (std::unique_ptr<PendingGradient>& term : std::exchange(held_[turn_].terms, {})) {
      term->AddUp();
      term.reset();  // its factors are free before the next one's product
    }
  }
}

void GradientOrder::BeginPass(int micro_batches) {
  open_ = 0;
  at_once_.Begin(micro_batches);
  by_weight_.Begin(micro_batches);
  waiting_.clear();
  waiting_.resize(micro_batches);
}

void GradientOrder::Close() {
  waiting_[open_].closed = true;
  at_once_.Close(open_);
}

void GradientOrder::WeightGradients(int micro_batch) {
  CHECK(waits(micro_batch));
  waiting_[micro_batch].closed = false;
  for (std::unique_ptr<PendingGradient>& term : std::exchange(waiting_[micro_batch].terms, {})) {
    by_weight_.Put(micro_batch, std::move(term));
  }
  by_weight_.Close(micro_batch);
}

void GradientOrder::Add(Parameter* parameter, at::Tensor gradient) {
  if (parameter->frozen) return;
  at_once_.Put(open_, std::make_unique<KnownGradient>(parameter, std::move(gradient)));
}

void GradientOrder::Defer(std::unique_ptr<PendingGradient> gradient) {
  waiting_[open_].terms.push_back(std::move(gradient));
}

}  // namespace penstock
