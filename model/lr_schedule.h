// The learning rate of a step. Pure: coordinator and workers compute the same bits.
// Source: docs/training.md, "Learning rate".
#ifndef PENSTOCK_MODEL_LR_SCHEDULE_H_
#define PENSTOCK_MODEL_LR_SCHEDULE_H_

#include <cstdint>

#include "proto/job.pb.h"

namespace penstock {

// Steps count from 1. Warm-up: lr * step / warmup_steps while step <= warmup_steps. After it: constant, or linear or
// cosine from lr down to min_lr, which the last step reaches.
double LearningRate(const v1::Train& train, uint64_t step);

}  // namespace penstock

#endif  // PENSTOCK_MODEL_LR_SCHEDULE_H_
