// Rules of embedding and position_embedding.
#include "absl/strings/str_cat.h"
#include "model/layer_rules.h"

namespace penstock {

// A row of the table for each token; what is kept for the backward pass are the tokens, then the gradient too.
bool EmbeddingRule(const RuleContext& context) {
  const v1::Embedding& embedding = context.layer.embedding();
  const bool sizes = context.Positive("vocab", embedding.vocab()) & context.Positive("dim", embedding.dim()) &
                     context.AboveZero("init_std", embedding.init_std());
  if (!sizes) return false;
  if (context.input().dtype != v1::DTYPE_INT64) {
    return context.Fail(absl::StrCat("needs tokens as input, but gets numbers ", ShapeText(context.input().shape)));
  }
  context.AddParameter("weight", {embedding.vocab(), embedding.dim()}, NormalInit(embedding.init_std()), true);
  std::vector<int64_t> shape = context.input().shape;
  shape.push_back(embedding.dim());
  context.SetOutput(shape);
  context.info->cost.activation_bytes = context.info->cost.full_bytes = context.input().Bytes();
  context.info->ends.keeps_input = true;
  context.info->cost.deferred_bytes = context.input().Bytes() + context.info->output.Bytes();
  context.info->cost.memory_bytes = context.input().Bytes() + 2.0 * context.info->output.Bytes();
  return true;
}

// x + weight[0 .. positions). The backward pass needs nothing kept.
bool PositionEmbeddingRule(const RuleContext& context) {
  const v1::PositionEmbedding& embedding = context.layer.position_embedding();
  const bool sizes =
      context.Positive("context", embedding.context()) & context.AboveZero("init_std", embedding.init_std());
  if (!sizes || !context.FloatInput(2, "[positions, width]")) return false;
  const int64_t positions = context.input().shape[0];
  if (positions > embedding.context()) {
    return context.Fail(absl::StrCat("context is ", embedding.context(), ", but a sequence has ", positions,
                                     " positions: context must be at least data.seq_len"));
  }
  context.AddParameter("weight", {embedding.context(), context.Width()}, NormalInit(embedding.init_std()), true);
  context.SetOutput(context.input().shape);
  context.info->cost.working_bytes = 2 * context.input().Bytes();  // input and output
  context.info->cost.memory_bytes = 3.0 * context.input().Bytes();
  return true;
}

}  // namespace penstock
