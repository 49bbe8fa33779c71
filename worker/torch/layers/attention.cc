#include <algorithm>
#include <cmath>
#include <utility>

#include "worker/torch/layers/functions.h"

namespace penstock {
namespace {

// Causal scaled dot-product attention, q, k, v: [batch, heads, time, width]. On the CPU torch's flash kernel; elsewhere
// spelled out, since the fused kernels' backward passes there are not deterministic.
class AttentionCore {
 public:
  struct Kept {
    at::Tensor out;
    at::Tensor state;  // CPU: log-sum-exp of the scores; elsewhere: the weights
  };

  static Kept Forward(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) {
    if (q.is_cpu()) {
      auto [out, logsumexp] = at::_scaled_dot_product_flash_attention_for_cpu(q, k, v, /*dropout_p=*/0,
                                                                              /*is_causal=*/true);
      return {out, logsumexp};
    }
    at::Tensor scores = at::matmul(q, k.transpose(-2, -1)).mul_(Scale(q));
    const at::Tensor future = at::ones({q.size(2), q.size(2)}, q.options().dtype(at::kBool)).triu_(1);
    at::Tensor weights = at::_softmax(scores.to(at::kFloat).masked_fill_(future, -INFINITY), -1,
                                      /*half_to_float=*/false)
                             .to(q.scalar_type());
    return {at::matmul(weights, v), weights};
  }

  static std::array<at::Tensor, 3> Backward(const at::Tensor& gradient, const at::Tensor& q, const at::Tensor& k,
                                            const at::Tensor& v, const Kept& kept) {
    if (q.is_cpu()) {
      auto [dq, dk, dv] = at::_scaled_dot_product_flash_attention_for_cpu_backward(
          gradient, q, k, v, kept.out, kept.state, /*dropout_p=*/0, /*is_causal=*/true);
      return {dq, dk, dv};
    }
    const at::Tensor& weights = kept.state;
    const at::Tensor dweights = at::matmul(gradient, v.transpose(-2, -1));
    at::Tensor dscores = at::_softmax_backward_data(dweights.to(at::kFloat), weights.to(at::kFloat), -1, at::kFloat)
                             .to(q.scalar_type())
                             .mul_(Scale(q));
    return {at::matmul(dscores, k), at::matmul(dscores.transpose(-2, -1), q),
            at::matmul(weights.transpose(-2, -1), gradient)};
  }

 private:
  static double Scale(const at::Tensor& q) { return 1 / std::sqrt(static_cast<double>(q.size(-1))); }
};

// Rotary position embedding in Llama's form: the first half of a head's width is paired with the second. Computed in
// float32 and rounded once.
class Rotary {
 public:
  explicit Rotary(double base) : base_(base) {}

  // x: [batch, heads, time, width]. Turns by the position's angles, or back by them.
  at::Tensor Turn(const at::Tensor& rounded, bool back) {
    const at::Tensor x = rounded.to(at::kFloat);
    Prepare(x);
    const int64_t half = x.size(-1) / 2;
    const at::Tensor first = x.narrow(-1, 0, half), second = x.narrow(-1, half, half);
    const at::Tensor cos = cos_.narrow(0, 0, x.size(2)), sin = sin_.narrow(0, 0, x.size(2));
    at::Tensor out = at::empty({x.size(0), x.size(2), x.size(1), x.size(3)}, x.options()).transpose(1, 2);
    at::Tensor out_first = out.narrow(-1, 0, half), out_second = out.narrow(-1, half, half);
    at::mul_out(out_first, first, cos);
    at::mul_out(out_second, second, cos);
    const double sign = back ? -1 : 1;
    out_first.sub_(at::mul(second, sin), sign);
    out_second.add_(at::mul(first, sin), sign);
    return out.to(rounded.scalar_type());
  }

 private:
  void Prepare(const at::Tensor& x) {
    const int64_t time = x.size(2), half = x.size(-1) / 2;
    if (cos_.defined() && cos_.size(0) >= time) return;
    at::Tensor cos = at::empty({time, half}, at::kFloat), sin = at::empty({time, half}, at::kFloat);
    float* cosines = cos.mutable_data_ptr<float>();
    float* sines = sin.mutable_data_ptr<float>();
    for (int64_t t = 0; t < time; ++t) {
      for (int64_t i = 0; i < half; ++i) {
        const double angle =
            static_cast<double>(t) * std::pow(base_, -static_cast<double>(i) / static_cast<double>(half));
        cosines[t * half + i] = static_cast<float>(std::cos(angle));
        sines[t * half + i] = static_cast<float>(std::sin(angle));
      }
    }
    cos_ = cos.to(x.device());
    sin_ = sin.to(x.device());
  }

  const double base_;
  at::Tensor cos_, sin_;  // [time, width / 2]
};

class AttentionFunction final : public LayerFunction {
 public:
  AttentionFunction(AttentionOptions options, std::vector<LinearMap> projections, LinearMap output)
      : options_(options), projections_(std::move(projections)), output_(output), rotary_(options.rotary_base) {}

  at::Tensor Forward(at::Tensor x, const LayerContext&, Tape* tape) override {
    const int64_t batch = x.size(0), time = x.size(1), dim = x.size(2);
    auto [q, k, v] = Project(x);
    if (options_.rotary) {
      q = rotary_.Turn(q, /*back=*/false);
      k = rotary_.Turn(k, /*back=*/false);
    }
    k = Repeat(k);
    v = Repeat(v);
    AttentionCore::Kept kept = AttentionCore::Forward(q, k, v);
    const at::Tensor rows = kept.out.transpose(1, 2).reshape({batch * time, dim});
    at::Tensor y = output_.Forward(rows).view({batch, time, dim});
    if (tape != nullptr) {
      for (at::Tensor* tensor : {&x, &q, &k, &v, &kept.out, &kept.state}) tape->Push(std::move(*tensor));
    }
    return y;
  }

  at::Tensor Backward(at::Tensor gradient, const LayerContext& context, Tape* tape, GradientSink* sink) override {
    std::array<at::Tensor, 3> gradients = CoreBackward(AsRows(gradient), tape, sink);
    return ProjectBackward(tape->Pop(), std::move(gradients), context, sink);
  }

 private:
  // From the gradient of the output's rows to those of queries, keys and values as the projections made them. What
  // attention kept is free when this returns.
  std::array<at::Tensor, 3> CoreBackward(const at::Tensor& rows, Tape* tape, GradientSink* sink) {
    AttentionCore::Kept kept;
    kept.state = tape->Pop();
    kept.out = tape->Pop();
    const at::Tensor v = tape->Pop(), k = tape->Pop(), q = tape->Pop();
    const int64_t batch = q.size(0), time = q.size(2), width = q.size(3);
    output_.AddGradients(kept.out.transpose(1, 2).reshape(rows.sizes()), rows, sink);
    const at::Tensor out_gradient =
        output_.InputGradient(rows).view({batch, time, options_.heads, width}).transpose(1, 2);
    auto [dq, dk, dv] = AttentionCore::Backward(out_gradient, q, k, v, kept);
    dk = SumRepeated(dk);
    dv = SumRepeated(dv);
    if (options_.rotary) {
      dq = rotary_.Turn(dq, /*back=*/true);
      dk = rotary_.Turn(dk, /*back=*/true);
    }
    return {std::move(dq), std::move(dk), std::move(dv)};
  }

  int64_t repeats() const { return options_.heads / options_.kv_heads; }

  // Queries, keys, values as views [batch, heads, time, width] of the projections' outputs.
  std::array<at::Tensor, 3> Project(const at::Tensor& x) {
    const int64_t batch = x.size(0), time = x.size(1), width = x.size(2) / options_.heads;
    const at::Tensor rows = AsRows(x);
    std::array<at::Tensor, 3> parts;
    size_t part = 0;
    for (const LinearMap& projection : projections_) {
      const at::Tensor out = projection.Forward(rows).view({batch, time, -1, width}).transpose(1, 2);
      for (int64_t head = 0; head < out.size(1); ++part) {
        parts[part] = out.narrow(1, head, Heads(part));
        head += Heads(part);
      }
    }
    return parts;
  }

  // The reverse of Project: gradients of the projections' weights and of x.
  at::Tensor ProjectBackward(const at::Tensor& x, std::array<at::Tensor, 3> gradients, const LayerContext& context,
                             GradientSink* sink) {
    const at::Tensor input = AsRows(x);
    const int64_t width = x.size(2) / options_.heads;
    at::Tensor dx;
    size_t part = 0;
    for (const LinearMap& projection : projections_) {
      std::vector<at::Tensor> columns;
      for (int64_t left = projection.weight->value.size(0); left > 0; ++part) {
        columns.push_back(std::exchange(gradients[part], {}).transpose(1, 2));
        left -= Heads(part) * width;
      }
      const at::Tensor out = at::cat(columns, 2).view({input.size(0), -1});
      columns.clear();
      projection.AddGradients(input, out, sink);
      if (!context.input_gradient) continue;
      at::Tensor term = projection.InputGradient(out);
      dx = dx.defined() ? AddInto(std::move(dx), term) : std::move(term);
    }
    return dx.defined() ? dx.view(x.sizes()) : dx;
  }

  int64_t Heads(size_t part) const { return part == 0 ? options_.heads : options_.kv_heads; }

  // Grouped heads: each key and value head serves `repeats` consecutive query heads.
  at::Tensor Repeat(const at::Tensor& x) const {
    if (repeats() == 1) return x;
    return x.unsqueeze(2)
        .expand({x.size(0), x.size(1), repeats(), x.size(2), x.size(3)})
        .reshape({x.size(0), x.size(1) * repeats(), x.size(2), x.size(3)});
  }

  at::Tensor SumRepeated(const at::Tensor& x) const {
    if (repeats() == 1) return x;
    return x.reshape({x.size(0), options_.kv_heads, repeats(), x.size(2), x.size(3)}).sum(2);
  }

  const AttentionOptions options_;
  const std::vector<LinearMap> projections_;
  const LinearMap output_;
  Rotary rotary_;
};

}  // namespace

LayerFunctionPtr MakeAttention(AttentionOptions options, std::vector<LinearMap> projections, LinearMap output) {
  return std::make_unique<AttentionFunction>(options, std::move(projections), output);
}

}  // namespace penstock
