#include <utility>

#include "worker/torch/layers/functions.h"

namespace penstock {
namespace {

// The sum of each token's gradients.
class LookupGradient final : public PendingGradient {
 public:
  LookupGradient(Parameter* weight, at::Tensor tokens, at::Tensor gradient)
      : weight_(weight), tokens_(std::move(tokens)), gradient_(std::move(gradient)) {}

  // Row by row into the sum: a table's gradient of its own would cost as much memory as the table.
  void AddUp() override {
    if (!weight_->has_gradient) weight_->gradient.zero_();
    weight_->has_gradient = true;
    const at::Tensor tokens = tokens_.reshape({-1}), rows = AsRows(gradient_).to(at::kFloat);
    if (!rows.is_cpu()) {
      weight_->gradient.index_add_(0, tokens, rows);
      return;
    }
    const int64_t width = rows.size(1);
    float* const sum = weight_->gradient.mutable_data_ptr<float>();
    const float* row = rows.const_data_ptr<float>();
    for (int64_t i = 0; i < tokens.numel(); ++i, row += width) {
      float* const to = sum + tokens.const_data_ptr<int64_t>()[i] * width;
      for (int64_t j = 0; j < width; ++j) to[j] += row[j];
    }
  }

 private:
  Parameter* const weight_;
  const at::Tensor tokens_;
  const at::Tensor gradient_;
};

class EmbeddingFunction final : public LayerFunction {
 public:
  explicit EmbeddingFunction(Parameter* weight) : weight_(weight) {}

  at::Tensor Forward(at::Tensor x, const LayerContext&, Tape* tape) override {
    at::Tensor y = at::embedding(weight_->value, x);
    if (tape != nullptr) tape->Push(std::move(x));
    return y;
  }

  at::Tensor Backward(at::Tensor gradient, const LayerContext&, Tape* tape, GradientSink* sink) override {
    at::Tensor tokens = tape->Pop();
    if (!weight_->frozen) {
      sink->Defer(std::make_unique<LookupGradient>(weight_, std::move(tokens), std::move(gradient)));
    }
    return {};
  }

 private:
  Parameter* const weight_;
};

class PositionEmbeddingFunction final : public LayerFunction {
 public:
  explicit PositionEmbeddingFunction(Parameter* weight) : weight_(weight) {}

  at::Tensor Forward(at::Tensor x, const LayerContext&, Tape*) override {
    return at::add(x, weight_->value.narrow(0, 0, x.size(1)));
  }

  at::Tensor Backward(at::Tensor gradient, const LayerContext&, Tape*, GradientSink* sink) override {
    const int64_t time = gradient.size(1);
    if (weight_->frozen) return gradient;
    at::Tensor used = gradient.sum(0, /*keepdim=*/false, at::kFloat);
    if (time < weight_->value.size(0)) {
      at::Tensor whole = at::zeros(weight_->value.sizes(), used.options());
      whole.narrow(0, 0, time).copy_(used);
      used = std::move(whole);
    }
    sink->Add(weight_, std::move(used));
    return gradient;
  }

 private:
  Parameter* const weight_;
};

class LinearFunction final : public LayerFunction {
 public:
  explicit LinearFunction(LinearMap map) : map_(map) {}

  at::Tensor Forward(at::Tensor x, const LayerContext&, Tape* tape) override {
    std::vector<int64_t> shape = x.sizes().vec();
    at::Tensor y = map_.Forward(AsRows(x));
    shape.back() = y.size(-1);
    if (tape != nullptr) tape->Push(std::move(x));
    return y.view(shape);
  }

  at::Tensor Backward(at::Tensor gradient, const LayerContext& context, Tape* tape, GradientSink* sink) override {
    const at::Tensor x = tape->Pop();
    const at::Tensor rows = AsRows(gradient);
    map_.AddGradients(AsRows(x), rows, sink);
    if (!context.input_gradient) return {};
    return map_.InputGradient(rows).view(x.sizes());
  }

 private:
  const LinearMap map_;
};

// Norms compute in float32 and round their output once.
class LayerNormFunction final : public LayerFunction {
 public:
  LayerNormFunction(Parameter* weight, Parameter* bias, double eps) : weight_(weight), bias_(bias), eps_(eps) {}

  at::Tensor Forward(at::Tensor x, const LayerContext&, Tape* tape) override {
    const at::ScalarType type = x.scalar_type();
    auto [y, mean, rstd] = at::native_layer_norm(x.to(at::kFloat), {x.size(-1)}, weight_->master, Bias(), eps_);
    if (tape != nullptr) {
      tape->Push(std::move(x));
      tape->Push(std::move(mean));
      tape->Push(std::move(rstd));
    }
    return y.to(type);
  }

  at::Tensor Backward(at::Tensor gradient, const LayerContext& context, Tape* tape, GradientSink* sink) override {
    const at::Tensor rstd = tape->Pop(), mean = tape->Pop(), x = tape->Pop();
    auto [dx, dweight, dbias] = at::native_layer_norm_backward(
        gradient.to(at::kFloat), x.to(at::kFloat), {x.size(-1)}, mean, rstd, weight_->master, Bias(),
        {context.input_gradient, !weight_->frozen, bias_ != nullptr && !bias_->frozen});
    if (dweight.defined()) sink->Add(weight_, std::move(dweight));
    if (dbias.defined()) sink->Add(bias_, std::move(dbias));
    return dx.defined() ? dx.to(x.scalar_type()) : dx;
  }

 private:
  std::optional<at::Tensor> Bias() const {
    return bias_ == nullptr ? std::nullopt : std::optional<at::Tensor>(bias_->master);
  }

  Parameter* const weight_;
  Parameter* const bias_;
  const double eps_;
};

// y = w * x * r, r = 1 / sqrt(mean(x^2) + eps).
class RmsNormFunction final : public LayerFunction {
 public:
  RmsNormFunction(Parameter* weight, double eps) : weight_(weight), eps_(eps) {}

  at::Tensor Forward(at::Tensor x, const LayerContext&, Tape* tape) override {
    const at::Tensor full = x.to(at::kFloat);
    at::Tensor r = at::mul(full, full).mean(-1, /*keepdim=*/true).add_(eps_).rsqrt_();
    at::Tensor y = at::mul(full, r).mul_(weight_->master).to(x.scalar_type());
    if (tape != nullptr) {
      tape->Push(std::move(x));
      tape->Push(std::move(r));
    }
    return y;
  }

  // With n = x r (the normalised rows): dw = sum over rows of g n; dx = r (g w - n mean(g w n)).
  at::Tensor Backward(at::Tensor gradient, const LayerContext& context, Tape* tape, GradientSink* sink) override {
    const at::Tensor r = tape->Pop(), x = tape->Pop();
    at::Tensor normalised = at::mul(x.to(at::kFloat), r);
    gradient = gradient.to(at::kFloat);
    if (!weight_->frozen) sink->Add(weight_, AsRows(at::mul(gradient, normalised)).sum(0));
    if (!context.input_gradient) return {};
    at::Tensor scaled = at::mul(gradient, weight_->master);
    const at::Tensor along = at::mul(scaled, normalised).mean(-1, /*keepdim=*/true);
    return scaled.sub_(normalised.mul_(along)).mul_(r).to(x.scalar_type());
  }

 private:
  Parameter* const weight_;
  const double eps_;
};

}  // namespace

LayerFunctionPtr MakeEmbedding(Parameter* weight) { return std::make_unique<EmbeddingFunction>(weight); }

LayerFunctionPtr MakePositionEmbedding(Parameter* weight) {
  return std::make_unique<PositionEmbeddingFunction>(weight);
}

LayerFunctionPtr MakeLinear(LinearMap map) { return std::make_unique<LinearFunction>(map); }

LayerFunctionPtr MakeLayerNorm(Parameter* weight, Parameter* bias, double eps) {
  return std::make_unique<LayerNormFunction>(weight, bias, eps);
}

LayerFunctionPtr MakeRmsNorm(Parameter* weight, double eps) { return std::make_unique<RmsNormFunction>(weight, eps); }

}  // namespace penstock
