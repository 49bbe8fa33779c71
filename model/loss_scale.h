// The dynamic loss scale of precision fp16: one for all stages, moved by what a step's gradients were. Pure.
// Source: docs/training.md, "Precision"; Micikevicius et al., "Mixed Precision Training" (2018), 3.2.
#ifndef PENSTOCK_MODEL_LOSS_SCALE_H_
#define PENSTOCK_MODEL_LOSS_SCALE_H_

#include "proto/job.pb.h"

namespace penstock {

// Gradients that are not finite at this scale are not the scale's fault: the job fails as in any other precision.
inline constexpr double kLeastLossScale = 1;
// Growth ends here: what still vanishes is below 2^-48.
inline constexpr double kMostLossScale = 1 << 24;

// Whether the job scales its loss.
inline bool ScalesLoss(const v1::Train& train) { return train.precision() == "fp16"; }

// The scale itself: 1 where the loss is not scaled.
inline double ScaleOf(const v1::LossScaleState& state) { return state.scale() == 0 ? 1 : state.scale(); }

// Before the first step.
v1::LossScaleState FirstLossScale(const v1::LossScale& options);

// After a step. Overflow: halved, and the step counts as skipped. Doubled after growth_interval steps in a row without
// one. Always a power of two if the initial scale is one, so that dividing by it rounds nothing.
v1::LossScaleState NextLossScale(const v1::LossScale& options, v1::LossScaleState state, bool overflow);

}  // namespace penstock

#endif  // PENSTOCK_MODEL_LOSS_SCALE_H_
