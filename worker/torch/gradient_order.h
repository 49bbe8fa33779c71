// Sums a stage's gradients over micro-batches in the order of their index, whatever order they come in.
// Thread-compatible.
// Source: docs/exactness.md, "Order of sums".
//
// Two queues, since the two parts of the backward pass may run in different orders: what is known at once takes its
// turn by the input gradients, what waits takes it by the weight gradients.
//
//     InputGradient(m):  Open(m), the layers' Add and Defer, Close()
//     WeightGradient(m): WeightGradients(m)
#ifndef PENSTOCK_WORKER_TORCH_GRADIENT_ORDER_H_
#define PENSTOCK_WORKER_TORCH_GRADIENT_ORDER_H_

#include <memory>
#include <vector>

#include "worker/torch/layers/layer_function.h"

namespace penstock {

class GradientOrder final : public GradientSink {
 public:
  void BeginPass(int micro_batches);

  // What comes until Close belongs to `micro_batch`.
  void Open(int micro_batch) { open_ = micro_batch; }
  void Close();

  // Computes what the micro-batch left to wait, and frees its factors; before its turn it goes on waiting, factors and
  // all. REQUIRES: waits(micro_batch).
  void WeightGradients(int micro_batch);

  // Whether the micro-batch was closed and its weight gradients have not been asked for.
  bool waits(int micro_batch) const { return waiting_[micro_batch].closed; }
  // Whether every micro-batch has been added, whole.
  bool complete() const { return at_once_.complete() && by_weight_.complete(); }

  void Add(Parameter* parameter, at::Tensor gradient) override;
  void Defer(std::unique_ptr<PendingGradient> gradient) override;

 private:
  using Terms = std::vector<std::unique_ptr<PendingGradient>>;
  struct Held {
    bool closed = false;
    Terms terms;
  };

  // Adds terms up micro-batch by micro-batch, ascending.
  class Queue {
   public:
    void Begin(int micro_batches);
    // Adds the term, or holds it until its micro-batch's turn.
    void Put(int micro_batch, std::unique_ptr<PendingGradient> term);
    // The micro-batch is complete. Adds those that waited for it.
    void Close(int micro_batch);
    bool complete() const { return turn_ == held_.size(); }

   private:
    size_t turn_ = 0;
    std::vector<Held> held_;  // by micro-batch
  };

  int open_ = 0;
  Queue at_once_;
  Queue by_weight_;
  std::vector<Held> waiting_;  // by micro-batch: deferred, not asked for yet
};

}  // namespace penstock

#endif  // PENSTOCK_WORKER_TORCH_GRADIENT_ORDER_H_
