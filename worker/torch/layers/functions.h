// Makers of the primitive layer functions; build.h puts them together. Pointers to parameters are borrowed.
// Formulas: docs/models.md.
#ifndef PENSTOCK_WORKER_TORCH_LAYERS_FUNCTIONS_H_
#define PENSTOCK_WORKER_TORCH_LAYERS_FUNCTIONS_H_

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "common/clock.h"
#include "model/boundary.h"
#include "model/layer_kind.h"
#include "worker/torch/layers/batch_statistics.h"
#include "worker/torch/layers/layer_function.h"
#include "worker/torch/layers/linear_map.h"

namespace penstock {

using LayerFunctionPtr = std::unique_ptr<LayerFunction>;

// ---- pointwise and by rows (pointwise.cc, rows.cc)

enum class Activation { kRelu, kGeluTanh, kGeluExact, kSilu, kTanh, kSigmoid };
LayerFunctionPtr MakeActivation(Activation activation);

// `name` keys the random mask; 0 <= p < 1. The identity outside of training.
LayerFunctionPtr MakeDropout(std::string name, double p);

// [batch, a, b, ...] -> [batch, a·b·...].
LayerFunctionPtr MakeFlatten();

struct DelayTimes {
  absl::Duration forward;
  absl::Duration input_gradient;
  absl::Duration weight_gradient;
};
// Sleeps; passes its input on.
LayerFunctionPtr MakeDelay(Clock* clock, DelayTimes times);

// Tokens [batch, time] int64 -> [batch, time, dim]. weight: [vocab, dim].
LayerFunctionPtr MakeEmbedding(Parameter* weight);

// x[b, t] + weight[t]. weight: [context, dim].
LayerFunctionPtr MakePositionEmbedding(Parameter* weight);

// Over the last dimension.
LayerFunctionPtr MakeLinear(LinearMap map);

// Over the last dimension. bias may be null.
LayerFunctionPtr MakeLayerNorm(Parameter* weight, Parameter* bias, double eps);
LayerFunctionPtr MakeRmsNorm(Parameter* weight, double eps);

// ---- images (spatial.cc): x [batch, channels, height, width]

// How a kernel slides: of a convolution, or of the reverse of one.
struct ConvolutionShape {
  std::array<int64_t, 2> stride;
  std::array<int64_t, 2> padding;
  std::array<int64_t, 2> dilation;
  bool transposed = false;
  std::array<int64_t, 2> output_padding;  // transposed only
  int64_t groups = 1;
};
// bias may be null.
LayerFunctionPtr MakeConvolution(Parameter* weight, Parameter* bias, ConvolutionShape shape);

LayerFunctionPtr MakeMaxPool(const Window& window);
// Args: count_padding: zeros of the padding are a part of the mean.
LayerFunctionPtr MakeAvgPool(const Window& window, bool count_padding);

// Repeats each pixel `scale` times along both sides.
LayerFunctionPtr MakeUpsample(int64_t scale);
// Zeros at the left, right, top and bottom; negative numbers take pixels away.
LayerFunctionPtr MakePad(std::array<int64_t, 4> pads);

// x: [batch, channels] or [batch, channels, ...]. Training: normalises by the micro-batch and adds its statistics to
// `statistics`; otherwise by the moving averages.
LayerFunctionPtr MakeBatchNorm(Parameter* weight, Parameter* bias, double eps, BatchStatistics* statistics);

// ---- attention (attention.cc)

struct AttentionOptions {
  int64_t heads = 0;
  int64_t kv_heads = 0;
  bool rotary = false;
  double rotary_base = 10000;
};
// Causal self-attention over x [batch, time, dim]. Queries, keys and values, in this order, are the columns of the
// projections' outputs laid side by side, each [heads or kv_heads, dim / heads].
// REQUIRES: a projection's end falls on an end of queries, keys or values.
LayerFunctionPtr MakeAttention(AttentionOptions options, std::vector<LinearMap> projections, LinearMap output);

// ---- composites (composites.cc)

LayerFunctionPtr MakeSequence(std::vector<LayerFunctionPtr> parts);
// x + block(x).
LayerFunctionPtr MakeResidual(LayerFunctionPtr block);
// down(silu(gate(x)) * up(x)).
LayerFunctionPtr MakeSwiGlu(LinearMap gate, LinearMap up, LinearMap down);

// ---- of several tensors (joins.cc)

LayerFunctionPtr MakeAdd();
// Args: dim: of a sample.
LayerFunctionPtr MakeConcat(int64_t dim);
// Layers that read each other. Args: wiring: of `layers`; one output.
LayerFunctionPtr MakeGraph(Wiring wiring, std::vector<LayerFunctionPtr> layers);

}  // namespace penstock

#endif  // PENSTOCK_WORKER_TORCH_LAYERS_FUNCTIONS_H_
