// What follows from a model's layers before anything runs: shapes, parameters, costs. No torch. Pure.
// Source of each kind's rules: docs/models.md.
#ifndef PENSTOCK_MODEL_MODEL_INFO_H_
#define PENSTOCK_MODEL_MODEL_INFO_H_

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/diagnostic.h"
#include "proto/model.pb.h"
#include "proto/tensor.pb.h"

namespace penstock {

// Bytes of one element. REQUIRES: a specified dtype.
int64_t DTypeBytes(v1::DType dtype);

// One sample's tensor, without the batch dimension.
struct TensorType {
  v1::DType dtype = v1::DTYPE_UNSPECIFIED;
  std::vector<int64_t> shape;

  int64_t Elements() const;
  int64_t Bytes() const { return Elements() * DTypeBytes(dtype); }
  friend bool operator==(const TensorType&, const TensorType&) = default;
};

// How a parameter starts. The values come from (seed, name) alone: common/philox.h.
struct Init {
  enum class Kind { kZeros, kOnes, kNormal, kUniform };
  Kind kind = Kind::kZeros;
  double scale = 0;  // kNormal: standard deviation; kUniform: the values lie in [-scale, scale)
};

struct ParameterSpec {
  std::string name;  // global: "<layer>.<parameter>", inner layers "<layer>.<inner>.<parameter>"
  std::vector<int64_t> shape;
  Init init;
  bool decay = false;   // weight decay applies: matrices and kernels, not biases and norms
  bool frozen = false;  // it is not trained

  int64_t Elements() const;
};

// What a layer does with the tensors at its two ends; from it follows what neighbours share. Layers that read several
// tensors leave all three false.
struct LayerEnds {
  bool keeps_input = false;   // activation_bytes counts its input
  bool keeps_output = false;  // activation_bytes counts its output
  bool passes_input = false;  // its output is its input's memory
};

// State that no gradient flows into: a BatchNorm's moving averages.
struct BufferSpec {
  std::string name;
  v1::DType dtype = v1::DTYPE_FLOAT32;
  std::vector<int64_t> shape;
  double value = 0;  // at the start
};

// Per sample; a micro-batch of n samples costs n times as much.
struct LayerCost {
  double forward_flops = 0;
  double backward_flops = 0;  // input and weight gradients together
  double weight_flops = 0;    // the part of backward_flops that the weight gradients take
  // Kept from the forward pass to the backward pass: the tensors on worker/torch's tape. A tensor that an earlier layer
  // keeps as its output and this one as its input is in both layers' counts, and here once more by itself: a stage that
  // holds layer `shared_from` too keeps it once.
  int64_t activation_bytes = 0;
  // The part of activation_bytes that is not of the type that the model computes in: tokens, places of maxima, what
  // norms and softmax keep in float32.
  int64_t full_bytes = 0;
  int64_t shared_bytes = 0;
  int shared_from = 0;  // meaningless while shared_bytes is 0
  // Kept from the input gradient to the weight gradient: the factors of weight gradients that can wait.
  int64_t deferred_bytes = 0;
  // The most that F, I or W hold beyond the larger of activation_bytes and deferred_bytes: inputs, outputs and
  // gradients on their way, temporaries, and what passes by, made before this layer and read after it.
  int64_t working_bytes = 0;
  // What adding up a weight's gradient holds besides, whatever the number of samples: a kernel's own gradient. Products
  // and rows of tables go straight into the sum.
  int64_t gradient_bytes = 0;
  double memory_bytes = 0;       // read and written in a forward pass, for kinds that are bound by memory
  double fixed_forward_us = 0;   // delay layers: per micro-batch, whatever its size
  double fixed_backward_us = 0;  // input and weight gradients together
  double fixed_weight_us = 0;    // the part of it that the weight gradients take
};

// In LayerInfo.reads: what the model itself reads.
inline constexpr int kModelInput = -1;

// A batch_norm that sees one value a channel of each sample: a micro-batch of one sample would have no variance.
struct LoneNorm {
  std::string name;
  v1::SourceLocation at;
};

struct LayerInfo {
  std::string name;
  TensorType input;                     // the first of what it reads
  std::vector<TensorType> more_inputs;  // the others
  std::vector<int> reads;               // who makes them: earlier layers by number, or kModelInput
  TensorType output;
  std::vector<ParameterSpec> parameters;  // in model order: the order in which the layer uses them
  std::vector<BufferSpec> buffers;
  LayerCost cost;
  LayerEnds ends;
  // Whether anything that is trained, in it or below it, needs the gradient of its output; and of what it reads.
  bool needs_gradient = true;
  bool needs_input_gradient = true;
  std::vector<LoneNorm> lone_norms;  // the layer itself, or layers in it

  // Whether nobody needs the gradient of anything that it reads.
  bool ReadsModelInputOnly() const;
  int64_t ParameterElements() const;
};

struct ModelInfo {
  std::vector<LayerInfo> layers;
  int64_t vocab = 0;    // language models: size of the last dimension of the output; else 0
  int64_t classes = 0;  // cross_entropy: the same; else 0

  int64_t ParameterElements() const;
};

// Infers every layer's shapes, parameters and costs, and checks the loss against the output.
// Adds an error, with the layer's name and its line, for each layer that does not fit; goes on after it where it
// can. Returns what was inferred; it is whole only if `diagnostics` stayed empty of new errors.
// Errors found: a shape that does not fit a kind, heads that do not divide the width, duplicate names, an output that
// does not fit the loss, sizes that are not positive, more than 2^40 parameters; of `from`: a name that is unknown or
// comes later, and an output that nobody reads.
// Args: reported: names of layers whose faults are already told: nothing is added for them, and what follows from their
//       shapes is left unsaid.
ModelInfo InferModel(const v1::Model& model, Diagnostics* diagnostics, const std::set<std::string>& reported = {});

// InferModel for callers that have no file at hand. Errors: InvalidArgument with all faults.
absl::StatusOr<ModelInfo> InferModel(const v1::Model& model);

}  // namespace penstock

#endif  // PENSTOCK_MODEL_MODEL_INFO_H_
