#include "worker/torch/loss.h"

#include <cmath>
#include <utility>

#include "worker/data/dataset.h"

namespace penstock {
namespace {

// torch's numbers for how a loss is reduced (ATen/core/Reduction.h).
constexpr int64_t kNone = 0;
constexpr int64_t kMean = 1;

v1::EvalSums SumsOfClasses(const at::Tensor& output, const at::Tensor& target) {
  const at::Tensor rows = AsRows(output).to(at::kFloat), classes = target.reshape({-1});
  const at::Tensor log_probabilities = at::_log_softmax(rows, 1, /*half_to_float=*/false);
  const at::Tensor losses =
      std::get<0>(at::nll_loss_forward(log_probabilities, classes, std::nullopt, kNone, kIgnoredTarget)).cpu();
  const at::Tensor likeliest = at::argmax(rows, 1).cpu(), expected = classes.cpu();
  v1::EvalSums sums;
  double loss_sum = 0;
  for (int64_t i = 0; i < expected.numel(); ++i) {
    const int64_t wanted = expected.const_data_ptr<int64_t>()[i];
    if (wanted == kIgnoredTarget) continue;
    loss_sum += losses.const_data_ptr<float>()[i];
    sums.set_targets(sums.targets() + 1);
    sums.set_correct(sums.correct() + (likeliest.const_data_ptr<int64_t>()[i] == wanted));
  }
  sums.set_loss_sum(loss_sum);
  return sums;
}

v1::EvalSums SumsOfSquares(const at::Tensor& output, const at::Tensor& target) {
  const at::Tensor values = output.to(at::kFloat).cpu(), expected = target.cpu();
  v1::EvalSums sums;
  double loss_sum = 0;
  for (int64_t i = 0; i < expected.numel(); ++i) {
    const double wanted = expected.const_data_ptr<float>()[i];
    if (std::isnan(wanted)) continue;
    const double distance = values.const_data_ptr<float>()[i] - wanted;
    loss_sum += distance * distance;
    sums.set_targets(sums.targets() + 1);
  }
  sums.set_loss_sum(loss_sum);
  return sums;
}

}  // namespace

double LossForward(v1::LossKind kind, const at::Tensor& output, const at::Tensor& target, double share, Tape* tape) {
  if (kind == v1::LOSS_MSE) {
    if (tape != nullptr) {
      tape->Push(output);
      tape->Push(target);
    }
    return share * at::mse_loss(output.to(at::kFloat), target.view_as(output), kMean).item<double>();
  }
  at::Tensor classes = target.reshape({-1});
  at::Tensor log_probabilities = at::_log_softmax(AsRows(output).to(at::kFloat), 1, /*half_to_float=*/false);
  auto [loss, weight] = at::nll_loss_forward(log_probabilities, classes, std::nullopt, kMean, kIgnoredTarget);
  if (tape != nullptr) {
    tape->PushShape(output.sizes().vec());
    tape->Push(std::move(log_probabilities));
    tape->Push(std::move(classes));
    tape->Push(std::move(weight));
  }
  return share * loss.item<double>();
}

at::Tensor LossGradient(v1::LossKind kind, at::ScalarType type, double share, Tape* tape) {
  if (kind == v1::LOSS_MSE) {
    const at::Tensor target = tape->Pop(), output = tape->Pop().to(at::kFloat);
    return at::mse_loss_backward(at::full({}, share, output.options()), output, target.view_as(output), kMean).to(type);
  }
  const at::Tensor weight = tape->Pop(), classes = tape->Pop(), log_probabilities = tape->Pop();
  const at::Tensor gradient = at::nll_loss_backward(at::full({}, share, log_probabilities.options()), log_probabilities,
                                                    classes, std::nullopt, kMean, kIgnoredTarget, weight);
  return at::_log_softmax_backward_data(gradient, log_probabilities, 1, log_probabilities.scalar_type())
      .to(type)
      .view(tape->PopShape());
}

v1::EvalSums LossSums(v1::LossKind kind, const at::Tensor& output, const at::Tensor& target) {
  return kind == v1::LOSS_MSE ? SumsOfSquares(output, target.view_as(output)) : SumsOfClasses(output, target);
}

}  // namespace penstock
