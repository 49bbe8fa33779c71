#include "model/layer_kind.h"

#include <map>

#include "common/diagnostic.h"
#include "model/model_info.h"

namespace penstock {
namespace {

// Calls `visit` for the layer and every layer nested in it.
template <typename Visit>
void ForEachLayer(v1::Layer* layer, const Visit& visit) {
  visit(layer);
  if (layer->has_residual()) {
    for (v1::Layer& inner : *layer->mutable_residual()->mutable_block()) ForEachLayer(&inner, visit);
  } else if (layer->has_graph()) {
    for (v1::Layer& inner : *layer->mutable_graph()->mutable_block()) ForEachLayer(&inner, visit);
  }
}

void FillNorms(v1::Layer* layer) {
  switch (layer->kind_case()) {
    case v1::Layer::kBatchNorm: {
      v1::BatchNorm* norm = layer->mutable_batch_norm();
      if (!norm->has_eps()) norm->set_eps(layer_defaults::kNormEps);
      if (!norm->has_momentum()) norm->set_momentum(layer_defaults::kBatchNormMomentum);
      return;
    }
    case v1::Layer::kLayerNorm: {
      v1::LayerNorm* norm = layer->mutable_layer_norm();
      if (!norm->has_eps()) norm->set_eps(layer_defaults::kNormEps);
      if (!norm->has_bias()) norm->set_bias(true);
      return;
    }
    case v1::Layer::kRmsNorm:
      if (!layer->rms_norm().has_eps()) layer->mutable_rms_norm()->set_eps(layer_defaults::kRmsNormEps);
      return;
    default:
      return;
  }
}

void FillPool(v1::Pool* pool) {
  if (!pool->has_stride()) pool->set_stride(pool->kernel());
  if (!pool->has_padding()) pool->set_padding(0);
}

void FillImages(v1::Layer* layer) {
  switch (layer->kind_case()) {
    case v1::Layer::kConv2D: {
      v1::Conv2d* conv = layer->mutable_conv2d();
      if (!conv->has_stride()) conv->set_stride(1);
      if (!conv->has_padding()) conv->set_padding(0);
      if (!conv->has_bias()) conv->set_bias(true);
      if (!conv->has_groups()) conv->set_groups(1);
      if (!conv->has_dilation()) conv->set_dilation(1);
      return;
    }
    case v1::Layer::kConvTranspose2D: {
      v1::ConvTranspose2d* conv = layer->mutable_conv_transpose2d();
      if (!conv->has_stride()) conv->set_stride(1);
      if (!conv->has_padding()) conv->set_padding(0);
      if (!conv->has_output_padding()) conv->set_output_padding(0);
      if (!conv->has_bias()) conv->set_bias(true);
      return;
    }
    case v1::Layer::kMaxPool:
      return FillPool(layer->mutable_max_pool());
    case v1::Layer::kAvgPool:
      FillPool(layer->mutable_avg_pool());
      if (!layer->avg_pool().has_count_padding()) layer->mutable_avg_pool()->set_count_padding(true);
      return;
    case v1::Layer::kPad: {
      v1::Pad* pad = layer->mutable_pad();
      pad->set_top(pad->top());
      pad->set_bottom(pad->bottom());
      pad->set_left(pad->left());
      pad->set_right(pad->right());
      return;
    }
    default:
      return;
  }
}

void FillTransformers(v1::Layer* layer) {
  switch (layer->kind_case()) {
    case v1::Layer::kAttention: {
      v1::Attention* attention = layer->mutable_attention();
      if (!attention->has_kv_heads()) attention->set_kv_heads(attention->heads());
      if (!attention->has_rotary_base()) attention->set_rotary_base(layer_defaults::kRotaryBase);
      if (!attention->has_bias()) attention->set_bias(true);
      if (!attention->has_dropout()) attention->set_dropout(0);
      return;
    }
    case v1::Layer::kGptBlock: {
      v1::GptBlock* block = layer->mutable_gpt_block();
      if (!block->has_dropout()) block->set_dropout(0);
      if (!block->has_eps()) block->set_eps(layer_defaults::kNormEps);
      return;
    }
    case v1::Layer::kLlamaBlock: {
      v1::LlamaBlock* block = layer->mutable_llama_block();
      if (!block->has_kv_heads()) block->set_kv_heads(block->heads());
      if (!block->has_eps()) block->set_eps(layer_defaults::kRmsNormEps);
      if (!block->has_rotary_base()) block->set_rotary_base(layer_defaults::kRotaryBase);
      return;
    }
    case v1::Layer::kLmHead:
      if (!layer->lm_head().has_bias()) layer->mutable_lm_head()->set_bias(false);
      return;
    default:
      return;
  }
}

void FillOne(v1::Layer* layer) {
  FillNorms(layer);
  FillTransformers(layer);
  FillImages(layer);
  switch (layer->kind_case()) {
    case v1::Layer::kEmbedding:
      if (!layer->embedding().has_init_std()) layer->mutable_embedding()->set_init_std(layer_defaults::kInitStd);
      return;
    case v1::Layer::kPositionEmbedding: {
      v1::PositionEmbedding* embedding = layer->mutable_position_embedding();
      if (!embedding->has_init_std()) embedding->set_init_std(layer_defaults::kInitStd);
      return;
    }
    case v1::Layer::kLinear:
      if (!layer->linear().has_bias()) layer->mutable_linear()->set_bias(true);
      return;
    case v1::Layer::kConcat:
      layer->mutable_concat()->set_dim(layer->concat().dim());
      return;
    default:
      return;
  }
}

}  // namespace

Window WindowOf(const v1::Conv2d& conv) {
  const int64_t stride = conv.has_stride() ? conv.stride() : 1;
  return {{conv.kernel(), conv.has_kernel_width() ? conv.kernel_width() : conv.kernel()},
          {stride, conv.has_stride_width() ? conv.stride_width() : stride},
          {conv.padding(), conv.has_padding_width() ? conv.padding_width() : conv.padding()},
          conv.has_dilation() ? conv.dilation() : 1};
}

Window WindowOf(const v1::Pool& pool) {
  const int64_t stride = pool.has_stride() ? pool.stride() : pool.kernel();
  return {{pool.kernel(), pool.kernel()}, {stride, stride}, {pool.padding(), pool.padding()}, 1};
}

std::string KindName(const v1::Layer& layer) {
  if (layer.kind_case() == v1::Layer::KIND_NOT_SET) return "";
  return v1::Layer::descriptor()->FindFieldByNumber(layer.kind_case())->name();
}

std::vector<std::string> KindNames() {
  const google::protobuf::OneofDescriptor* kinds = v1::Layer::descriptor()->FindOneofByName("kind");
  std::vector<std::string> names;
  for (int i = 0; i < kinds->field_count(); ++i) names.push_back(kinds->field(i)->name());
  return names;
}

int64_t DefaultLlamaHidden(int64_t dim) { return (8 * dim / 3 + (8 * dim % 3 != 0) + 31) / 32 * 32; }

void FillDefaults(v1::Layer* layer) { ForEachLayer(layer, FillOne); }

void FillDefaults(v1::Model* model) {
  for (v1::Layer& layer : *model->mutable_layers()) FillDefaults(&layer);
  Diagnostics diagnostics;  // faults are the caller's to find; here they only leave `hidden` open
  const ModelInfo info = InferModel(*model, &diagnostics);
  std::map<std::string, int64_t> hidden;  // by the gate's name
  for (const LayerInfo& layer : info.layers) {
    for (const ParameterSpec& parameter : layer.parameters) hidden[parameter.name] = parameter.shape[0];
  }
  for (v1::Layer& outer : *model->mutable_layers()) {
    ForEachLayer(&outer, [&](v1::Layer* layer) {
      if (layer->kind_case() != v1::Layer::kLlamaBlock || layer->llama_block().has_hidden()) return;
      const auto gate = hidden.find(layer->name() + ".mlp.gate.weight");
      if (gate != hidden.end()) layer->mutable_llama_block()->set_hidden(gate->second);
    });
  }
}

}  // namespace penstock
