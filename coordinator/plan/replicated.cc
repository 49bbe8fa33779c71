#include "coordinator/plan/replicated.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"

namespace penstock {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// What a range of layers adds up to. Grows layer by layer, so that no sum is taken twice.
struct RangeSums {
  double compute_us = 0;
  int64_t parameter_bytes = 0, state_bytes = 0, activation_bytes = 0;

  void Add(const ReplicaLayer& layer) {
    compute_us += layer.compute_us;
    parameter_bytes += layer.parameter_bytes;
    state_bytes += layer.state_bytes;
    activation_bytes += layer.activation_bytes;
  }
};

RangeSums SumsOf(const std::vector<ReplicaLayer>& layers, const LayerRange& range) {
  RangeSums sums;
  for (int i = range.begin; i < range.end; ++i) sums.Add(layers[i]);
  return sums;
}

double StageUs(const RangeSums& sums, int replicas, const ReplicaLimits& limits) {
  double time = sums.compute_us / replicas;
  if (limits.bytes_per_us > 0) {
    const double travels = 2.0 * (replicas - 1) / replicas * static_cast<double>(sums.parameter_bytes);
    time += travels / limits.bytes_per_us / limits.micro_batches;
  }
  return time;
}

bool Fits(const RangeSums& sums, int replicas, int behind, const ReplicaLimits& limits) {
  if (limits.memory_bytes == 0) return true;
  const int under_way = std::min(limits.micro_batches, behind);
  const int64_t kept = (under_way + replicas - 1) / replicas;
  return sums.state_bytes + kept * sums.activation_bytes <= limits.memory_bytes;
}

// An activation there and a gradient back, shared by the links of the narrower side.
double BoundaryUs(const ReplicaLayer& before, int replicas_before, int replicas_after, const ReplicaLimits& limits) {
  if (limits.bytes_per_us <= 0) return 0;
  return 2.0 * static_cast<double>(before.output_bytes) / limits.bytes_per_us /
         std::min(replicas_before, replicas_after);
}

absl::Status Check(const std::vector<ReplicaLayer>& layers, const ReplicaLimits& limits) {
  if (layers.empty()) return absl::InvalidArgumentError("there are no layers to cut");
  if (limits.devices < 1) {
    return absl::InvalidArgumentError(absl::StrCat("devices must be at least 1, not ", limits.devices));
  }
  if (limits.micro_batches < 1) {
    return absl::InvalidArgumentError(absl::StrCat("micro_batches must be at least 1, not ", limits.micro_batches));
  }
  if (!std::isfinite(limits.bytes_per_us) || limits.bytes_per_us < 0 || limits.memory_bytes < 0) {
    return absl::InvalidArgumentError(absl::StrCat("a link of ", limits.bytes_per_us, " bytes a us and a memory of ",
                                                   limits.memory_bytes, " bytes: neither may be negative"));
  }
  for (size_t i = 0; i < layers.size(); ++i) {
    const ReplicaLayer& layer = layers[i];
    const int64_t least =
        std::min({layer.parameter_bytes, layer.state_bytes, layer.activation_bytes, layer.output_bytes});
    if (std::isfinite(layer.compute_us) && layer.compute_us >= 0 && least >= 0) continue;
    return absl::InvalidArgumentError(absl::StrCat("layer ", i, " takes ", layer.compute_us, " us and has a size of ",
                                                   least, " bytes; all must be numbers and none negative"));
  }
  return absl::OkStatus();
}

// cells_[i][d][r]: the least bottleneck of layers [i, L) on exactly d devices, r of them for the first stage. The
// boundary before a stage depends on its replicas, so they are part of the state. rest_[i][d][r]: the same for layers
// [i, L) behind a stage of r replicas, with that boundary: chosen once, when the cells of i are final.
class Program {
 public:
  Program(const std::vector<ReplicaLayer>& layers, const ReplicaLimits& limits)
      : layers_(layers),
        limits_(limits),
        num_layers_(static_cast<int>(layers.size())),
        // A replica without a micro-batch of its own would do nothing.
        most_replicas_(std::min(limits.devices, limits.micro_batches)),
        cells_(static_cast<size_t>(num_layers_) * (limits.devices + 1) * (most_replicas_ + 1)),
        rest_(cells_.size()) {}

  // 1. Fill from the last layer to the first. 2. The best number of devices. 3. Follow the choices.
  absl::StatusOr<ReplicatedPlan> Run() {
    for (int begin = num_layers_ - 1; begin >= 0; --begin) {
      Fill(begin);
      if (begin > 0) ChooseRest(begin);
    }
    ReplicatedPlan plan;
    plan.bottleneck_us = kInfinity;
    int devices = 0, replicas = 0;
    for (int d = 1; d <= limits_.devices; ++d) {
      for (int r = 1; r <= std::min(d, most_replicas_); ++r) {
        if (cells_[Index(0, d, r)].time >= plan.bottleneck_us) continue;
        plan.bottleneck_us = cells_[Index(0, d, r)].time;
        devices = d;
        replicas = r;
      }
    }
    if (devices == 0) {
      return absl::ResourceExhaustedError(absl::StrCat("no cut of the ", num_layers_, " layers over at most ",
                                                       limits_.devices, " devices of ", limits_.memory_bytes,
                                                       " bytes fits"));
    }
    for (int begin = 0; begin < num_layers_;) {
      const Cell& cell = cells_[Index(begin, devices, replicas)];
      plan.stages.push_back({{begin, cell.end}, replicas});
      devices -= replicas;
      begin = cell.end;
      replicas = cell.next_replicas;
    }
    return plan;
  }

 private:
  struct Cell {
    double time = kInfinity;
    int end = 0;            // of the first stage
    int next_replicas = 0;  // of the second
  };

  struct Rest {
    double time = kInfinity;
    int replicas = 0;  // of its first stage
  };

  size_t Index(int begin, int devices, int replicas) const {
    return (static_cast<size_t>(begin) * (limits_.devices + 1) + devices) * (most_replicas_ + 1) + replicas;
  }

  void Fill(int begin) {
    RangeSums sums;
    for (int end = begin + 1; end <= num_layers_; ++end) {
      sums.Add(layers_[end - 1]);
      for (int replicas = 1; replicas <= most_replicas_; ++replicas) Extend(begin, end, replicas, sums);
    }
  }

  // Every plan whose first stage is [begin, end) on so many devices.
  void Extend(int begin, int end, int replicas, const RangeSums& sums) {
    const double stage_us = StageUs(sums, replicas, limits_);
    if (end == num_layers_) {
      if (!Fits(sums, replicas, replicas, limits_)) return;
      Cell& best = cells_[Index(begin, replicas, replicas)];
      if (stage_us < best.time) best = {stage_us, end, 0};
      return;
    }
    for (int devices = replicas + 1; devices <= limits_.devices; ++devices) {
      if (!Fits(sums, replicas, devices, limits_)) return;  // the more devices behind, the more is kept
      const Rest& rest = rest_[Index(end, devices - replicas, replicas)];
      Cell& best = cells_[Index(begin, devices, replicas)];
      const double time = std::max(stage_us, rest.time);
      if (time < best.time) best = {time, end, rest.replicas};
    }
  }

  void ChooseRest(int begin) {
    for (int devices = 1; devices < limits_.devices; ++devices) {
      for (int before = 1; before <= most_replicas_; ++before) {
        Rest& best = rest_[Index(begin, devices, before)];
        for (int replicas = 1; replicas <= std::min(devices, most_replicas_); ++replicas) {
          const double time = std::max(cells_[Index(begin, devices, replicas)].time,
                                       BoundaryUs(layers_[begin - 1], before, replicas, limits_));
          if (time < best.time) best = {time, replicas};
        }
      }
    }
  }

  const std::vector<ReplicaLayer>& layers_;
  const ReplicaLimits& limits_;
  const int num_layers_, most_replicas_;
  std::vector<Cell> cells_;
  std::vector<Rest> rest_;
};

}  // namespace

int ReplicatedPlan::devices() const {
  int devices = 0;
  for (const ReplicatedStage& stage : stages) devices += stage.replicas;
  return devices;
}

double ReplicatedStageUs(const std::vector<ReplicaLayer>& layers, const LayerRange& range, int replicas,
                         const ReplicaLimits& limits) {
  return StageUs(SumsOf(layers, range), replicas, limits);
}

bool ReplicaFits(const std::vector<ReplicaLayer>& layers, const LayerRange& range, int replicas, int behind,
                 const ReplicaLimits& limits) {
  return Fits(SumsOf(layers, range), replicas, behind, limits);
}

absl::StatusOr<ReplicatedPlan> ReplicatedPartition(const std::vector<ReplicaLayer>& layers,
                                                   const ReplicaLimits& limits) {
  PENSTOCK_RETURN_IF_ERROR(Check(layers, limits));
  return Program(layers, limits).Run();
}

}  // namespace penstock
