#include "model/loss_scale.h"

#include <algorithm>

namespace penstock {

v1::LossScaleState FirstLossScale(const v1::LossScale& options) {
  v1::LossScaleState state;
  state.set_scale(options.initial());
  return state;
}

v1::LossScaleState NextLossScale(const v1::LossScale& options, v1::LossScaleState state, bool overflow) {
  if (overflow) {
    state.set_scale(std::max(kLeastLossScale, state.scale() / 2));
    state.set_steady(0);
    state.set_skipped(state.skipped() + 1);
    return state;
  }
  state.set_steady(state.steady() + 1);
  if (state.steady() < options.growth_interval()) return state;
  state.set_scale(std::min(kMostLossScale, state.scale() * 2));
  state.set_steady(0);
  return state;
}

}  // namespace penstock
