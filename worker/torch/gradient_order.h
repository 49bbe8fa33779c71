// Sums a stage's gradients over micro-batches in the order of their index, whatever order they come in.
// Thread-compatible.
// Source: docs/exactness.md, "Order of sums".
#ifndef PENSTOCK_WORKER_TORCH_GRADIENT_ORDER_H_
#define PENSTOCK_WORKER_TORCH_GRADIENT_ORDER_H_

#include <vector>

#include "worker/torch/layers/layer_function.h"

namespace penstock {

// The first term of a sum is copied (not added to zero: that would turn -0.0 into 0.0), the others are added. A
// micro-batch that comes before its turn is kept: its matrix products as their two factors, so that the product
// is always computed into the sum by the same call.
class GradientOrder final : public GradientSink {
 public:
  void BeginPass(int micro_batches);

  // Terms that are added until Close belong to `micro_batch`.
  void Open(int micro_batch) { open_ = micro_batch; }
  // The open micro-batch is complete. Adds those that waited for it.
  void Close();

  // Whether every micro-batch has been added.
  bool complete() const { return turn_ == static_cast<int>(held_.size()); }

  void Add(Parameter* parameter, at::Tensor gradient) override;
  void AddProduct(Parameter* parameter, at::Tensor a, at::Tensor b) override;

 private:
  // `b` undefined: the term is `a`, else a.mm(b).
  struct Term {
    Parameter* parameter;
    at::Tensor a;
    at::Tensor b;
  };
  struct Held {
    bool closed = false;
    std::vector<Term> terms;
  };

  void Take(Term term);
  static void Sum(const Term& term);

  int open_ = 0;
  int turn_ = 0;
  std::vector<Held> held_;  // by micro-batch
};

}  // namespace penstock

#endif  // PENSTOCK_WORKER_TORCH_GRADIENT_ORDER_H_
