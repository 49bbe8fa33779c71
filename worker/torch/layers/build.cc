#include "worker/torch/layers/build.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"

namespace penstock {
namespace {

// One layer being built: finds its parts by their names.
class LayerBuilder {
 public:
  LayerBuilder(const v1::Layer& layer, LayerParts* parts) : layer_(layer), parts_(parts) {}

  LayerFunctionPtr Build() const;

 private:
  std::string Name(absl::string_view suffix) const { return absl::StrCat(layer_.name(), ".", suffix); }

  // Null where the model has none.
  Parameter* Optional(absl::string_view suffix) const {
    const auto it = parts_->parameters.find(Name(suffix));
    return it == parts_->parameters.end() ? nullptr : it->second;
  }

  Parameter* Required(absl::string_view suffix) const {
    Parameter* parameter = Optional(suffix);
    CHECK(parameter != nullptr) << "no parameter " << Name(suffix);
    return parameter;
  }

  LinearMap Linear(absl::string_view prefix) const {
    return {Required(absl::StrCat(prefix, "weight")), Optional(absl::StrCat(prefix, "bias"))};
  }

  LayerFunctionPtr BatchNorm() const;
  LayerFunctionPtr Convolution() const;
  LayerFunctionPtr Residual() const;
  LayerFunctionPtr Graph() const;
  LayerFunctionPtr Attention() const;
  LayerFunctionPtr GptBlock() const;
  LayerFunctionPtr LlamaBlock() const;

  const v1::Layer& layer_;
  LayerParts* const parts_;
};

LayerFunctionPtr Sequence(LayerFunctionPtr a, LayerFunctionPtr b) {
  std::vector<LayerFunctionPtr> parts;
  parts.push_back(std::move(a));
  parts.push_back(std::move(b));
  return MakeSequence(std::move(parts));
}

LayerFunctionPtr LayerBuilder::BatchNorm() const {
  const auto mean = parts_->buffers.find(Name("running_mean"));
  const auto variance = parts_->buffers.find(Name("running_var"));
  CHECK(mean != parts_->buffers.end() && variance != parts_->buffers.end()) << "no buffers of " << layer_.name();
  parts_->statistics.push_back(
      std::make_unique<BatchStatistics>(mean->second, variance->second, layer_.batch_norm().momentum()));
  return MakeBatchNorm(Required("weight"), Required("bias"), layer_.batch_norm().eps(),
                       parts_->statistics.back().get());
}

LayerFunctionPtr LayerBuilder::Convolution() const {
  if (layer_.has_conv_transpose2d()) {
    const v1::ConvTranspose2d& conv = layer_.conv_transpose2d();
    return MakeConvolution(Required("weight"), Optional("bias"),
                           {.stride = {conv.stride(), conv.stride()},
                            .padding = {conv.padding(), conv.padding()},
                            .dilation = {1, 1},
                            .transposed = true,
                            .output_padding = {conv.output_padding(), conv.output_padding()}});
  }
  const Window window = WindowOf(layer_.conv2d());
  return MakeConvolution(Required("weight"), Optional("bias"),
                         {.stride = window.stride,
                          .padding = window.padding,
                          .dilation = {window.dilation, window.dilation},
                          .output_padding = {0, 0},
                          .groups = layer_.conv2d().groups()});
}

LayerFunctionPtr LayerBuilder::Graph() const {
  std::vector<LayerFunctionPtr> block;
  for (const v1::Layer& inner : layer_.graph().block()) block.push_back(BuildLayer(inner, parts_));
  return MakeGraph(WiringOfGraph(layer_), std::move(block));
}

LayerFunctionPtr LayerBuilder::Residual() const {
  std::vector<LayerFunctionPtr> block;
  for (const v1::Layer& inner : layer_.residual().block()) block.push_back(BuildLayer(inner, parts_));
  return MakeResidual(MakeSequence(std::move(block)));
}

LayerFunctionPtr LayerBuilder::Attention() const {
  const v1::Attention& attention = layer_.attention();
  const AttentionOptions options = {attention.heads(), attention.kv_heads(), attention.rotary(),
                                    attention.rotary_base()};
  std::vector<LinearMap> projections;
  if (attention.kv_heads() == attention.heads()) {
    projections = {Linear("qkv.")};
  } else {
    projections = {Linear("q."), Linear("kv.")};
  }
  return Sequence(MakeAttention(options, std::move(projections), Linear("proj.")),
                  MakeDropout(Name("dropout"), attention.dropout()));
}

LayerFunctionPtr LayerBuilder::GptBlock() const {
  const v1::GptBlock& block = layer_.gpt_block();
  std::vector<LayerFunctionPtr> attention;
  attention.push_back(MakeLayerNorm(Required("ln_1.weight"), Required("ln_1.bias"), block.eps()));
  attention.push_back(MakeAttention({block.heads(), block.heads()}, {Linear("attn.qkv.")}, Linear("attn.proj.")));
  attention.push_back(MakeDropout(Name("attn.dropout"), block.dropout()));
  std::vector<LayerFunctionPtr> mlp;
  mlp.push_back(MakeLayerNorm(Required("ln_2.weight"), Required("ln_2.bias"), block.eps()));
  mlp.push_back(MakeLinear(Linear("mlp.fc.")));
  mlp.push_back(MakeActivation(Activation::kGeluTanh));
  mlp.push_back(MakeLinear(Linear("mlp.proj.")));
  mlp.push_back(MakeDropout(Name("mlp.dropout"), block.dropout()));
  return Sequence(MakeResidual(MakeSequence(std::move(attention))), MakeResidual(MakeSequence(std::move(mlp))));
}

LayerFunctionPtr LayerBuilder::LlamaBlock() const {
  const v1::LlamaBlock& block = layer_.llama_block();
  const AttentionOptions options = {block.heads(), block.kv_heads(), /*rotary=*/true, block.rotary_base()};
  LayerFunctionPtr attention =
      MakeAttention(options, {Linear("attn.q."), Linear("attn.k."), Linear("attn.v.")}, Linear("attn.o."));
  LayerFunctionPtr mlp = MakeSwiGlu(Linear("mlp.gate."), Linear("mlp.up."), Linear("mlp.down."));
  LayerFunctionPtr ln_1 = MakeRmsNorm(Required("ln_1.weight"), block.eps());
  LayerFunctionPtr ln_2 = MakeRmsNorm(Required("ln_2.weight"), block.eps());
  return Sequence(MakeResidual(Sequence(std::move(ln_1), std::move(attention))),
                  MakeResidual(Sequence(std::move(ln_2), std::move(mlp))));
}

LayerFunctionPtr LayerBuilder::Build() const {
  switch (layer_.kind_case()) {
    case v1::Layer::kEmbedding:
      return MakeEmbedding(Required("weight"));
    case v1::Layer::kPositionEmbedding:
      return MakePositionEmbedding(Required("weight"));
    case v1::Layer::kLinear:
      return MakeLinear(Linear(""));
    case v1::Layer::kConv2D:
    case v1::Layer::kConvTranspose2D:
      return Convolution();
    case v1::Layer::kMaxPool:
      return MakeMaxPool(WindowOf(layer_.max_pool()));
    case v1::Layer::kAvgPool:
      return MakeAvgPool(WindowOf(layer_.avg_pool()), layer_.avg_pool().count_padding());
    case v1::Layer::kUpsample:
      return MakeUpsample(layer_.upsample().scale());
    case v1::Layer::kPad:
      return MakePad({layer_.pad().left(), layer_.pad().right(), layer_.pad().top(), layer_.pad().bottom()});
    case v1::Layer::kAdd:
      return MakeAdd();
    case v1::Layer::kConcat:
      return MakeConcat(layer_.concat().dim());
    case v1::Layer::kGraph:
      return Graph();
    case v1::Layer::kBatchNorm:
      return BatchNorm();
    case v1::Layer::kLayerNorm:
      return MakeLayerNorm(Required("weight"), Optional("bias"), layer_.layer_norm().eps());
    case v1::Layer::kRmsNorm:
      return MakeRmsNorm(Required("weight"), layer_.rms_norm().eps());
    case v1::Layer::kRelu:
      return MakeActivation(Activation::kRelu);
    case v1::Layer::kGelu:
      return MakeActivation(layer_.gelu().exact() ? Activation::kGeluExact : Activation::kGeluTanh);
    case v1::Layer::kSilu:
      return MakeActivation(Activation::kSilu);
    case v1::Layer::kTanh:
      return MakeActivation(Activation::kTanh);
    case v1::Layer::kSigmoid:
      return MakeActivation(Activation::kSigmoid);
    case v1::Layer::kDropout:
      return MakeDropout(layer_.name(), layer_.dropout().p());
    case v1::Layer::kFlatten:
      return MakeFlatten();
    case v1::Layer::kResidual:
      return Residual();
    case v1::Layer::kAttention:
      return Attention();
    case v1::Layer::kGptBlock:
      return GptBlock();
    case v1::Layer::kLlamaBlock:
      return LlamaBlock();
    case v1::Layer::kLmHead:
      return MakeLinear(Linear(""));
    case v1::Layer::kDelay:
      return MakeDelay(parts_->clock, {absl::Microseconds(layer_.delay().forward_us()),
                                       absl::Microseconds(layer_.delay().input_grad_us()),
                                       absl::Microseconds(layer_.delay().weight_grad_us())});
    case v1::Layer::KIND_NOT_SET:
      break;
  }
  LOG(FATAL) << "layer " << layer_.name() << " has no kind";
  return nullptr;
}

}  // namespace

LayerFunctionPtr BuildLayer(const v1::Layer& layer, LayerParts* parts) { return LayerBuilder(layer, parts).Build(); }

}  // namespace penstock
