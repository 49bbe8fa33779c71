// The rules of each kind of layer: from a layer and its input to its output, parameters, buffers and costs. Pure.
// Internal to model/: callers use model_info.h. Source: docs/models.md.
#ifndef PENSTOCK_MODEL_LAYER_RULES_H_
#define PENSTOCK_MODEL_LAYER_RULES_H_

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "common/diagnostic.h"
#include "model/layer_reads.h"
#include "model/model_info.h"
#include "proto/model.pb.h"

namespace penstock {

// A size that a user may give: above it, products of two sizes would leave 63 bits.
inline constexpr int64_t kMaxSize = (int64_t{1} << 31) - 1;
// Elements of one tensor or of all parameters: 4 TiB of fp32, beyond any device that this version knows.
inline constexpr int64_t kMaxElements = int64_t{1} << 40;

// One layer on its way through its rule. A rule reads `layer` and `info->input`, and fills in the rest of `info`.
// It answers false after Fail(), when the output cannot be known.
struct RuleContext {
  const v1::Layer& layer;  // defaults are filled in
  int64_t blocks;          // gpt and llama blocks in the whole model: scales the initial output projections
  Diagnostics* diagnostics;
  LayerInfo* info;

  const TensorType& input() const { return info->input; }
  // All of what it reads.
  std::vector<TensorType> inputs() const;
  int64_t Width() const { return info->input.shape.back(); }
  // Positions of a sample: the product of all dimensions but the last.
  int64_t Positions() const { return info->input.Elements() / Width(); }

  // Adds the error "layer 'NAME' (KIND): MESSAGE" at the layer's place. Returns false.
  bool Fail(absl::string_view message) const;
  // Whether `value` is in [1, kMaxSize]; fails otherwise.
  bool Positive(absl::string_view key, int64_t value) const;
  // Whether 0 <= value < 1; fails otherwise.
  bool Probability(absl::string_view key, double value) const;
  // Whether value > 0; fails otherwise.
  bool AboveZero(absl::string_view key, double value) const;
  // Whether the input is float32; fails otherwise.
  bool FloatInput() const;
  // Whether the input is float32 with `rank` dimensions, which `form` describes; fails otherwise.
  bool FloatInput(size_t rank, absl::string_view form) const;

  void AddParameter(absl::string_view name, std::vector<int64_t> shape, Init init, bool decay) const;
  void AddBuffer(absl::string_view name, std::vector<int64_t> shape, double value) const;
  void SetOutput(std::vector<int64_t> shape) const;
};

inline constexpr Init kInitZeros = {Init::Kind::kZeros, 0};
inline constexpr Init kInitOnes = {Init::Kind::kOnes, 0};
inline Init NormalInit(double std) { return {Init::Kind::kNormal, std}; }
// PyTorch's own for linear and conv: uniform in ±1/sqrt(fan_in).
Init FanInInit(int64_t fan_in);

// Adds the error "layer 'NAME' (KIND): MESSAGE" at the layer's place.
void LayerError(const v1::Layer& layer, absl::string_view message, Diagnostics* diagnostics);

// The costs of a kind that multiplies by a kernel: the kernel's gradient costs as much as the output, and so does the
// input's. It is computed from the input and the output's gradient, which wait for it.
// REQUIRES: shapes and forward_flops are set.
void SetKernelCost(const RuleContext& context);

// Sets `info`'s reads and the types of its inputs. Args: inputs: of the list; layers: of the list, up to this one.
void SetReads(const Reads& reads, const std::vector<TensorType>& inputs, const std::vector<LayerInfo>& layers,
              LayerInfo* info);

// Sets shared_bytes and shared_from in a list of layers.
// Returns: the list's own inputs that layers in it keep.
std::set<int> FindShared(std::vector<LayerInfo>* layers);

// Adds to each layer's working_bytes what passes it by: made before it, read after it. Going forward that is the
// tensor, going backward its gradient.
// Args: list: whose infos `layers` are.
void AddPassing(const LayerList& list, std::vector<LayerInfo>* layers);

// Applies the rule of the layer's kind. `info->name` and `info->input` are set.
bool ApplyRule(const RuleContext& context);

// graph_rules.cc: composites and what joins several tensors.
bool ResidualRule(const RuleContext& context);
bool GraphRule(const RuleContext& context);
bool AddRule(const RuleContext& context);
bool ConcatRule(const RuleContext& context);
// image_rules.cc
bool Conv2dRule(const RuleContext& context);
bool MaxPoolRule(const RuleContext& context);
bool AvgPoolRule(const RuleContext& context);
bool ConvTranspose2dRule(const RuleContext& context);
bool UpsampleRule(const RuleContext& context);
bool PadRule(const RuleContext& context);
// embedding_rules.cc
bool EmbeddingRule(const RuleContext& context);
bool PositionEmbeddingRule(const RuleContext& context);
// linear_rules.cc
// linear_rules.cc
bool LinearRule(const RuleContext& context);
bool LmHeadRule(const RuleContext& context);
// norm_rules.cc
bool BatchNormRule(const RuleContext& context);
bool LayerNormRule(const RuleContext& context);
bool RmsNormRule(const RuleContext& context);
// elementwise_rules.cc: relu, gelu, silu, tanh, sigmoid, dropout, flatten, delay.
bool ActivationRule(const RuleContext& context);
bool DropoutRule(const RuleContext& context);
bool FlattenRule(const RuleContext& context);
bool DelayRule(const RuleContext& context);
// attention_rules.cc
bool AttentionRule(const RuleContext& context);
bool GptBlockRule(const RuleContext& context);
bool LlamaBlockRule(const RuleContext& context);

// "[1, 8, 8]".
std::string ShapeText(const std::vector<int64_t>& shape);

}  // namespace penstock

#endif  // PENSTOCK_MODEL_LAYER_RULES_H_
