#include "model/lr_schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace penstock {

double LearningRate(const v1::Train& train, uint64_t step) {
  const double lr = train.optimizer().lr();
  const v1::LrSchedule& schedule = train.lr_schedule();
  const uint64_t warmup = schedule.warmup_steps();
  if (step <= warmup) return lr * (static_cast<double>(step) / static_cast<double>(warmup));
  const bool decays = schedule.name() == v1::LrSchedule::LINEAR || schedule.name() == v1::LrSchedule::COSINE;
  if (!decays) return lr;
  if (step >= train.steps()) return schedule.min_lr();  // exactly: no rounding at the end
  const double done = static_cast<double>(step - warmup) / static_cast<double>(train.steps() - warmup);
  const double left =
      schedule.name() == v1::LrSchedule::LINEAR ? 1 - done : (1 + std::cos(std::numbers::pi * done)) / 2;
  return schedule.min_lr() + (lr - schedule.min_lr()) * left;
}

}  // namespace penstock
