#include "model/model_info.h"

#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/limits.h"
#include "common/logging.h"
#include "model/layer_kind.h"
#include "model/layer_reads.h"
#include "model/layer_rules.h"
#include "model/train_effects.h"

namespace penstock {
namespace {

// Where counts of elements stop growing: above kMaxElements, which is refused, and small enough that a sum of many
// and a product with a dtype's size stay within 63 bits.
constexpr int64_t kElementsCap = int64_t{1} << 50;

int64_t ElementsOf(const std::vector<int64_t>& shape) {
  int64_t elements = 1;
  for (int64_t size : shape) {
    if (size == 0) return 0;
    elements = elements > kElementsCap / size ? kElementsCap : elements * size;
  }
  return elements;
}

int64_t CappedSum(int64_t a, int64_t b) { return std::min(a + b, kElementsCap); }

int64_t CountBlocks(const LayerList& layers) {
  int64_t blocks = 0;
  for (const v1::Layer& layer : layers) {
    blocks += layer.kind_case() == v1::Layer::kGptBlock || layer.kind_case() == v1::Layer::kLlamaBlock;
    blocks += CountBlocks(InnerLayers(layer));
  }
  return blocks;
}

bool KeepsShape(const v1::Layer& layer) {
  switch (layer.kind_case()) {
    case v1::Layer::kEmbedding:
    case v1::Layer::kLinear:
    case v1::Layer::kLmHead:
    case v1::Layer::kConv2D:
    case v1::Layer::kMaxPool:
    case v1::Layer::kAvgPool:
    case v1::Layer::kFlatten:
    case v1::Layer::kConcat:
    case v1::Layer::kGraph:
    case v1::Layer::kConvTranspose2D:
    case v1::Layer::kUpsample:
    case v1::Layer::kPad:
    case v1::Layer::KIND_NOT_SET:
      return false;
    default:
      return true;
  }
}

// Names are the keys of checkpoints: letters, digits, '_', '-', and '.' between parts.
bool IsName(absl::string_view name) {
  if (name.empty() || name.size() > 200) return false;
  for (char c : name) {
    if (!absl::ascii_isalnum(static_cast<unsigned char>(c)) && c != '_' && c != '-' && c != '.') return false;
  }
  return name.front() != '.' && name.back() != '.' && !absl::StrContains(name, "..");
}

void CheckNames(const LayerList& layers, std::set<std::string>* seen, Diagnostics* diagnostics) {
  for (const v1::Layer& layer : layers) {
    const std::string& name = layer.name();
    if (!IsName(name)) {
      diagnostics->Error(
          layer.at(), absl::StrCat("layer name '", name, "' is not made of letters, digits, '_', '-' and single dots"));
    } else if (name == "optimizer" || absl::StartsWith(name, "optimizer.")) {
      diagnostics->Error(layer.at(), absl::StrCat("layer name '", name,
                                                  "' is taken: checkpoints keep the optimizer's state under it"));
    } else if (name == "input" || absl::StartsWith(name, "input.")) {
      diagnostics->Error(layer.at(), absl::StrCat("layer name '", name, "' is taken: `from` calls the input so"));
    } else if (!seen->insert(name).second) {
      diagnostics->Error(layer.at(), absl::StrCat("two layers have the name '", name, "'"));
    }
    CheckNames(InnerLayers(layer), seen, diagnostics);
  }
}

// Two layers with different names may still meet in a parameter's: "a" with "b.weight", "a.b" with "weight".
void CheckParameterNames(const v1::Model& model, const ModelInfo& info, Diagnostics* diagnostics) {
  std::set<std::string> seen;
  for (size_t i = 0; i < info.layers.size(); ++i) {
    const v1::SourceLocation& at = model.layers(static_cast<int>(i)).at();
    const auto check = [&](const std::string& name) {
      if (seen.insert(name).second) return;
      diagnostics->Error(
          at, absl::StrCat("layer '", info.layers[i].name, "': another layer already has a parameter '", name, "'"));
    };
    for (const ParameterSpec& parameter : info.layers[i].parameters) check(parameter.name);
    for (const BufferSpec& buffer : info.layers[i].buffers) check(buffer.name);
  }
}

bool CheckInput(const v1::Model& model, TensorType* input, Diagnostics* diagnostics) {
  const int before = diagnostics->count();
  if (model.input().dtype() != v1::DTYPE_INT64 && model.input().dtype() != v1::DTYPE_FLOAT32) {
    diagnostics->Error(model.at(), "model.input: its elements must be tokens (int64) or numbers (float32)");
  }
  const int rank = model.input().shape_size();
  if (rank < 1 || rank + 1 > limits::kMaxTensorRank) {
    diagnostics->Error(model.at(), absl::StrCat("model.input: a shape of ", rank, " dimensions; 1 to ",
                                                limits::kMaxTensorRank - 1, " are allowed"));
  }
  input->dtype = model.input().dtype();
  input->shape.assign(model.input().shape().begin(), model.input().shape().end());
  for (int64_t size : input->shape) {
    if (size >= 1 && size <= kMaxSize) continue;
    diagnostics->Error(model.at(), absl::StrCat("model.input: the shape ", ShapeText(input->shape),
                                                " has a size that is not between 1 and ", kMaxSize));
    break;
  }
  const bool sized = diagnostics->count() == before;
  if (sized && input->Elements() > kMaxElements) {
    diagnostics->Error(model.at(), "model.input: more than 2^40 elements a sample");
  }
  return diagnostics->count() == before;
}

// The loss is counted with the last layer. Cross entropy keeps log-probabilities and classes, mean squared error the
// output and the targets.
void AddLossCost(const v1::Model& model, LayerInfo* last) {
  const int64_t bytes = last->output.Bytes();
  const bool cross_entropy = model.loss() == v1::LOSS_CROSS_ENTROPY;
  const int64_t classes = last->output.Elements() / last->output.shape.back();  // one a position
  const int64_t kept = cross_entropy ? bytes + classes * DTypeBytes(v1::DTYPE_INT64) : 2 * bytes;
  last->cost.activation_bytes += kept;
  last->cost.full_bytes += kept;
  // The gradient of the output; cross entropy computes it from that of the log-probabilities.
  last->cost.working_bytes = std::max(last->cost.working_bytes, (cross_entropy ? 2 : 1) * bytes);
  last->cost.memory_bytes += (cross_entropy ? 3.0 : 2.0) * bytes;
}

void CheckLoss(const v1::Model& model, const TensorType& input, ModelInfo* info, Diagnostics* diagnostics) {
  LayerInfo& last = info->layers.back();
  const v1::SourceLocation& at = model.layers(model.layers_size() - 1).at();
  const bool tokens = input.dtype == v1::DTYPE_INT64;
  const auto fail = [&](absl::string_view message) {
    diagnostics->Error(
        at, absl::StrCat("layer '", last.name, "': ", message, ", but its output is ", ShapeText(last.output.shape)));
  };
  if (model.loss() == v1::LOSS_UNSPECIFIED) {
    diagnostics->Error(model.at(), "model.loss is missing: cross_entropy or mse");
    return;
  }
  if (last.output.dtype != v1::DTYPE_FLOAT32) return fail("the loss needs numbers");
  if (model.loss() == v1::LOSS_CROSS_ENTROPY) {
    std::vector<int64_t> wanted = tokens ? input.shape : std::vector<int64_t>();
    const int64_t classes = last.output.shape.back();
    wanted.push_back(classes);
    if (last.output.shape != wanted) {
      return fail(tokens ? absl::StrCat("cross_entropy of tokens ", ShapeText(input.shape), " needs the form [",
                                        input.shape[0], ", vocabulary] from the last layer")
                         : "cross_entropy needs the form [classes] from the last layer");
    }
    info->classes = classes;
    if (tokens) info->vocab = classes;
  } else if (tokens) {
    return fail("mse compares numbers, and the data are tokens: use cross_entropy");
  } else if (last.output.shape != std::vector<int64_t>{1}) {
    return fail("mse compares with one target column, so the last layer must give [1]");
  }
  AddLossCost(model, &last);
}

}  // namespace

int64_t DTypeBytes(v1::DType dtype) {
  switch (dtype) {
    case v1::DTYPE_FLOAT64:
    case v1::DTYPE_INT64:
      return 8;
    case v1::DTYPE_FLOAT32:
    case v1::DTYPE_INT32:
      return 4;
    case v1::DTYPE_BFLOAT16:
    case v1::DTYPE_FLOAT16:
      return 2;
    case v1::DTYPE_UINT8:
    case v1::DTYPE_BOOL:
      return 1;
    default:
      break;
  }
  LOG(FATAL) << "no size for dtype " << dtype;
  return 0;
}

int64_t TensorType::Elements() const { return ElementsOf(shape); }
int64_t ParameterSpec::Elements() const { return ElementsOf(shape); }

int64_t LayerInfo::ParameterElements() const {
  int64_t elements = 0;
  for (const ParameterSpec& parameter : parameters) elements = CappedSum(elements, parameter.Elements());
  return elements;
}

int64_t ModelInfo::ParameterElements() const {
  int64_t elements = 0;
  for (const LayerInfo& layer : layers) elements = CappedSum(elements, layer.ParameterElements());
  return elements;
}

bool LayerInfo::ReadsModelInputOnly() const {
  return std::all_of(reads.begin(), reads.end(), [](int source) { return source == kModelInput; });
}

// 1. CheckNames, CheckInput.  2. ResolveReads, then ApplyRule, layer by layer: outputs are later layers' inputs.
// 3. CheckLoss, CheckParameterNames and the total, where the shapes are known to the end.
ModelInfo InferModel(const v1::Model& model, Diagnostics* diagnostics, const std::set<std::string>& reported) {
  ModelInfo info;
  if (model.layers().empty()) {
    diagnostics->Error(model.at(), "the model has no layers");
    return info;
  }
  std::set<std::string> names;
  CheckNames(model.layers(), &names, diagnostics);
  TensorType model_input;
  if (!CheckInput(model, &model_input, diagnostics)) return info;
  std::set<std::string> told = reported;
  const std::vector<Reads> reads = ResolveReads(model.layers(), 1, &told, diagnostics);
  const int64_t blocks = CountBlocks(model.layers());
  std::set<std::pair<uint32_t, uint32_t>> failed;
  for (int i = 0; i < model.layers_size(); ++i) {
    const v1::Layer& layer = model.layers(i);
    v1::Layer filled = layer;
    FillDefaults(&filled);
    LayerInfo next;
    SetReads(reads[i], {model_input}, info.layers, &next);
    next.name = layer.name();
    // A repeated layer fails again and again: its line is told once.
    const std::pair<uint32_t, uint32_t> place = {layer.at().line(), layer.at().column()};
    const bool known = told.contains(layer.name());
    Diagnostics ignored;
    const bool silent = known || (place.first != 0 && failed.contains(place));
    const bool good = ApplyRule({filled, blocks, silent ? &ignored : diagnostics, &next});
    if (!good) failed.insert(place);
    if (!good || known) {
      if (!KeepsShape(layer) || next.input.dtype != v1::DTYPE_FLOAT32) return info;  // what follows cannot be known
      next.output = next.input;
    }
    info.layers.push_back(std::move(next));
  }
  FindShared(&info.layers);
  AddPassing(model.layers(), &info.layers);
  FreezeParameters(model, &info);
  if (!told.contains(info.layers.back().name)) CheckLoss(model, model_input, &info, diagnostics);
  CheckParameterNames(model, info, diagnostics);
  SetComputeType(model, &info);
  if (info.ParameterElements() > kMaxElements) {
    diagnostics->Error(model.at(), "the model has more than 2^40 parameters");
  }
  return info;
}

absl::StatusOr<ModelInfo> InferModel(const v1::Model& model) {
  Diagnostics diagnostics;
  ModelInfo info = InferModel(model, &diagnostics);
  if (!diagnostics.ok()) return diagnostics.ToStatus();
  return info;
}

}  // namespace penstock
