#include "worker/torch/parameters.h"

#include <utility>

#include "common/limits.h"
#include "common/philox.h"

namespace penstock {
namespace {

// Adds the parameter at the end of its group; values come when all sizes are known.
// Args: element_bytes: of the smallest type that a slice of the group is to be aligned in.
void Place(Parameter* parameter, int64_t elements, size_t element_bytes, ParameterGroup* group) {
  const int64_t aligned = limits::kTensorAlignment / static_cast<int64_t>(element_bytes);
  group->parameters.push_back(parameter);
  group->offsets.push_back(group->elements);
  group->elements += (elements + aligned - 1) / aligned * aligned;
}

void FillFrom(const Init& init, uint64_t seed, const std::string& name, at::Tensor* value) {
  switch (init.kind) {
    case Init::Kind::kZeros:
      value->zero_();
      return;
    case Init::Kind::kOnes:
      value->fill_(1);
      return;
    case Init::Kind::kNormal:
    case Init::Kind::kUniform:
      break;
  }
  at::Tensor host = at::empty(value->sizes(), at::kFloat);
  float* out = host.mutable_data_ptr<float>();
  const size_t count = host.numel();
  const Philox philox(seed, name);
  const float scale = static_cast<float>(init.scale);
  if (init.kind == Init::Kind::kNormal) {
    philox.Normal(out, count);
    for (size_t i = 0; i < count; ++i) out[i] *= scale;
  } else {
    philox.Uniform(out, count);
    for (size_t i = 0; i < count; ++i) out[i] = (2 * out[i] - 1) * scale;
  }
  value->copy_(host);
}

}  // namespace

ParameterStore::ParameterStore(const std::vector<LayerInfo>& layers, const v1::Optimizer& optimizer, at::Device device,
                               at::ScalarType compute) {
  std::vector<std::vector<int64_t>> shapes;
  std::map<UpdateRule, ParameterGroup*> group_of;
  for (const LayerInfo& layer : layers) {
    for (const ParameterSpec& spec : layer.parameters) {
      ParameterGroup*& group = group_of[RuleOf(optimizer, spec)];
      if (group == nullptr) {
        groups_.push_back(std::make_unique<ParameterGroup>());
        group = groups_.back().get();
        group->rule = RuleOf(optimizer, spec);
      }
      parameters_.push_back(std::make_unique<Parameter>());
      parameters_.back()->name = spec.name;
      inits_.push_back(spec.init);
      Place(parameters_.back().get(), spec.Elements(), c10::elementSize(compute), group);
      parameters_.back()->value = at::empty({0});
      shapes.push_back(spec.shape);
    }
    for (const BufferSpec& spec : layer.buffers) {
      CHECK_EQ(spec.dtype, v1::DTYPE_FLOAT32) << spec.name;
      buffers_[spec.name] = at::full(spec.shape, spec.value, at::TensorOptions(device).dtype(at::kFloat));
      buffer_inits_[spec.name] = spec.value;
    }
  }
  std::map<const Parameter*, std::vector<int64_t>> shape_of;
  for (size_t i = 0; i < parameters_.size(); ++i) shape_of[parameters_[i].get()] = shapes[i];
  for (const auto& group : groups_) {
    group->values = at::zeros({group->elements}, at::TensorOptions(device).dtype(at::kFloat));
    if (!group->rule.frozen) group->gradients = at::zeros_like(group->values);
    if (compute != at::kFloat) group->copies = at::zeros_like(group->values, group->values.options().dtype(compute));
    for (size_t i = 0; i < group->parameters.size(); ++i) {
      Parameter* parameter = group->parameters[i];
      const std::vector<int64_t>& shape = shape_of[parameter];
      int64_t elements = 1;
      for (int64_t size : shape) elements *= size;
      parameter->master = group->values.narrow(0, group->offsets[i], elements).view(shape);
      parameter->value =
          compute == at::kFloat ? parameter->master : group->copies.narrow(0, group->offsets[i], elements).view(shape);
      parameter->frozen = group->rule.frozen;
      if (!parameter->frozen) {
        parameter->gradient = group->gradients.narrow(0, group->offsets[i], elements).view(shape);
      }
    }
  }
}

at::Tensor ParameterStore::Slice(const at::Tensor& flat, const ParameterGroup& group, size_t index) {
  const at::Tensor& value = group.parameters[index]->master;
  return flat.narrow(0, group.offsets[index], value.numel()).view(value.sizes());
}

void ParameterStore::Initialise(uint64_t seed) {
  for (size_t i = 0; i < parameters_.size(); ++i) {
    FillFrom(inits_[i], seed, parameters_[i]->name, &parameters_[i]->master);
  }
  for (auto& [name, buffer] : buffers_) buffer.fill_(buffer_inits_[name]);
  RefreshCopies();
}

void ParameterStore::RefreshCopies() {
  for (const auto& group : groups_) {
    if (group->copies.defined()) group->copies.copy_(group->values);
  }
}

double SquaredNorm(const at::Tensor& gradient) {
  const at::Tensor host = gradient.cpu();
  const float* values = host.const_data_ptr<float>();
  const int64_t count = host.numel();
  // Partial sums side by side, so that the compiler can use vectors without changing the order of any sum.
  constexpr int kLanes = 8;
  double lanes[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    for (int lane = 0; lane < kLanes; ++lane) {
      const double value = values[i + lane];
      lanes[lane] += value * value;
    }
  }
  for (; i < count; ++i) lanes[0] += static_cast<double>(values[i]) * static_cast<double>(values[i]);
  double sum = 0;
  for (double lane : lanes) sum += lane;
  return sum;
}

}  // namespace penstock
