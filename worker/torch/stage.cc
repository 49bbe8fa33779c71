#include "worker/torch/stage.h"

#include <utility>

namespace penstock {

void Stage::BeginPass(int micro_batches) {
  tapes_.clear();
  gradients_.BeginPass(micro_batches);
}

at::Tensor Stage::Forward(at::Tensor x, const LayerContext& context) {
  std::vector<Tape>* tapes = nullptr;
  if (context.training) {
    tapes = &tapes_[context.micro_batch];
    tapes->assign(layers_.size(), Tape());
  }
  for (running_ = 0; running_ < layers_.size(); ++running_) {
    Tape* tape = tapes == nullptr ? nullptr : &(*tapes)[running_];
    x = layers_[running_].function->Forward(std::move(x), context, tape);
    if (!x.is_contiguous()) x = x.contiguous();
  }
  running_ = layers_.size() - 1;
  return x;
}

at::Tensor Stage::Backward(at::Tensor gradient, LayerContext context) {
  std::vector<Tape> tapes = std::move(tapes_.at(context.micro_batch));
  tapes_.erase(context.micro_batch);
  gradients_.Open(context.micro_batch);
  for (running_ = layers_.size(); running_-- > 0;) {
    context.input_gradient = running_ > 0 || !first_;
    gradient = layers_[running_].function->Backward(std::move(gradient), context, &tapes[running_], &gradients_);
    CHECK(tapes[running_].empty()) << layer() << " left something on its tape";
    if (gradient.defined() && !gradient.is_contiguous()) gradient = gradient.contiguous();
  }
  running_ = 0;
  gradients_.Close();
  return gradient;
}

}  // namespace penstock
