// Names and defaults of the layer kinds: one table for the YAML reader, the rules and the layers themselves. Pure.
// Source: docs/models.md.
#ifndef PENSTOCK_MODEL_LAYER_KIND_H_
#define PENSTOCK_MODEL_LAYER_KIND_H_

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "proto/model.pb.h"

namespace penstock {

// What an optional field means when it is not written.
namespace layer_defaults {
inline constexpr double kNormEps = 1e-5;     // batch_norm, layer_norm, gpt_block: PyTorch's own
inline constexpr double kRmsNormEps = 1e-5;  // rms_norm, llama_block: Llama 2's own
inline constexpr double kBatchNormMomentum = 0.1;
inline constexpr double kInitStd = 0.02;  // GPT-2's own
inline constexpr double kRotaryBase = 10000;
}  // namespace layer_defaults

// A window that slides over an image, height first.
struct Window {
  std::array<int64_t, 2> kernel;
  std::array<int64_t, 2> stride;
  std::array<int64_t, 2> padding;
  int64_t dilation = 1;
};

// With what is not given filled in. A width that is not given is the height's.
Window WindowOf(const v1::Conv2d& conv);
Window WindowOf(const v1::Pool& pool);

// "gpt_block"; "" for a layer without a kind.
std::string KindName(const v1::Layer& layer);

// The names of all kinds, in the order of proto/model.proto.
std::vector<std::string> KindNames();

// Width of a llama_block's SwiGLU when none is given: 8/3 of `dim`, rounded up to a multiple of 32.
int64_t DefaultLlamaHidden(int64_t dim);

// Sets every optional field that does not depend on a shape, in nested layers too. A field that is set stays; a width
// that is not given stays open, since it is the height's.
void FillDefaults(v1::Layer* layer);

// Sets every optional field of the model, llama_block.hidden included where the shapes can be inferred.
void FillDefaults(v1::Model* model);

}  // namespace penstock

#endif  // PENSTOCK_MODEL_LAYER_KIND_H_
