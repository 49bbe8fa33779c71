#include "common/schedule_kind.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace penstock {
namespace {

ScheduleKind Kind(absl::string_view name, std::optional<int> max_chunks = 1) {
  ScheduleKind kind;
  kind.name = name;
  kind.max_chunks = max_chunks;
  return kind;
}

ScheduleKind SplitKind(absl::string_view name) {
  ScheduleKind kind = Kind(name);
  kind.splits_backward = true;
  return kind;
}

ScheduleKind SearchedKind(absl::string_view name) {
  ScheduleKind kind = SplitKind(name);
  kind.needs_costs = true;
  return kind;
}

ScheduleKind VeeKind(absl::string_view name, int least_micro_batches_rank = 0) {
  ScheduleKind kind = SplitKind(name);
  kind.placement = PlacementKind::kVee;
  kind.min_chunks = 2;
  kind.max_chunks = 2;
  kind.least_micro_batches_rank = least_micro_batches_rank;
  return kind;
}

std::vector<ScheduleKind> MakeKinds() {
  ScheduleKind gpipe = Kind("gpipe", std::nullopt);
  gpipe.has_reverse = true;
  ScheduleKind interleaved = Kind("interleaved", std::nullopt);
  interleaved.has_groups = true;
  ScheduleKind ready = Kind("ready", std::nullopt);
  ready.needs_costs = true;
  return {gpipe,
          Kind("1f1b"),
          interleaved,
          SplitKind("zb-h1"),
          SplitKind("zb-h2"),
          SearchedKind("zb-1p"),
          SearchedKind("zb-2p"),
          VeeKind("zb-v"),
          VeeKind("v-half"),
          VeeKind("v-min"),
          VeeKind("dualpipe-v", /*least_micro_batches_rank=*/2),
          ready};
}

std::optional<UnmetNeed> FindUnmetChunks(const ScheduleKind& kind, const PipelineShape& shape) {
  const std::string key = "pipeline.chunks";
  if (shape.chunks < kind.min_chunks || (kind.max_chunks.has_value() && shape.chunks > *kind.max_chunks)) {
    const std::string wanted =
        kind.min_chunks == 1 ? "one stage a rank" : absl::StrCat(kind.min_chunks, " stages a rank");
    return UnmetNeed{
        key, absl::StrCat("is ", shape.chunks, ", but ", kind.name, " runs ", wanted, ": set it to ", kind.min_chunks,
                          kind.min_chunks == 1 ? ", or take a schedule with several, as interleaved" : "")};
  }
  if (shape.stages % shape.chunks == 0) return std::nullopt;
  const int below = shape.stages / shape.chunks * shape.chunks;
  const std::string remedy = below > 0 ? absl::StrCat(below, " or ", below + shape.chunks) : absl::StrCat(shape.chunks);
  return UnmetNeed{"pipeline.stages", absl::StrCat("is ", shape.stages, ", which cannot be dealt out to ranks of ",
                                                   shape.chunks, " stages each (pipeline.chunks): set it to ", remedy)};
}

std::optional<UnmetNeed> FindUnmetGroup(const ScheduleKind& kind, const PipelineShape& shape, int ranks) {
  if (!kind.has_groups) {
    if (shape.group == 0) return std::nullopt;
    return UnmetNeed{"pipeline.group", absl::StrCat("is ", shape.group, ", but ", kind.name,
                                                    " has no groups (interleaved has): leave it out")};
  }
  const int group = shape.group == 0 ? DefaultGroup(ranks, shape.micro_batches) : shape.group;
  if (shape.micro_batches % group == 0) return std::nullopt;
  const int below = shape.micro_batches / group * group;
  const std::string several = below > 0 ? absl::StrCat(below, " or ", below + group) : absl::StrCat(group);
  return UnmetNeed{"pipeline.micro_batches",
                   absl::StrCat("is ", shape.micro_batches, ", which is no multiple of the ", group, " of ", kind.name,
                                "'s groups: set it to ", several, ", or pipeline.group to a divisor of ",
                                shape.micro_batches, ", such as ", shape.micro_batches)};
}

}  // namespace

const std::vector<ScheduleKind>& ScheduleKinds() {
  static const auto* const kKinds = new std::vector<ScheduleKind>(MakeKinds());
  return *kKinds;
}

const ScheduleKind* FindScheduleKind(absl::string_view name) {
  for (const ScheduleKind& kind : ScheduleKinds()) {
    if (kind.name == name) return &kind;
  }
  return nullptr;
}

std::vector<std::string> ScheduleNames() {
  std::vector<std::string> names;
  for (const ScheduleKind& kind : ScheduleKinds()) names.emplace_back(kind.name);
  return names;
}

std::optional<UnmetNeed> FindUnmetNeed(const ScheduleKind& kind, const PipelineShape& shape) {
  if (auto unmet = FindUnmetChunks(kind, shape)) return unmet;
  const int ranks = shape.stages / shape.chunks;
  const int least = kind.least_micro_batches_rank * ranks;
  if (shape.micro_batches < least) {
    return UnmetNeed{"pipeline.micro_batches",
                     absl::StrCat("is ", shape.micro_batches, ", but ", kind.name, " on ", ranks,
                                  " ranks needs at least ", least, ": raise it, or use fewer stages or zb-v")};
  }
  if (auto unmet = FindUnmetGroup(kind, shape, ranks)) return unmet;
  if (!shape.reverse || kind.has_reverse) return std::nullopt;
  return UnmetNeed{"pipeline.order", absl::StrCat("is reverse, but ", kind.name,
                                                  " has an order of its own (gpipe can be reversed): leave it out")};
}

int DefaultGroup(int ranks, int micro_batches) { return micro_batches / std::max(1, micro_batches / ranks); }

}  // namespace penstock
