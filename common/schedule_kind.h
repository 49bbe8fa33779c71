// The schedules there are, by name, and what each needs of a pipeline: the one place for their names. Pure.
// Source: docs/schedules.md, "Schedules".
#ifndef PENSTOCK_COMMON_SCHEDULE_KIND_H_
#define PENSTOCK_COMMON_SCHEDULE_KIND_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace penstock {

// A schedule is a table in memory with several actions a micro-batch and stage. No pipeline gains from more: the bubble
// is gone at a few micro-batches a stage.
inline constexpr uint32_t kMaxMicroBatches = 65536;

// Stages times micro-batches: so many take a few GiB and some seconds; more is a typing error.
inline constexpr int64_t kMaxPairs = int64_t{1} << 24;

// Which rank runs which stage, v stages a rank.
enum class PlacementKind {
  kRoundRobin,  // stage s on rank s mod p
  kVee,         // down the ranks and up again: rank 0 runs the first stage and the last
};

struct ScheduleKind {
  absl::string_view name;
  PlacementKind placement = PlacementKind::kRoundRobin;
  int min_chunks = 1;                // stages a rank
  std::optional<int> max_chunks;     // none: any number
  int least_micro_batches_rank = 0;  // it needs at least so many micro-batches for each rank; 0: any number does
  bool splits_backward = false;      // has I and W instead of B, at least for some micro-batches
  bool needs_costs = false;          // its lists follow from the stages' times
  bool has_groups = false;           // takes a number of micro-batches a round
  bool has_reverse = false;          // can run backwards from the last micro-batch to the first
};

// Every schedule that is made by name, the one with the simplest lists first.
const std::vector<ScheduleKind>& ScheduleKinds();

// Null if there is none of this name.
const ScheduleKind* FindScheduleKind(absl::string_view name);

// Their names, in the same order.
std::vector<std::string> ScheduleNames();

// Not made by name: the planner's choice; lists that a person wrote; lists of a plan file that no name stands for.
inline constexpr absl::string_view kAutoSchedule = "auto";
inline constexpr absl::string_view kCsvSchedule = "csv";
inline constexpr absl::string_view kCustomSchedule = "custom";

// The shape of a pipeline, as the `pipeline` keys of a job give it.
struct PipelineShape {
  int stages = 1;
  int chunks = 1;  // stages a rank
  int micro_batches = 1;
  int group = 0;  // 0: DefaultGroup
  bool reverse = false;
};

// A need of a schedule that the shape does not meet.
struct UnmetNeed {
  std::string key;   // "pipeline.chunks"
  std::string text;  // what its value is, what is needed, and a remedy: "is 1, but zb-v runs 2 stages a rank: ..."
};

// The first need that is not met; none if the schedule can be made for this shape.
// Args: stages, chunks, micro_batches >= 1, group >= 0.
std::optional<UnmetNeed> FindUnmetNeed(const ScheduleKind& kind, const PipelineShape& shape);

// How many micro-batches a round has where nobody says it: at least one for each rank, in rounds as equal as possible.
// Args: both >= 1.
int DefaultGroup(int ranks, int micro_batches);

}  // namespace penstock

#endif  // PENSTOCK_COMMON_SCHEDULE_KIND_H_
