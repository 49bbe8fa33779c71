// Times one planning function on one large case, once; tools/benchmarks/plan/run calls it, a process for each case, so
// that memory is that case's own.
//
//   plan_bench simulate RANKS MICRO_BATCHES        1F1B: lists and simulation
//   plan_bench min-variance LAYERS STAGES
//   plan_bench makespan LAYERS STAGES
//   plan_bench replicated LAYERS DEVICES
//
// Prints one line of JSON: {"seconds": ...}.
#include <algorithm>
#include <cstdint>
#include <iostream>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/clock.h"
#include "common/logging.h"
#include "coordinator/plan/partition.h"
#include "coordinator/plan/replicated.h"
#include "coordinator/plan/schedule.h"
#include "coordinator/plan/simulate.h"

namespace penstock {
namespace {

void Simulate1F1B(int ranks, int micro_batches) {
  ScheduleRequest request;
  request.name = "1f1b";
  request.ranks = ranks;
  request.micro_batches = micro_batches;
  const auto schedule = MakeSchedule(request);
  CHECK(schedule.ok()) << schedule.status();
  PipelineCosts costs;
  costs.larger.assign(ranks, {.forward_us = 1, .backward_us = 2, .activation_bytes = 1, .output_bytes = 1});
  costs.num_larger = micro_batches;
  costs.links.resize(ranks - 1);
  const auto simulation = Simulate(schedule->table, schedule->placement, micro_batches, costs);
  CHECK(simulation.ok()) << simulation.status();
  // A wrong answer fast is none.
  CHECK_EQ(simulation->makespan_us, 3.0 * (micro_batches + ranks - 1));
  CHECK_EQ(simulation->peak_micro_batches[0], std::min(ranks, micro_batches));
}

// As layers of a network are: many alike, some heavy.
std::vector<double> LayerTimes(int layers, int seed) {
  std::mt19937 random(seed);
  std::vector<double> times(layers);
  for (double& time : times) time = 1 + static_cast<double>(random() % 1000) / (random() % 8 == 0 ? 10 : 1000);
  return times;
}

void Replicate(int layers, int devices) {
  std::vector<ReplicaLayer> costs(layers);
  const std::vector<double> times = LayerTimes(layers, 3);
  for (int i = 0; i < layers; ++i) {
    costs[i].compute_us = 1000 * times[i];
    costs[i].parameter_bytes = 1 << 20;
    costs[i].state_bytes = 4 << 20;
    costs[i].activation_bytes = 1 << 18;
    costs[i].output_bytes = 1 << 16;
  }
  const auto plan = ReplicatedPartition(
      costs, {.devices = devices, .micro_batches = 32, .bytes_per_us = 10'000, .memory_bytes = int64_t{16} << 30});
  CHECK(plan.ok()) << plan.status();
}

bool RunCase(const std::string& name, int size, int parts) {
  if (name == "simulate") {
    Simulate1F1B(size, parts);
  } else if (name == "min-variance") {
    CHECK(MinVariancePartition(LayerTimes(size, 1), parts).ok());
  } else if (name == "makespan") {
    CHECK(MakespanPartition(LayerTimes(size, 1), LayerTimes(size, 2), parts).ok());
  } else if (name == "replicated") {
    Replicate(size, parts);
  } else {
    return false;
  }
  return true;
}

int Main(int argc, char** argv) {
  int size = 0, parts = 0;
  if (argc != 4 || !absl::SimpleAtoi(argv[2], &size) || !absl::SimpleAtoi(argv[3], &parts)) {
    std::cerr << "usage: plan_bench simulate|min-variance|makespan|replicated SIZE PARTS\n";
    return 2;
  }
  const absl::Duration begin = Clock::Real()->Monotonic();
  if (!RunCase(argv[1], size, parts)) return 2;
  std::cout << absl::StrCat("{\"seconds\": ", absl::ToDoubleSeconds(Clock::Real()->Monotonic() - begin), "}\n");
  return 0;
}

}  // namespace
}  // namespace penstock

int main(int argc, char** argv) { return penstock::Main(argc, argv); }
