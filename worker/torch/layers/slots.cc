#include "worker/torch/layers/slots.h"

namespace penstock {

ForwardSlots::ForwardSlots(const Wiring& wiring, std::vector<at::Tensor> inputs)
    : wiring_(wiring), slots_(std::move(inputs)) {
  CHECK_EQ(static_cast<int>(slots_.size()), wiring.inputs);
  slots_.resize(wiring.SlotOf(wiring.layers()));
  left_.assign(slots_.size(), 0);
  for (const std::vector<int>& reads : wiring.reads) {
    for (const int slot : reads) ++left_[slot];
  }
  for (const int slot : wiring.outputs) ++left_[slot];
  for (int slot = 0; slot < wiring.inputs; ++slot) {
    if (left_[slot] == 0) slots_[slot].reset();
  }
}

at::Tensor ForwardSlots::Get(int slot) { return --left_[slot] > 0 ? slots_[slot] : std::move(slots_[slot]); }

std::vector<at::Tensor> ForwardSlots::Read(int layer) {
  std::vector<at::Tensor> tensors;
  for (const int slot : wiring_.reads[layer]) tensors.push_back(Get(slot));
  return tensors;
}

void ForwardSlots::Write(int layer, at::Tensor output) { slots_[wiring_.SlotOf(layer)] = std::move(output); }

std::vector<at::Tensor> ForwardSlots::TakeOutputs() {
  std::vector<at::Tensor> tensors;
  for (const int slot : wiring_.outputs) tensors.push_back(Get(slot));
  return tensors;
}

BackwardSlots::BackwardSlots(const Wiring& wiring, std::vector<at::Tensor> gradients)
    : wiring_(wiring), slots_(wiring.SlotOf(wiring.layers())) {
  CHECK_EQ(gradients.size(), wiring.outputs.size());
  for (size_t i = 0; i < gradients.size(); ++i) slots_[wiring.outputs[i]] = std::move(gradients[i]);
}

void BackwardSlots::Add(int layer, std::vector<at::Tensor> gradients) {
  const std::vector<int>& reads = wiring_.reads[layer];
  CHECK_EQ(gradients.size(), reads.size());
  for (size_t i = 0; i < reads.size(); ++i) {
    at::Tensor& sum = slots_[reads[i]];
    if (!gradients[i].defined()) continue;
    sum = sum.defined() ? AddInto(std::move(sum), gradients[i]) : std::move(gradients[i]);
    gradients[i].reset();
  }
}

std::vector<at::Tensor> BackwardSlots::TakeInputs() {
  std::vector<at::Tensor> tensors;
  for (int slot = 0; slot < wiring_.inputs; ++slot) {
    tensors.push_back(wiring_.needs_gradient[slot] ? std::move(slots_[slot]) : at::Tensor());
  }
  return tensors;
}

bool BackwardSlots::NeedsInputGradient(int layer) const {
  for (const int slot : wiring_.reads[layer]) {
    if (wiring_.NeedsGradient(slot)) return true;
  }
  return false;
}

}  // namespace penstock
