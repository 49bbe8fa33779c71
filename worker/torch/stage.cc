#include "worker/torch/stage.h"

#include <utility>

namespace penstock {

void Stage::BeginPass(int micro_batches) {
  inputs_.clear();
  tapes_.clear();
  gradients_.BeginPass(micro_batches);
}

at::Tensor Stage::Forward(at::Tensor x, const LayerContext& context, Keep keep) {
  if (keep == Keep::kInput) inputs_[context.micro_batch] = x;
  return RunLayers(std::move(x), context, keep == Keep::kEverything ? &tapes_[context.micro_batch] : nullptr);
}

at::Tensor Stage::Recompute(LayerContext context) {
  const auto input = inputs_.extract(context.micro_batch);
  context.again = true;
  return RunLayers(std::move(input.mapped()), context, &tapes_[context.micro_batch]);
}

at::Tensor Stage::RunLayers(at::Tensor x, const LayerContext& context, std::vector<Tape>* tapes) {
  if (tapes != nullptr) tapes->assign(layers_.size(), Tape());
  for (running_ = 0; running_ < layers_.size(); ++running_) {
    const NamedLayer& layer = layers_[running_];
    Tape* tape = tapes == nullptr ? nullptr : &(*tapes)[running_];
    if (tape != nullptr && layer.recompute) std::exchange(tape, nullptr)->Push(x);
    x = layer.function->Forward(std::move(x), context, tape);
    if (!x.is_contiguous()) x = x.contiguous();
  }
  running_ = layers_.size() - 1;
  return x;
}

at::Tensor Stage::InputGradient(at::Tensor gradient, LayerContext context) {
  std::vector<Tape> tapes = std::move(tapes_.extract(context.micro_batch).mapped());
  gradients_.Open(context.micro_batch);
  context.again = true;
  for (running_ = layers_.size(); running_-- > 0;) {
    const NamedLayer& layer = layers_[running_];
    Tape* tape = &tapes[running_];
    if (layer.recompute) layer.function->Forward(tape->Pop(), context, tape);
    context.input_gradient = running_ > 0 || !first_;
    gradient = layer.function->Backward(std::move(gradient), context, tape, &gradients_);
    CHECK(tape->empty()) << layer.name << " left something on its tape";
    if (gradient.defined() && !gradient.is_contiguous()) gradient = gradient.contiguous();
  }
  running_ = 0;
  gradients_.Close();
  return gradient;
}

}  // namespace penstock
