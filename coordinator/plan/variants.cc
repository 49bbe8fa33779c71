#include "coordinator/plan/variants.h"

#include <algorithm>
#include <optional>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/schedule_kind.h"
#include "common/status_macros.h"

namespace penstock {
namespace {

// With more chunks than this, stages get so short that sending their boundaries takes what the smaller bubble gains.
constexpr int kMostChunksTried = 4;

int ChunksOf(const v1::Pipeline& pipeline) {
  return pipeline.chunks() > 0 ? static_cast<int>(pipeline.chunks()) : DefaultChunks(pipeline.schedule());
}

}  // namespace

int DefaultChunks(const std::string& schedule) {
  const ScheduleKind* kind = FindScheduleKind(schedule);
  if (kind == nullptr) return 1;
  return kind->has_groups ? std::max(2, kind->min_chunks) : kind->min_chunks;
}

absl::StatusOr<int> RanksOf(const v1::Pipeline& pipeline) {
  const int stages = static_cast<int>(pipeline.stages()), chunks = ChunksOf(pipeline);
  if (stages < 1) return absl::InvalidArgumentError("pipeline.stages must be at least 1");
  if (chunks < 1) return absl::InvalidArgumentError("pipeline.chunks must be at least 1");
  if (stages % chunks == 0) return stages / chunks;
  return absl::InvalidArgumentError(absl::StrCat("pipeline.stages is ", stages,
                                                 ", which cannot be dealt out to ranks of ", chunks,
                                                 " stages each (pipeline.chunks)"));
}

absl::StatusOr<Variant> VariantOf(const v1::Pipeline& pipeline) {
  PENSTOCK_ASSIGN_OR_RETURN(const int ranks, RanksOf(pipeline));
  const Variant variant{pipeline.schedule(), ranks, ChunksOf(pipeline)};
  if (pipeline.schedule() == kCsvSchedule) return variant;
  const ScheduleKind* kind = FindScheduleKind(pipeline.schedule());
  if (kind == nullptr) {
    return absl::InvalidArgumentError(absl::StrCat("there is no schedule '", pipeline.schedule(), "'; there are ",
                                                   absl::StrJoin(ScheduleNames(), ", ")));
  }
  const PipelineShape shape{variant.stages(), variant.chunks, static_cast<int>(pipeline.micro_batches()),
                            static_cast<int>(pipeline.group()), pipeline.reverse()};
  if (const std::optional<UnmetNeed> unmet = FindUnmetNeed(*kind, shape)) {
    return absl::InvalidArgumentError(absl::StrCat(unmet->key, " ", unmet->text));
  }
  return variant;
}

std::vector<Variant> AllVariants(const v1::Pipeline& pipeline, int ranks) {
  std::vector<Variant> variants;
  for (const ScheduleKind& kind : ScheduleKinds()) {
    const std::string name(kind.name);
    if (pipeline.chunks() > 1) {
      variants.push_back({name, ranks, static_cast<int>(pipeline.chunks())});
      continue;
    }
    const int fewest = DefaultChunks(name);
    const int most = kind.has_groups ? std::min(kMostChunksTried, kind.max_chunks.value_or(kMostChunksTried)) : fewest;
    for (int chunks = fewest; chunks <= most; ++chunks) variants.push_back({name, ranks, chunks});
  }
  return variants;
}

v1::JobSpec WithVariant(const v1::JobSpec& spec, const Variant& variant) {
  v1::JobSpec other = spec;
  v1::Pipeline* pipeline = other.mutable_pipeline();
  const ScheduleKind* kind = FindScheduleKind(variant.schedule);
  if (pipeline->schedule() != variant.schedule) {
    // Options of the schedule that was named; another may not know them.
    if (kind == nullptr || !kind->has_groups) pipeline->clear_group();
    if (kind == nullptr || !kind->has_reverse) pipeline->clear_reverse();
  }
  pipeline->set_schedule(variant.schedule);
  pipeline->set_chunks(static_cast<uint32_t>(variant.chunks));
  pipeline->set_stages(static_cast<uint32_t>(variant.stages()));
  if (pipeline->split() == v1::Pipeline::SPLIT_EXPLICIT && pipeline->split_sizes_size() != variant.stages()) {
    pipeline->set_split(v1::Pipeline::SPLIT_AUTO);
    pipeline->clear_split_sizes();
  }
  return other;
}

v1::JobSpec WithKeysOf(const v1::JobSpec& spec, const v1::Plan& plan) {
  v1::JobSpec keys = spec;
  v1::Pipeline* pipeline = keys.mutable_pipeline();
  pipeline->clear_plan();
  pipeline->set_stages(static_cast<uint32_t>(plan.stages_size()));
  pipeline->set_chunks(static_cast<uint32_t>(plan.stages_size() / std::max(1, plan.train_size())));
  pipeline->set_micro_batches(plan.micro_batches());
  const bool named = FindScheduleKind(plan.schedule()) != nullptr;
  const bool csv = !spec.pipeline().has_plan() && spec.pipeline().schedule() == kCsvSchedule;
  pipeline->set_schedule(named ? plan.schedule() : std::string(csv ? kCsvSchedule : ScheduleKinds().front().name));
  pipeline->set_split(v1::Pipeline::SPLIT_EXPLICIT);
  pipeline->clear_split_sizes();
  for (const v1::Stage& stage : plan.stages()) pipeline->add_split_sizes(stage.end_layer() - stage.first_layer());
  return keys;
}

}  // namespace penstock
