#include "worker/torch/gradient_order.h"

#include <utility>

namespace penstock {

void GradientOrder::BeginPass(int micro_batches) {
  open_ = turn_ = 0;
  held_.clear();
  held_.resize(micro_batches);
}

void GradientOrder::Add(Parameter* parameter, at::Tensor gradient) { Take({parameter, std::move(gradient), {}}); }

void GradientOrder::AddProduct(Parameter* parameter, at::Tensor a, at::Tensor b) {
  Take({parameter, std::move(a), std::move(b)});
}

void GradientOrder::Take(Term term) {
  if (open_ == turn_) {
    Sum(term);
  } else {
    held_[open_].terms.push_back(std::move(term));
  }
}

void GradientOrder::Close() {
  held_[open_].closed = true;
  while (!complete() && held_[turn_].closed) {
    for (const Term& term : held_[turn_].terms) Sum(term);
    held_[turn_].terms.clear();
    ++turn_;
  }
}

void GradientOrder::Sum(const Term& term) {
  Parameter* parameter = term.parameter;
  const bool first = !parameter->has_gradient;
  if (term.b.defined()) {
    if (first) {
      at::mm_out(parameter->gradient, term.a, term.b);
    } else {
      parameter->gradient.addmm_(term.a, term.b);
    }
  } else if (first) {
    parameter->gradient.copy_(term.a);
  } else {
    parameter->gradient.add_(term.a);
  }
  parameter->has_gradient = true;
}

}  // namespace penstock
