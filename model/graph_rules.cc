// Rules of the kinds that read several tensors or hold layers of their own: add, concat, graph, residual; and what the
// layers of a list keep for each other.
#include <algorithm>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "model/layer_reads.h"
#include "model/layer_rules.h"

namespace penstock {
namespace {

// The inner layers run as one unit, so their costs add up.
void AddCost(const LayerCost& inner, LayerCost* cost) {
  cost->forward_flops += inner.forward_flops;
  cost->backward_flops += inner.backward_flops;
  cost->weight_flops += inner.weight_flops;
  cost->activation_bytes += inner.activation_bytes - inner.shared_bytes;
  cost->full_bytes += inner.full_bytes;
  cost->deferred_bytes += inner.deferred_bytes;
  cost->working_bytes = std::max(cost->working_bytes, inner.working_bytes);
  cost->gradient_bytes = std::max(cost->gradient_bytes, inner.gradient_bytes);
  cost->memory_bytes += inner.memory_bytes;
  cost->fixed_forward_us += inner.fixed_forward_us;
  cost->fixed_backward_us += inner.fixed_backward_us;
  cost->fixed_weight_us += inner.fixed_weight_us;
}

// Infers the layers of a block and adds up what they have.
// Args: output: takes the last one's. Returns: whether all of it fits.
bool InferBlock(const RuleContext& context, const LayerList& block, const std::vector<Reads>& reads,
                TensorType* output) {
  std::vector<LayerInfo> layers;
  for (int i = 0; i < block.size(); ++i) {
    LayerInfo info;
    info.name = block[i].name();
    SetReads(reads[i], context.inputs(), layers, &info);
    if (!ApplyRule({block[i], context.blocks, context.diagnostics, &info})) return false;
    layers.push_back(std::move(info));
  }
  const std::set<int> kept = FindShared(&layers);
  AddPassing(block, &layers);
  context.info->ends.keeps_input = context.info->more_inputs.empty() && kept.contains(ListInput(0));
  for (LayerInfo& layer : layers) {
    AddCost(layer.cost, &context.info->cost);
    for (ParameterSpec& parameter : layer.parameters) context.info->parameters.push_back(std::move(parameter));
    for (BufferSpec& buffer : layer.buffers) context.info->buffers.push_back(std::move(buffer));
    for (LoneNorm& norm : layer.lone_norms) context.info->lone_norms.push_back(std::move(norm));
  }
  *output = layers.back().output;
  return true;
}

// Tensors that are joined: numbers, all of them.
bool AllFloat(const RuleContext& context) {
  for (const TensorType& input : context.inputs()) {
    if (input.dtype == v1::DTYPE_FLOAT32) continue;
    return context.Fail(absl::StrCat("needs numbers, but one of what it reads are tokens ", ShapeText(input.shape)));
  }
  return true;
}

// "'a' is [3, 8, 8], 'b' [3, 4, 4]".
std::string TwoShapes(const RuleContext& context, size_t other) {
  const auto name = [&](size_t i) {
    return i < static_cast<size_t>(context.layer.from_size()) ? context.layer.from(static_cast<int>(i)) : "input";
  };
  return absl::StrCat("'", name(0), "' is ", ShapeText(context.input().shape), ", '", name(other), "' ",
                      ShapeText(context.info->more_inputs[other - 1].shape));
}

}  // namespace

// x + block(x).
bool ResidualRule(const RuleContext& context) {
  const LayerList& block = context.layer.residual().block();
  if (block.empty()) return context.Fail("block is empty: it needs at least one layer");
  if (!context.FloatInput()) return false;
  std::vector<Reads> chain;
  for (int i = 0; i < block.size(); ++i) {
    chain.push_back({i - 1});
    if (block[i].from().empty()) continue;
    LayerError(block[i], "has a `from`: in a residual each layer reads the one before it; a graph has them all",
               context.diagnostics);
    return false;
  }
  TensorType output;
  if (!InferBlock(context, block, chain, &output)) return false;
  LayerCost& cost = context.info->cost;
  cost.working_bytes += output.Bytes();  // its own gradient, or its input, beside the block's
  if (output != context.input()) {
    return context.Fail(absl::StrCat("block turns ", ShapeText(context.input().shape), " into ",
                                     ShapeText(output.shape), ": a residual block must keep the shape of its input"));
  }
  cost.memory_bytes += 3.0 * output.Bytes();  // the addition
  context.SetOutput(output.shape);
  return true;
}

bool GraphRule(const RuleContext& context) {
  const LayerList& block = context.layer.graph().block();
  if (block.empty()) return context.Fail("block is empty: it needs at least one layer");
  std::set<std::string> faulty;
  const std::vector<Reads> reads = ResolveReads(block, NumReads(context.layer), &faulty, context.diagnostics);
  if (!faulty.empty()) return false;
  TensorType output;
  if (!InferBlock(context, block, reads, &output)) return false;
  context.info->output = output;
  return true;
}

// Keeps nothing: the gradient of each of what it reads is the output's own.
bool AddRule(const RuleContext& context) {
  if (!AllFloat(context)) return false;
  const std::vector<TensorType>& more = context.info->more_inputs;
  for (size_t i = 0; i < more.size(); ++i) {
    if (more[i].shape == context.input().shape) continue;
    return context.Fail(absl::StrCat("adds tensors of different shapes: ", TwoShapes(context, i + 1)));
  }
  context.SetOutput(context.input().shape);
  const int64_t bytes = context.input().Bytes(), inputs = static_cast<int64_t>(more.size()) + 1;
  context.info->cost.working_bytes = (inputs + 1) * bytes;
  context.info->cost.memory_bytes = (inputs + 1.0) * bytes;
  return true;
}

// Keeps the sizes alone.
bool ConcatRule(const RuleContext& context) {
  const int64_t dim = context.layer.concat().dim();
  if (!AllFloat(context)) return false;
  std::vector<int64_t> shape = context.input().shape;
  if (dim < 0 || dim >= static_cast<int64_t>(shape.size())) {
    return context.Fail(absl::StrCat("dim is ", dim, ": what it reads has dimensions 0 to ", shape.size() - 1));
  }
  const std::vector<TensorType>& more = context.info->more_inputs;
  for (size_t i = 0; i < more.size(); ++i) {
    std::vector<int64_t> other = more[i].shape;
    const bool fits = other.size() == shape.size();
    const int64_t size = fits ? std::exchange(other[dim], shape[dim]) : 0;
    if (!fits || other != shape) {
      return context.Fail(
          absl::StrCat("joins tensors along dimension ", dim, " that differ in another: ", TwoShapes(context, i + 1)));
    }
    shape[dim] += size;
  }
  context.SetOutput(shape);
  const int64_t bytes = context.info->output.Bytes();
  context.info->cost.working_bytes = 2 * bytes;  // what it reads and what it makes
  context.info->cost.memory_bytes = 2.0 * bytes;
  return true;
}

void SetReads(const Reads& reads, const std::vector<TensorType>& inputs, const std::vector<LayerInfo>& layers,
              LayerInfo* info) {
  const auto type = [&](int r) -> const TensorType& { return r < 0 ? inputs[-1 - r] : layers[r].output; };
  info->reads = reads;
  info->input = type(reads[0]);
  for (size_t i = 1; i < reads.size(); ++i) info->more_inputs.push_back(type(reads[i]));
}

std::set<int> FindShared(std::vector<LayerInfo>* layers) {
  std::vector<int> memory;    // by layer: whose memory its output is
  std::map<int, int> keeper;  // by tensor: the latest layer that keeps it
  std::set<int> kept_inputs;
  for (size_t i = 0; i < layers->size(); ++i) {
    LayerInfo& layer = (*layers)[i];
    const int number = static_cast<int>(i);
    const int read = layer.reads[0] < 0 ? layer.reads[0] : memory[layer.reads[0]];
    if (layer.ends.keeps_input) {
      if (const auto found = keeper.find(read); found != keeper.end()) {
        layer.cost.shared_bytes = layer.input.Bytes();
        layer.cost.shared_from = found->second;
      }
      keeper[read] = number;
      if (read < 0) kept_inputs.insert(read);
    }
    memory.push_back(layer.ends.passes_input ? read : number);
    if (layer.ends.keeps_output) keeper[number] = number;
  }
  return kept_inputs;
}

void AddPassing(const LayerList& list, std::vector<LayerInfo>* layers) {
  const int count = static_cast<int>(layers->size());
  std::map<int, std::pair<int, int64_t>> last;  // by tensor: its last reader, its bytes
  for (int i = 0; i < count; ++i) {
    const LayerInfo& layer = (*layers)[i];
    last[layer.reads[0]] = {i, layer.input.Bytes()};
    for (size_t k = 1; k < layer.reads.size(); ++k) last[layer.reads[k]] = {i, layer.more_inputs[k - 1].Bytes()};
  }
  std::vector<int64_t> change(count + 1, 0);
  // Sums whose gradient passes already: it is that of all they read. Tensors come in the order in which they are made.
  std::set<int> sums;
  for (const auto& [tensor, reader] : last) {
    const int first = std::max(0, tensor + 1);
    if (reader.first <= first) continue;
    if (list[reader.first].has_add() && !sums.insert(reader.first).second) continue;
    change[first] += reader.second;
    change[reader.first] -= reader.second;
  }
  int64_t passing = 0;
  for (int i = 0; i < count; ++i) {
    passing += change[i];
    (*layers)[i].cost.working_bytes += passing;
  }
}

}  // namespace penstock
