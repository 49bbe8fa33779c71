#include "coordinator/plan/model_costs.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/micro_batch.h"
#include "common/sha256.h"
#include "common/status_macros.h"
#include "coordinator/plan/memory.h"

namespace penstock {
namespace {

std::vector<LayerTimes> EstimateAll(const ModelInfo& model, int64_t samples, const Machine& machine) {
  std::vector<LayerTimes> times;
  for (size_t i = 0; i < model.layers.size(); ++i) {
    times.push_back(EstimateTimes(model.layers[i].cost, samples, machine, !model.layers[i].needs_input_gradient));
    if (!model.layers[i].needs_gradient) times.back().input_gradient_us = times.back().weight_gradient_us = 0;
  }
  return times;
}

bool IsTime(double us) { return std::isfinite(us) && us >= 0; }

absl::Status CheckMeasured(const ModelInfo& model, const v1::MeasuredCosts& measured) {
  if (measured.layers_size() != static_cast<int>(model.layers.size())) {
    return absl::InvalidArgumentError(absl::StrCat("the measured costs are of ", measured.layers_size(),
                                                   " layers; the model has ", model.layers.size(), ": measure again"));
  }
  for (int i = 0; i < measured.layers_size(); ++i) {
    const v1::MeasuredLayer& layer = measured.layers(i);
    if (layer.layer() != model.layers[i].name) {
      return absl::InvalidArgumentError(absl::StrCat("the measured costs have layer '", layer.layer(), "' in place ", i,
                                                     "; the model has '", model.layers[i].name, "': measure again"));
    }
    if (layer.samples() >= 1 && IsTime(layer.forward_us()) && IsTime(layer.input_gradient_us()) &&
        IsTime(layer.weight_gradient_us())) {
      continue;
    }
    return absl::InvalidArgumentError(absl::StrCat(
        "layer '", layer.layer(), "' was measured at ", layer.forward_us(), " us forward, ", layer.input_gradient_us(),
        " us for its input gradient and ", layer.weight_gradient_us(), " us for its weight gradient, with ",
        layer.samples(), " samples; times must be numbers and not negative: measure again"));
  }
  return absl::OkStatus();
}

// What a micro-batch of other size takes: as the estimates of the two sizes are to each other, since a part of every
// layer's time does not depend on the size.
double Scaled(double measured_us, double estimate_us, double estimate_at_measurement_us) {
  return estimate_at_measurement_us > 0 ? measured_us * estimate_us / estimate_at_measurement_us : measured_us;
}

std::vector<LayerTimes> ScaleMeasured(const ModelInfo& model, const v1::MeasuredCosts& measured, int64_t samples,
                                      const Machine& machine) {
  std::vector<LayerTimes> times = EstimateAll(model, samples, machine);
  for (size_t i = 0; i < times.size(); ++i) {
    const v1::MeasuredLayer& layer = measured.layers(static_cast<int>(i));
    const LayerTimes there =
        EstimateTimes(model.layers[i].cost, layer.samples(), machine, !model.layers[i].needs_input_gradient);
    LayerTimes& here = times[i];
    here.forward_us = Scaled(layer.forward_us(), here.forward_us, there.forward_us);
    here.input_gradient_us = Scaled(layer.input_gradient_us(), here.input_gradient_us, there.input_gradient_us);
    here.weight_gradient_us = Scaled(layer.weight_gradient_us(), here.weight_gradient_us, there.weight_gradient_us);
  }
  return times;
}

// A marked layer keeps only its input and runs forward once more inside its own backward pass.
void AddRecomputation(const v1::Pipeline& pipeline, std::vector<LayerTimes>* times) {
  if (pipeline.recompute() != v1::Pipeline::RECOMPUTE_LAYERS) return;
  for (size_t i = 0; i < times->size(); ++i) {
    if (pipeline.recompute_layers(static_cast<int>(i))) (*times)[i].input_gradient_us += (*times)[i].forward_us;
  }
}

// "cpu (libtorch 2.11.0, numerics 3f2a9c41)" of a worker's numeric fingerprint, which is a line of several facts, the
// kind of device last where it is no cpu.
std::string DeviceText(const std::string& fingerprint) {
  const std::vector<std::string> facts = absl::StrSplit(fingerprint, "; ");
  if (facts.size() < 2) return fingerprint;
  const bool is_cpu = !absl::StrContains(facts.back(), ", TF32");
  return absl::StrCat(is_cpu ? "cpu" : facts.back().substr(0, facts.back().find(',')), " (", facts.front(),
                      ", numerics ", Sha256Hex(fingerprint).substr(0, 8), ")");
}

}  // namespace

Machine CpuMachine(int threads) {
  // One core of a Zen 4 server: a GEMM of a block's size reaches 87 GF/s alone and about 75 among the copies and
  // reshapes around it; memory is copied at 6.3 GB/s, which reads and writes each byte once. A layer's dozen calls into
  // the tensor library cost about 2 us each. More threads are taken to help as much as they could.
  return {75e3 * threads, 6.3e3 * 2 * threads, 25, 10e3 * threads};
}

LayerTimes EstimateTimes(const LayerCost& cost, int64_t samples, const Machine& machine, bool first) {
  if (cost.fixed_forward_us > 0 || cost.fixed_backward_us > 0) {
    return {cost.fixed_forward_us, cost.fixed_backward_us - cost.fixed_weight_us, cost.fixed_weight_us};
  }
  const double n = static_cast<double>(samples);
  const auto flops_us = [&](double flops) { return n * flops / machine.flops_per_us; };
  // A backward pass reads the gradient and what was kept, and writes a gradient: twice the forward pass's traffic.
  const double memory_us = n * cost.memory_bytes / machine.bytes_per_us;
  LayerTimes times{flops_us(cost.forward_flops) + memory_us + machine.layer_us, 2 * memory_us + machine.layer_us,
                   flops_us(cost.weight_flops)};
  const double input_us = flops_us(cost.backward_flops - cost.weight_flops);
  if (!first) times.input_gradient_us += input_us;
  // The calls that wait for W; where nothing waits, I makes them.
  const bool waits = cost.weight_flops > 0 || cost.deferred_bytes > 0;
  (waits ? times.weight_gradient_us : times.input_gradient_us) += machine.layer_us;
  return times;
}

absl::StatusOr<ModelCosts> ModelCosts::Make(const v1::JobSpec& spec, const ModelInfo& model, int micro_batches,
                                            const v1::MeasuredCosts* measured) {
  const v1::Pipeline& pipeline = spec.pipeline();
  const int layers = static_cast<int>(model.layers.size());
  if (pipeline.recompute() == v1::Pipeline::RECOMPUTE_LAYERS && pipeline.recompute_layers_size() != layers) {
    return absl::InvalidArgumentError(
        absl::StrCat("recompute has ", pipeline.recompute_layers_size(), " flags; the model has ", layers, " layers"));
  }
  const Machine machine = CpuMachine(std::max(1, static_cast<int>(spec.train().threads())));
  const int64_t batch = spec.train().batch_size();
  ModelCosts costs;
  costs.micro_batches_ = micro_batches;
  costs.samples_ = MicroBatch(batch, micro_batches, 0).size();
  costs.tail_samples_ = MicroBatch(batch, micro_batches, micro_batches - 1).size();
  costs.num_larger_ = costs.samples_ == costs.tail_samples_ ? micro_batches : static_cast<int>(batch % micro_batches);
  costs.update_bytes_per_us_ = machine.update_bytes_per_us;
  costs.link_ = Link::Loopback();
  costs.source_ = "estimated from FLOPs and bytes";
  if (measured != nullptr) {
    PENSTOCK_RETURN_IF_ERROR(CheckMeasured(model, *measured));
    costs.larger_ = ScaleMeasured(model, *measured, costs.samples_, machine);
    costs.smaller_ = ScaleMeasured(model, *measured, costs.tail_samples_, machine);
    if (measured->update_bytes_per_us() > 0) costs.update_bytes_per_us_ = measured->update_bytes_per_us();
    if (measured->link_latency_us() > 0) costs.link_.latency_us = measured->link_latency_us();
    if (measured->link_bytes_per_us() > 0) costs.link_.bytes_per_us = measured->link_bytes_per_us();
    costs.source_ = absl::StrCat("measured on ", DeviceText(measured->device()));
  } else {
    costs.larger_ = EstimateAll(model, costs.samples_, machine);
    costs.smaller_ = EstimateAll(model, costs.tail_samples_, machine);
  }
  AddRecomputation(pipeline, &costs.larger_);
  AddRecomputation(pipeline, &costs.smaller_);
  costs.AddBytes(spec, model);
  for (int i = 0; i < layers; ++i) {
    const LayerTimes& times = costs.larger_[i];
    if (IsTime(times.forward_us) && IsTime(times.input_gradient_us) && IsTime(times.weight_gradient_us)) continue;
    return absl::InvalidArgumentError(absl::StrCat("layer '", model.layers[i].name, "' takes ", times.forward_us,
                                                   " us forward and ", times.Backward(),
                                                   " us backward; a time must be a number and not negative"));
  }
  return costs;
}

void ModelCosts::AddBytes(const v1::JobSpec& spec, const ModelInfo& model) {
  const v1::Pipeline& pipeline = spec.pipeline();
  const auto marked = [&pipeline](int layer) {
    return pipeline.recompute() == v1::Pipeline::RECOMPUTE_LAYERS && pipeline.recompute_layers(layer);
  };
  for (size_t i = 0; i < model.layers.size(); ++i) {
    const LayerInfo& layer = model.layers[i];
    LayerBytes& bytes = bytes_.emplace_back();
    bytes.memory = LayerMemory(layer, spec.train().optimizer());
    bytes.activation = layer.cost.activation_bytes;
    bytes.deferred = layer.cost.deferred_bytes;
    bytes.input = layer.input.Bytes();
    for (const TensorType& type : layer.more_inputs) bytes.input += type.Bytes();
    bytes.working = layer.cost.working_bytes;
    // A layer that runs again keeps its input alone, so that the next one shares nothing with it.
    if (layer.cost.shared_bytes > 0 && !marked(layer.cost.shared_from)) {
      bytes.shared = layer.cost.shared_bytes;
      bytes.shared_from = layer.cost.shared_from;
    }
    if (marked(static_cast<int>(i))) {
      bytes.working += std::max<int64_t>(0, bytes.activation - bytes.input);
      bytes.activation = std::min(bytes.activation, bytes.input);
    }
  }
  AddCrossings(model);
}

void ModelCosts::AddCrossings(const ModelInfo& model) {
  const int layers = static_cast<int>(model.layers.size());
  std::vector<std::vector<int>> readers(layers + 1);  // by tensor: the model's input, then each layer's output
  for (int i = 0; i < layers; ++i) {
    for (const int source : model.layers[i].reads) readers[source + 1].push_back(i);
  }
  crossings_.resize(layers);
  std::vector<bool> numbers(layers, false);  // by cut: whether something crosses that has a gradient
  for (int source = kModelInput; source < layers; ++source) {
    const TensorType& type = source == kModelInput ? model.layers[0].input : model.layers[source].output;
    const bool has_gradient = source != kModelInput && type.dtype != v1::DTYPE_INT64;
    int cut = source + 1;
    for (const int reader : readers[source + 1]) {
      for (; cut <= reader; ++cut) {
        crossings_[cut].push_back({reader, type.Bytes()});
        if (has_gradient) numbers[cut] = true;
      }
    }
  }
  while (first_cut_ < layers && !numbers[first_cut_]) ++first_cut_;
}

int64_t ModelCosts::InputBytes(const LayerRange& range) const {
  int64_t bytes = 0;
  for (const Crossing& crossing : crossings_[range.begin]) {
    if (crossing.reader < range.end) bytes += crossing.bytes;
  }
  return bytes;
}

PipelineCosts ModelCosts::Pipeline(const Partition& stages) const {
  PipelineCosts costs;
  costs.larger = Stages(stages, larger_, samples_);
  if (tail_samples_ != samples_) costs.smaller = Stages(stages, smaller_, tail_samples_);
  costs.num_larger = num_larger_;
  costs.links.assign(stages.size() - 1, link_);
  return costs;
}

std::vector<StageCost> ModelCosts::Stages(const Partition& stages, const std::vector<LayerTimes>& times,
                                          int64_t samples) const {
  std::vector<StageCost> costs;
  for (const LayerRange& range : stages) {
    StageCost& stage = costs.emplace_back();
    for (int i = range.begin; i < range.end; ++i) {
      stage.forward_us += times[i].forward_us;
      stage.backward_us += times[i].Backward();
      stage.weight_gradient_us += times[i].weight_gradient_us;
      stage.activation_bytes += samples * bytes_[i].Activation(range.begin);
      stage.deferred_bytes += samples * bytes_[i].deferred;
      stage.working_bytes = std::max(stage.working_bytes, samples * bytes_[i].working);
    }
    stage.recompute_us = stage.forward_us;
    stage.boundary_bytes = samples * InputBytes(range);
    if (&range == &stages.back()) continue;
    for (const Crossing& crossing : crossings_[range.end]) stage.output_bytes += samples * crossing.bytes;
  }
  return costs;
}

StageMemory ModelCosts::Memory(const LayerRange& range) const {
  StageMemory memory;
  for (int i = range.begin; i < range.end; ++i) memory.Add(bytes_[i].memory);
  return memory;
}

std::vector<int> ModelCosts::LongestWithin(uint64_t memory_bytes, int64_t whole, int64_t boundary) const {
  std::vector<int> longest(bytes_.size(), num_layers());
  if (memory_bytes == 0) return longest;
  for (int begin = 0; begin < num_layers(); ++begin) {
    StageMemory memory;
    int64_t activations = 0, working = 0;
    int end = begin;
    for (; end < num_layers(); ++end) {
      memory.Add(bytes_[end].memory);
      activations += whole * bytes_[end].Activation(begin);
      working = std::max(working, samples_ * bytes_[end].working);
      const int64_t bytes = memory.State() + activations + boundary * InputBytes({begin, end + 1}) + working;
      if (static_cast<uint64_t>(bytes) > memory_bytes) break;
    }
    longest[begin] = end;
  }
  return longest;
}

}  // namespace penstock
