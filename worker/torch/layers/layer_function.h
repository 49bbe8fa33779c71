// What a layer computes: its output, and from its output's gradient those of its input and parameters. Both directions
// are written out in terms of torch's operators, without autograd: so a stage frees what it kept tensor by tensor, and
// one code path makes one set of bits. Thread-compatible: a rank's functions are used by its executor's thread alone.
// Source: docs/models.md (each kind's formula), docs/exactness.md.
#ifndef PENSTOCK_WORKER_TORCH_LAYERS_LAYER_FUNCTION_H_
#define PENSTOCK_WORKER_TORCH_LAYERS_LAYER_FUNCTION_H_

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "worker/torch/torch.h"

namespace penstock {

// A parameter and the sum of its gradients; all are views into flat buffers (worker/torch/parameters.h).
struct Parameter {
  std::string name;   // global
  at::Tensor master;  // float32: what the optimizer updates and checkpoints hold; norms compute with it
  at::Tensor
      value;  // what other layers compute with: its copy in the type of activations; itself where that is float32
  bool frozen = false;        // not trained: it has no gradient, and terms of one come to nothing
  at::Tensor gradient;        // float32; meaningless while !has_gradient
  bool has_gradient = false;  // a first term has been copied into `gradient` since the last update

  // gradient += term, of any type. The first term is copied, not added to zero: that would turn -0.0 into 0.0.
  void AddGradient(const at::Tensor& term) {
    if (frozen) return;
    if (has_gradient) {
      gradient.add_(term);
    } else {
      gradient.copy_(term);
    }
    has_gradient = true;
  }
};

// One term of a parameter's gradient that may wait: it holds the factors that it is computed from, and nothing else.
class PendingGradient {
 public:
  virtual ~PendingGradient() = default;
  // Computes it and adds it to the parameter's gradient. Called once.
  virtual void AddUp() = 0;
};

// Where a layer puts the gradients of its parameters. A parameter gets its terms by one of the two ways, always the
// same: each way has an order of its own.
class GradientSink {
 public:
  virtual ~GradientSink() = default;
  // For what costs little once the input's gradient is known: biases, norms. parameter->gradient += gradient.
  virtual void Add(Parameter* parameter, at::Tensor gradient) = 0;
  // For what costs as much as the input's gradient: it waits for the action that computes weight gradients.
  virtual void Defer(std::unique_ptr<PendingGradient> gradient) = 0;
};

// What a layer kept from its forward pass on one micro-batch: a stack, so that Backward takes in the reverse order.
class Tape {
 public:
  void Push(at::Tensor tensor) { kept_.push_back(std::move(tensor)); }
  // REQUIRES: something is kept.
  at::Tensor Pop() {
    at::Tensor top = std::move(kept_.back());
    kept_.pop_back();
    return top;
  }
  void PushShape(std::vector<int64_t> shape) { shapes_.push_back(std::move(shape)); }
  // REQUIRES: a shape is kept.
  std::vector<int64_t> PopShape() {
    std::vector<int64_t> top = std::move(shapes_.back());
    shapes_.pop_back();
    return top;
  }
  bool empty() const { return kept_.empty() && shapes_.empty(); }

 private:
  std::vector<at::Tensor> kept_;
  std::vector<std::vector<int64_t>> shapes_;
};

// Which micro-batch a call is about.
struct LayerContext {
  uint64_t seed = 0;
  uint64_t step = 0;
  int micro_batch = 0;
  bool training = false;
  bool again = false;  // the forward pass was run before and runs once more (recompute): statistics are taken already
  bool input_gradient = true;  // false: nobody needs the gradient of this layer's input (the model's first layer)
};

class LayerFunction {
 public:
  virtual ~LayerFunction() = default;

  // Args:    x: [batch, ...], contiguous.
  //          tape: takes what Backward needs; null when there will be no Backward, or another Forward before it.
  // Returns: the output; it may share memory with x, or with what is on the tape.
  virtual at::Tensor Forward(at::Tensor x, const LayerContext& context, Tape* tape) = 0;

  // Args:    gradient: of the output, contiguous, of its shape. Where the caller gives up the only reference, its
  //          memory may be used again.
  //          tape: as the same micro-batch's Forward left it; what was pushed is popped.
  // Returns: the gradient of x; undefined where it is not needed or x has none (tokens).
  virtual at::Tensor Backward(at::Tensor gradient, const LayerContext& context, Tape* tape, GradientSink* sink) = 0;

  // The same for kinds that read several tensors; the others read one.
  // Args: inputs: in the order of `from`.
  virtual at::Tensor ForwardAll(std::vector<at::Tensor> inputs, const LayerContext& context, Tape* tape) {
    return Forward(std::move(inputs.front()), context, tape);
  }
  // Args:    inputs: how many the layer reads.
  // Returns: a gradient for each of them.
  virtual std::vector<at::Tensor> BackwardAll(at::Tensor gradient, int inputs, const LayerContext& context, Tape* tape,
                                              GradientSink* sink) {
    std::vector<at::Tensor> gradients(inputs);
    gradients.front() = Backward(std::move(gradient), context, tape, sink);
    return gradients;
  }
};

// Whether nothing but `tensor` refers to its memory, so that it may be overwritten. Values do not depend on the answer.
inline bool IsSole(const at::Tensor& tensor) { return tensor.use_count() == 1 && tensor.storage().use_count() == 1; }

// a + b, in a's memory where that is free.
inline at::Tensor AddInto(at::Tensor a, const at::Tensor& b) {
  if (!IsSole(a)) return at::add(a, b);
  a.add_(b);
  return a;
}

// The same tensors, each contiguous; undefined ones stay undefined.
inline std::vector<at::Tensor> Contiguous(std::vector<at::Tensor> tensors) {
  for (at::Tensor& tensor : tensors) {
    if (tensor.defined() && !tensor.is_contiguous()) tensor = tensor.contiguous();
  }
  return tensors;
}

// [.., n] as [rows, n]. REQUIRES: contiguous.
inline at::Tensor AsRows(const at::Tensor& x) { return x.view({-1, x.size(-1)}); }

}  // namespace penstock

#endif  // PENSTOCK_WORKER_TORCH_LAYERS_LAYER_FUNCTION_H_
