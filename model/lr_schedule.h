// The learning rate of a step. Pure: coordinator and workers compute the same bits.
// Source: docs/training.md, "Learning rate".
#ifndef PENSTOCK_MODEL_LR_SCHEDULE_H_
#define PENSTOCK_MODEL_LR_SCHEDULE_H_

#include <cstdint>

#include "proto/job.pb.h"

namespace penstock {

// Steps count from 1. Warm-up: lr * step / warmup_steps while step <= warmup_steps. After it: constant; linear, cosine
// or polynomial from lr down to min_lr, which the last step reaches; lr until the last decay_steps steps go down to
// min_lr (wsd); or lr times gamma once more every step_size steps, not below min_lr (step).
double LearningRate(const v1::Train& train, uint64_t step);

}  // namespace penstock

#endif  // PENSTOCK_MODEL_LR_SCHEDULE_H_
