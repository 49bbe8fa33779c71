#include "worker/torch/stage.h"

#include <utility>

#include "worker/torch/layers/slots.h"

namespace penstock {

void Stage::BeginPass(int micro_batches) {
  inputs_.clear();
  tapes_.clear();
  gradients_.BeginPass(micro_batches);
}

std::vector<at::Tensor> Stage::ReadHere(const std::vector<at::Tensor>& inputs) const {
  std::vector<at::Tensor> read(inputs.size());
  for (const std::vector<int>& slots : wiring_.reads) {
    for (const int slot : slots) {
      if (slot < wiring_.inputs) read[slot] = inputs[slot];
    }
  }
  return read;
}

std::vector<at::Tensor> Stage::Forward(std::vector<at::Tensor> inputs, const LayerContext& context, Keep keep) {
  if (keep == Keep::kInput) inputs_[context.micro_batch] = ReadHere(inputs);
  return RunLayers(std::move(inputs), context, keep == Keep::kEverything ? &tapes_[context.micro_batch] : nullptr);
}

std::vector<at::Tensor> Stage::Recompute(LayerContext context) {
  auto inputs = inputs_.extract(context.micro_batch);
  context.again = true;
  return RunLayers(std::move(inputs.mapped()), context, &tapes_[context.micro_batch]);
}

std::vector<at::Tensor> Stage::RunLayers(std::vector<at::Tensor> inputs, const LayerContext& context,
                                         std::vector<Tape>* tapes) {
  if (tapes != nullptr) tapes->assign(layers_.size(), Tape());
  ForwardSlots slots(wiring_, std::move(inputs));
  for (running_ = 0; running_ < wiring_.layers(); ++running_) {
    const NamedLayer& layer = layers_[running_];
    Tape* tape = tapes == nullptr || wiring_.IsIdle(running_) ? nullptr : &(*tapes)[running_];
    std::vector<at::Tensor> read = slots.Read(running_);
    if (tape != nullptr && layer.recompute) {
      for (const at::Tensor& tensor : read) tape->Push(tensor);
      tape = nullptr;
    }
    at::Tensor output = layer.function->ForwardAll(std::move(read), context, tape);
    slots.Write(running_, output.is_contiguous() ? std::move(output) : output.contiguous());
  }
  --running_;
  return slots.TakeOutputs();
}

std::vector<at::Tensor> Stage::InputGradient(std::vector<at::Tensor> gradients, LayerContext context) {
  std::vector<Tape> tapes = std::move(tapes_.extract(context.micro_batch).mapped());
  gradients_.Open(context.micro_batch);
  context.again = true;
  BackwardSlots slots(wiring_, std::move(gradients));
  for (running_ = wiring_.layers() - 1; running_ >= 0; --running_) {
    if (wiring_.IsIdle(running_)) continue;
    const NamedLayer& layer = layers_[running_];
    Tape* tape = &tapes[running_];
    const int reads = static_cast<int>(wiring_.reads[running_].size());
    if (layer.recompute) {
      std::vector<at::Tensor> read(reads);
      for (int i = reads; i-- > 0;) read[i] = tape->Pop();
      layer.function->ForwardAll(std::move(read), context, tape);
    }
    context.input_gradient = slots.NeedsInputGradient(running_);
    slots.Add(running_,
              Contiguous(layer.function->BackwardAll(slots.Take(running_), reads, context, tape, &gradients_)));
    CHECK(tape->empty()) << layer.name << " left something on its tape";
  }
  running_ = 0;
  gradients_.Close();
  return slots.TakeInputs();
}

}  // namespace penstock
