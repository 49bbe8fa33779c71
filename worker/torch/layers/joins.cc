// Kinds that read several tensors: add, concat, graph.
#include <utility>

#include "worker/torch/layers/functions.h"
#include "worker/torch/layers/slots.h"

namespace penstock {
namespace {

// What a kind that reads several tensors does with one.
class JoinFunction : public LayerFunction {
 public:
  at::Tensor Forward(at::Tensor x, const LayerContext& context, Tape* tape) final {
    std::vector<at::Tensor> inputs;
    inputs.push_back(std::move(x));
    return ForwardAll(std::move(inputs), context, tape);
  }

  at::Tensor Backward(at::Tensor gradient, const LayerContext& context, Tape* tape, GradientSink* sink) final {
    return std::move(BackwardAll(std::move(gradient), /*inputs=*/1, context, tape, sink).front());
  }
};

class AddFunction final : public JoinFunction {
 public:
  at::Tensor ForwardAll(std::vector<at::Tensor> inputs, const LayerContext&, Tape*) override {
    at::Tensor sum = std::move(inputs[0]);
    for (size_t i = 1; i < inputs.size(); ++i) sum = AddInto(std::move(sum), inputs[i]);
    return sum;
  }

  std::vector<at::Tensor> BackwardAll(at::Tensor gradient, int inputs, const LayerContext& context, Tape*,
                                      GradientSink*) override {
    if (!context.input_gradient) return std::vector<at::Tensor>(inputs);
    return std::vector<at::Tensor>(inputs, gradient);
  }
};

class ConcatFunction final : public JoinFunction {
 public:
  explicit ConcatFunction(int64_t dim) : dim_(dim + 1) {}  // behind the batch

  at::Tensor ForwardAll(std::vector<at::Tensor> inputs, const LayerContext&, Tape* tape) override {
    if (tape != nullptr) {
      std::vector<int64_t> sizes;
      for (const at::Tensor& input : inputs) sizes.push_back(input.size(dim_));
      tape->PushShape(std::move(sizes));
    }
    return at::cat(inputs, dim_);
  }

  // Copies, each with an alignment of its own: a slice may begin anywhere.
  std::vector<at::Tensor> BackwardAll(at::Tensor gradient, int inputs, const LayerContext& context, Tape* tape,
                                      GradientSink*) override {
    const std::vector<int64_t> sizes = tape->PopShape();
    std::vector<at::Tensor> gradients(inputs);
    if (!context.input_gradient) return gradients;
    int64_t begin = 0;
    for (int i = 0; i < inputs; ++i) {
      gradients[i] = gradient.narrow(dim_, begin, sizes[i]).clone(at::MemoryFormat::Contiguous);
      begin += sizes[i];
    }
    return gradients;
  }

 private:
  const int64_t dim_;
};

class GraphFunction final : public JoinFunction {
 public:
  GraphFunction(Wiring wiring, std::vector<LayerFunctionPtr> layers)
      : wiring_(std::move(wiring)), layers_(std::move(layers)) {}

  at::Tensor ForwardAll(std::vector<at::Tensor> inputs, const LayerContext& context, Tape* tape) override {
    ForwardSlots slots(wiring_, std::move(inputs));
    for (size_t i = 0; i < layers_.size(); ++i) {
      const int layer = static_cast<int>(i);
      at::Tensor x = layers_[i]->ForwardAll(slots.Read(layer), context, tape);
      slots.Write(layer, x.is_contiguous() ? std::move(x) : x.contiguous());
    }
    return std::move(slots.TakeOutputs().front());
  }

  std::vector<at::Tensor> BackwardAll(at::Tensor gradient, int, const LayerContext& context, Tape* tape,
                                      GradientSink* sink) override {
    std::vector<at::Tensor> outputs;
    outputs.push_back(std::move(gradient));
    BackwardSlots slots(wiring_, std::move(outputs));
    LayerContext inner = context;
    for (size_t i = layers_.size(); i-- > 0;) {
      const int layer = static_cast<int>(i);
      inner.input_gradient = context.input_gradient || ReadsInnerLayer(layer);
      const int reads = static_cast<int>(wiring_.reads[i].size());
      slots.Add(layer, Contiguous(layers_[i]->BackwardAll(slots.Take(layer), reads, inner, tape, sink)));
    }
    return slots.TakeInputs();
  }

 private:
  bool ReadsInnerLayer(int layer) const {
    for (const int slot : wiring_.reads[layer]) {
      if (slot >= wiring_.inputs) return true;
    }
    return false;
  }

  const Wiring wiring_;
  const std::vector<LayerFunctionPtr> layers_;
};

}  // namespace

LayerFunctionPtr MakeAdd() { return std::make_unique<AddFunction>(); }

LayerFunctionPtr MakeConcat(int64_t dim) { return std::make_unique<ConcatFunction>(dim); }

LayerFunctionPtr MakeGraph(Wiring wiring, std::vector<LayerFunctionPtr> layers) {
  return std::make_unique<GraphFunction>(std::move(wiring), std::move(layers));
}

}  // namespace penstock
