// The losses: value, gradient, and the sums that evaluation reports. Pure but for the tape.
// Source: docs/training.md, "Losses".
#ifndef PENSTOCK_WORKER_TORCH_LOSS_H_
#define PENSTOCK_WORKER_TORCH_LOSS_H_

#include "proto/model.pb.h"
#include "proto/worker.pb.h"
#include "worker/torch/layers/layer_function.h"

namespace penstock {

// A micro-batch's part of the mini-batch's loss: the mean over its targets, times `share`.
// Args:    output: [.., classes] (cross_entropy) or the targets' shape (mse), contiguous. Computed in float32.
//          target: [..] int64, or float32.
//          share: the micro-batch's samples over the mini-batch's.
//          tape: takes what LossGradient needs; null when there will be none, or another LossForward before it.
double LossForward(v1::LossKind kind, const at::Tensor& output, const at::Tensor& target, double share, Tape* tape);

// Returns: the gradient of LossForward's value with respect to `output`, of its shape and type.
// Args:    type: the output's. share: LossForward's, times the loss's scale.
at::Tensor LossGradient(v1::LossKind kind, at::ScalarType type, double share, Tape* tape);

// Sums over the targets that count: not kIgnoredTarget, not NaN.
v1::EvalSums LossSums(v1::LossKind kind, const at::Tensor& output, const at::Tensor& target);

}  // namespace penstock

#endif  // PENSTOCK_WORKER_TORCH_LOSS_H_
