#include "cli/simulation.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "cli/arguments.h"
#include "common/schedule_kind.h"
#include "common/status_macros.h"
#include "coordinator/plan/recompute.h"
#include "coordinator/plan/schedule.h"
#include "coordinator/plan/validate.h"

namespace penstock {
namespace {

constexpr int kMostRanks = 1 << 16;
constexpr int kMostMicroBatches = 1 << 20;

// Amounts that are no whole numbers are counted in these parts of one.
constexpr double kFraction = 1 << 20;
// More bytes than this on a rank do not fit their counter.
constexpr double kMostBytes = 4e18;

absl::Status Wrong(absl::string_view option, absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat(option, " ", what));
}

// "3" or "3,4,5": one for each rank. Sizes may have a unit.
absl::StatusOr<std::vector<double>> Amounts(absl::string_view option, const std::string& text, int ranks, bool sizes) {
  if (text.empty()) {
    return Wrong(option, "is missing: a number for all ranks, or one for each, separated by commas");
  }
  std::vector<double> amounts;
  for (const absl::string_view part : absl::StrSplit(text, ',')) {
    double amount = 0;
    bool is_number = absl::SimpleAtod(part, &amount);
    if (!is_number && sizes) {
      const absl::StatusOr<uint64_t> bytes = ParseBytes(std::string(part));
      is_number = bytes.ok();
      amount = bytes.ok() ? static_cast<double>(*bytes) : 0;
    }
    if (!is_number || !std::isfinite(amount) || amount < 0) {
      return Wrong(option, absl::StrCat("has '", part, "', which is no ", sizes ? "size" : "time",
                                        ": a finite number, not negative, is needed"));
    }
    amounts.push_back(amount);
  }
  if (amounts.size() == 1) amounts.resize(ranks, amounts.front());
  if (static_cast<int>(amounts.size()) == ranks) return amounts;
  return Wrong(option, absl::StrCat("has ", amounts.size(), " numbers for ", ranks, ranks == 1 ? " rank" : " ranks",
                                    ": write one for all, or one for each"));
}

absl::Status CheckCount(absl::string_view option, int count, int most) {
  if (count < 1) return Wrong(option, absl::StrCat("is ", count, ": at least 1 is needed"));
  if (count > most) return Wrong(option, absl::StrCat("is ", count, ": at most ", most, " are possible"));
  return absl::OkStatus();
}

absl::Status CheckCounts(const SimulationRequest& request, int64_t stages) {
  PENSTOCK_RETURN_IF_ERROR(CheckCount("--ranks", request.ranks, kMostRanks));
  PENSTOCK_RETURN_IF_ERROR(CheckCount("--micro-batches", request.micro_batches, kMostMicroBatches));
  if (request.group < 0) return Wrong("--group", absl::StrCat("is ", request.group, ": at least 1 is needed"));
  if (!std::isfinite(request.comm) || request.comm < 0) {
    return Wrong("--comm", absl::StrCat("is ", request.comm, ": a finite number, not negative, is needed"));
  }
  if (stages * request.micro_batches <= kMaxPairs) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(stages, " stages x ", request.micro_batches,
                                                 " micro-batches: at most ", kMaxPairs,
                                                 " together are simulated here; lower --micro-batches"));
}

bool IsWhole(const std::vector<double>& amounts) {
  return std::all_of(amounts.begin(), amounts.end(), [](double amount) { return amount == std::floor(amount); });
}

// The times and bytes of each rank, on its stages.
struct RankCosts {
  PipelineCosts costs;
  std::vector<double> bytes_per_activation;  // by rank
};

absl::StatusOr<RankCosts> CostsOfRanks(const SimulationRequest& request, const Placement& placement) {
  const int ranks = request.ranks;
  PENSTOCK_ASSIGN_OR_RETURN(const auto forward, Amounts("--forward", request.forward, ranks, false));
  PENSTOCK_ASSIGN_OR_RETURN(const auto input_grad, Amounts("--input-grad", request.input_grad, ranks, false));
  PENSTOCK_ASSIGN_OR_RETURN(const auto weight_grad, Amounts("--weight-grad", request.weight_grad, ranks, false));
  PENSTOCK_ASSIGN_OR_RETURN(const auto activation,
                            Amounts("--activation-bytes", request.activation_bytes, ranks, true));
  PENSTOCK_ASSIGN_OR_RETURN(
      const auto weight_input,
      Amounts("--weight-input-bytes",
              request.weight_input_bytes.empty() ? request.activation_bytes : request.weight_input_bytes, ranks, true));
  PENSTOCK_ASSIGN_OR_RETURN(const auto boundary, Amounts("--boundary-bytes", request.boundary_bytes, ranks, true));
  if (std::find(activation.begin(), activation.end(), 0) != activation.end()) {
    return Wrong("--activation-bytes", "is 0, but peaks are given in its units: it must be more");
  }
  // A rank's bytes are divided over its chunks without a rest.
  const double scale = IsWhole(activation) && IsWhole(weight_input) && IsWhole(boundary) ? 1 : kFraction;
  std::vector<int> chunks(ranks, 0);
  for (const int rank : placement.rank_of_stage) ++chunks[rank];
  RankCosts result;
  for (int rank = 0; rank < ranks; ++rank) {
    if (activation[rank] * scale < 1) {
      return Wrong("--activation-bytes", absl::StrCat("has ", activation[rank], ", too small to be counted"));
    }
    const double bytes = std::max({activation[rank], weight_input[rank], boundary[rank] * chunks[rank]}) * scale;
    if (bytes * chunks[rank] * request.micro_batches > kMostBytes) {
      return Wrong("--activation-bytes",
                   absl::StrCat("and the like have ", bytes / scale, ", too large to be counted"));
    }
    result.bytes_per_activation.push_back(static_cast<double>(std::llround(activation[rank] * scale)) * chunks[rank]);
  }
  for (const int rank : placement.rank_of_stage) {
    StageCost& stage = result.costs.larger.emplace_back();
    const double parts = chunks[rank];
    stage.forward_us = stage.recompute_us = forward[rank] / parts;
    stage.weight_gradient_us = weight_grad[rank] / parts;
    stage.backward_us = (input_grad[rank] + weight_grad[rank]) / parts;
    stage.activation_bytes = std::llround(activation[rank] * scale);
    stage.deferred_bytes = std::llround(weight_input[rank] * scale);
    stage.boundary_bytes = std::llround(boundary[rank] * parts * scale);
  }
  result.costs.num_larger = request.micro_batches;
  result.costs.links.assign(placement.num_stages() - 1, {.latency_us = request.comm});
  return result;
}

// Says an option's name where a message speaks of a job's key.
absl::Status InOptions(const absl::Status& status) {
  return absl::Status(status.code(),
                      absl::StrReplaceAll(status.message(), {{"pipeline.micro_batches", "--micro-batches"},
                                                             {"pipeline.chunks", "--chunks"},
                                                             {"pipeline.group", "--group"},
                                                             {"pipeline.order", "--order"},
                                                             {"pipeline.recompute", "--recompute"},
                                                             {"pipeline.schedule", "--schedule"},
                                                             {"pipeline.stages", "the number of stages"}}));
}

absl::StatusOr<SimulatedSchedule> Finish(const SimulationRequest& request, SimulatedSchedule made, RankCosts costs,
                                         SimulationDetail detail) {
  PENSTOCK_ASSIGN_OR_RETURN(made.simulation,
                            Simulate(made.table, made.placement, request.micro_batches, costs.costs, detail));
  made.micro_batches = request.micro_batches;
  made.bytes_per_activation = std::move(costs.bytes_per_activation);
  return made;
}

// REQUIRES: one of the names that SimulateSchedule lets pass.
v1::Pipeline::Recompute Policy(const std::string& name) {
  if (name == "boundary") return v1::Pipeline::RECOMPUTE_BOUNDARY;
  return name == "except-last" ? v1::Pipeline::RECOMPUTE_EXCEPT_LAST : v1::Pipeline::RECOMPUTE_NONE;
}

// The chunks that a schedule has where nobody says it.
int DefaultChunks(const ScheduleKind& kind) { return std::max(kind.min_chunks, kind.has_groups ? 2 : 1); }

absl::StatusOr<SimulatedSchedule> SimulateNamed(const SimulationRequest& request, SimulationDetail detail) {
  const ScheduleKind* const kind = FindScheduleKind(request.schedule);
  if (request.schedule.empty()) return Wrong("--schedule", "is missing: a schedule's name, all, or --csv with a file");
  if (kind == nullptr) {
    return Wrong("--schedule", absl::StrCat("is '", request.schedule, "'; there are ",
                                            absl::StrJoin(ScheduleNames(), ", "), " and all"));
  }
  if (request.ranks == 0) return Wrong("--ranks", "is missing");
  if (request.micro_batches == 0) return Wrong("--micro-batches", "is missing");
  const int chunks = request.chunks == 0 ? DefaultChunks(*kind) : request.chunks;
  PENSTOCK_RETURN_IF_ERROR(CheckCount("--chunks", chunks, kMostRanks));
  PENSTOCK_RETURN_IF_ERROR(CheckCounts(request, int64_t{chunks} * request.ranks));
  const int stages = chunks * request.ranks;
  if (const auto unmet =
          FindUnmetNeed(*kind, {stages, chunks, request.micro_batches, request.group, request.reverse})) {
    return InOptions(absl::InvalidArgumentError(absl::StrCat(unmet->key, " ", unmet->text)));
  }
  const Placement placement = MakePlacement(kind->placement, request.ranks, chunks);
  PENSTOCK_ASSIGN_OR_RETURN(RankCosts costs, CostsOfRanks(request, placement));
  ScheduleRequest wanted;
  wanted.name = request.schedule;
  wanted.ranks = request.ranks;
  wanted.chunks = chunks;
  wanted.micro_batches = request.micro_batches;
  wanted.group = request.group;
  wanted.reverse = request.reverse;
  wanted.costs = &costs.costs;
  absl::StatusOr<Schedule> schedule = MakeSchedule(wanted);
  if (!schedule.ok()) return InOptions(schedule.status());
  SimulatedSchedule made{request.schedule, 0, std::move(schedule->placement), std::move(schedule->table), {}, {}};
  made.table = AddRecompute(made.table, Policy(request.recompute));
  return Finish(request, std::move(made), std::move(costs), detail);
}

absl::StatusOr<SimulatedSchedule> SimulateLists(SimulationRequest request, SimulationDetail detail) {
  const ActionTable& lists = *request.lists;
  for (const auto& [option, given] :
       {std::pair{"--chunks", request.chunks != 0}, std::pair{"--group", request.group != 0},
        std::pair{"--order", request.reverse}, std::pair{"--recompute", request.recompute != "none"}}) {
    if (given) return Wrong(option, "is given, but the file's lists say it all: leave it out");
  }
  PENSTOCK_ASSIGN_OR_RETURN(Placement placement, PlacementOfTable(lists));
  int micro_batches = 0;
  for (const ActionList& list : lists) {
    for (const Action& action : list) micro_batches = std::max(micro_batches, action.micro_batch + 1);
  }
  const int ranks = static_cast<int>(lists.size());
  if (request.ranks != 0 && request.ranks != ranks) {
    return Wrong("--ranks", absl::StrCat("is ", request.ranks, ", but the file has ", ranks, " lists"));
  }
  if (request.micro_batches != 0 && request.micro_batches != micro_batches) {
    return Wrong("--micro-batches",
                 absl::StrCat("is ", request.micro_batches, ", but the file's actions are of ", micro_batches));
  }
  request.ranks = ranks;
  request.micro_batches = micro_batches;
  PENSTOCK_RETURN_IF_ERROR(CheckCounts(request, placement.num_stages()));
  PENSTOCK_RETURN_IF_ERROR(ValidateComputeActions(lists, placement, micro_batches, PassKind::kTraining));
  PENSTOCK_ASSIGN_OR_RETURN(RankCosts costs, CostsOfRanks(request, placement));
  return Finish(request, {std::string(kCustomSchedule), 0, std::move(placement), lists, {}, {}}, std::move(costs),
                detail);
}

}  // namespace

absl::StatusOr<SimulatedSchedule> SimulateSchedule(const SimulationRequest& request, SimulationDetail detail) {
  if (request.recompute != "none" && request.recompute != "boundary" && request.recompute != "except-last") {
    return Wrong("--recompute", absl::StrCat("is '", request.recompute, "'; there are none, boundary, except-last"));
  }
  return request.lists.has_value() ? SimulateLists(request, detail) : SimulateNamed(request, detail);
}

absl::StatusOr<std::vector<ComparedSchedule>> CompareSchedules(const SimulationRequest& request) {
  std::vector<ComparedSchedule> compared;
  for (const ScheduleKind& kind : ScheduleKinds()) {
    SimulationRequest own = request;
    own.schedule = std::string(kind.name);
    const bool takes_chunks = own.chunks >= kind.min_chunks && own.chunks <= kind.max_chunks.value_or(own.chunks);
    if (!takes_chunks) own.chunks = 0;
    if (!kind.has_groups) own.group = 0;
    if (!kind.has_reverse) own.reverse = false;
    compared.push_back({own.schedule, SimulateSchedule(own, SimulationDetail::kTotals)});
  }
  // What every schedule refuses is the options' fault.
  if (std::none_of(compared.begin(), compared.end(), [](const auto& one) { return one.simulated.ok(); })) {
    return compared.front().simulated.status();
  }
  std::stable_sort(compared.begin(), compared.end(), [](const ComparedSchedule& a, const ComparedSchedule& b) {
    const auto makespan = [](const ComparedSchedule& one) {
      return one.simulated.ok() ? one.simulated->simulation.makespan_us : std::numeric_limits<double>::infinity();
    };
    return makespan(a) < makespan(b);
  });
  return compared;
}

}  // namespace penstock
