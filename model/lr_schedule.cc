#include "model/lr_schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace penstock {
namespace {

// What is left of the way from lr down to min_lr, of which `done` in [0, 1) is behind.
double Left(const v1::LrSchedule& schedule, double done) {
  switch (schedule.name()) {
    case v1::LrSchedule::LINEAR:
      return 1 - done;
    case v1::LrSchedule::COSINE:
      return (1 + std::cos(std::numbers::pi * done)) / 2;
    case v1::LrSchedule::POLYNOMIAL:
      return std::pow(1 - done, schedule.power());
    case v1::LrSchedule::WSD:
      switch (schedule.decay()) {
        case v1::LrSchedule::DECAY_COSINE:
          return (1 + std::cos(std::numbers::pi * done)) / 2;
        case v1::LrSchedule::DECAY_SQRT:
          return 1 - std::sqrt(done);
        default:
          return 1 - done;
      }
    default:
      return 1;
  }
}

}  // namespace

double LearningRate(const v1::Train& train, uint64_t step) {
  const double lr = train.optimizer().lr();
  const v1::LrSchedule& schedule = train.lr_schedule();
  const uint64_t warmup = schedule.warmup_steps();
  if (step <= warmup) return lr * (static_cast<double>(step) / static_cast<double>(warmup));
  switch (schedule.name()) {
    case v1::LrSchedule::LINEAR:
    case v1::LrSchedule::COSINE:
    case v1::LrSchedule::POLYNOMIAL:
    case v1::LrSchedule::WSD:
      break;
    case v1::LrSchedule::STEP: {
      const uint64_t cuts = (step - warmup - 1) / std::max<uint64_t>(schedule.step_size(), 1);
      return std::max(schedule.min_lr(), lr * std::pow(schedule.gamma(), static_cast<double>(cuts)));
    }
    default:
      return lr;
  }
  if (step >= train.steps()) return schedule.min_lr();  // exactly: no rounding at the end
  uint64_t begin = warmup;
  if (schedule.name() == v1::LrSchedule::WSD) {
    begin = std::max(warmup, train.steps() - std::min(schedule.decay_steps(), train.steps()));
  }
  if (step <= begin) return lr;
  const double done = static_cast<double>(step - begin) / static_cast<double>(train.steps() - begin);
  return schedule.min_lr() + (lr - schedule.min_lr()) * Left(schedule, done);
}

}  // namespace penstock
