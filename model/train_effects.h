// What training in 16 bits, and not training some parameters, change of what was inferred of a model. Pure.
// Internal to model/: callers use model_info.h. Source: docs/training.md, "Frozen parameters" and "Precision".
#ifndef PENSTOCK_MODEL_TRAIN_EFFECTS_H_
#define PENSTOCK_MODEL_TRAIN_EFFECTS_H_

#include "model/model_info.h"
#include "proto/model.pb.h"

namespace penstock {

// Marks the parameters that are frozen, and the layers whose outputs or inputs need no gradient, and takes what is not
// computed or kept out of their costs. A model in which nothing is frozen is left as it is, but that its input needs no
// gradient.
void FreezeParameters(const v1::Model& model, ModelInfo* info);

// Gives activations Model.compute's type, and their costs its size.
void SetComputeType(const v1::Model& model, ModelInfo* info);

}  // namespace penstock

#endif  // PENSTOCK_MODEL_TRAIN_EFFECTS_H_
