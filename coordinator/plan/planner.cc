#include "coordinator/plan/planner.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/schedule_kind.h"
#include "common/status_macros.h"
#include "coordinator/plan/choice.h"
#include "coordinator/plan/drafts.h"
#include "coordinator/plan/given_plan.h"
#include "coordinator/plan/model_costs.h"
#include "coordinator/plan/planning.h"
#include "coordinator/plan/rank_memory.h"
#include "coordinator/plan/variants.h"
#include "model/model_info.h"

namespace penstock {
namespace {

// Where many schedules are searched, each gets this share; the one that is taken is then searched as well as alone.
constexpr int64_t kManySearches = 8;

absl::Status CheckMicroBatches(const v1::JobSpec& spec, uint32_t micro_batches) {
  if (micro_batches < 1) return absl::InvalidArgumentError("micro_batches must be at least 1");
  if (spec.train().batch_size() >= micro_batches) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("batch_size ", spec.train().batch_size(), " cannot be cut into ",
                                                 micro_batches, " micro-batches; each has at least one sample"));
}

// A request with what all plans of it share.
struct Basis {
  ModelInfo model;
  ModelCosts costs;
};

absl::StatusOr<Basis> BasisOf(const PlanRequest& request, uint32_t micro_batches) {
  PENSTOCK_RETURN_IF_ERROR(CheckMicroBatches(request.spec, micro_batches));
  PENSTOCK_ASSIGN_OR_RETURN(ModelInfo model, InferModel(request.spec.model()));
  PENSTOCK_ASSIGN_OR_RETURN(ModelCosts costs,
                            ModelCosts::Make(request.spec, model, static_cast<int>(micro_batches), request.measured));
  return Basis{std::move(model), std::move(costs)};
}

Planning PlanningOf(const PlanRequest& request, const v1::JobSpec& spec, const Basis& basis) {
  return {spec, basis.model, basis.costs, request.memory_bytes, request.measured != nullptr};
}

uint64_t MissingBytes(const PlanRequest& request, const v1::Plan& plan) {
  const std::vector<uint64_t> peaks = RankPeakBytes(plan);
  uint64_t missing = 0;
  for (size_t rank = 0; rank < std::min(peaks.size(), request.memory_bytes.size()); ++rank) {
    const uint64_t limit = request.memory_bytes[rank];
    if (limit > 0 && peaks[rank] > limit) missing += peaks[rank] - limit;
  }
  return missing;
}

absl::StatusOr<PlannedJob> FinishOne(const PlanRequest& request, const v1::JobSpec& spec, const Basis& basis,
                                     const Draft& draft) {
  PENSTOCK_ASSIGN_OR_RETURN(FinishedPlan finished,
                            FinishDraft(PlanningOf(request, spec, basis), draft, request.detail));
  return PlannedJob{std::move(finished.plan), std::move(finished.simulation), {}};
}

// The plan of a job whose keys name a schedule.
absl::StatusOr<PlannedJob> PlanVariant(const PlanRequest& request, const v1::JobSpec& spec, const Basis& basis,
                                       int64_t search_actions) {
  PENSTOCK_ASSIGN_OR_RETURN(const Variant variant, VariantOf(spec.pipeline()));
  PENSTOCK_ASSIGN_OR_RETURN(const Draft draft, MakeDraft(PlanningOf(request, spec, basis), variant, search_actions));
  return FinishOne(request, spec, basis, draft);
}

ScheduleRow RowOf(const PlanRequest& request, const Variant& variant, absl::StatusOr<PlannedJob> planned) {
  ScheduleRow row{variant.schedule, variant.stages(), variant.chunks, planned.status(), {}, 0};
  if (!planned.ok()) return row;
  row.planned = *std::move(planned);
  row.missing_bytes = MissingBytes(request, row.planned.plan);
  return row;
}

// Args: keeps_split: leaves out schedules of another number of stages.
absl::StatusOr<std::vector<ScheduleRow>> CompareKeys(const PlanRequest& request, const v1::JobSpec& spec,
                                                     const Basis& basis, bool keeps_split) {
  PENSTOCK_ASSIGN_OR_RETURN(const int ranks, RanksOf(spec.pipeline()));
  std::vector<ScheduleRow> rows;
  for (const Variant& variant : AllVariants(spec.pipeline(), ranks)) {
    if (keeps_split && variant.stages() != static_cast<int>(spec.pipeline().stages())) continue;
    rows.push_back(
        RowOf(request, variant,
              PlanVariant(request, WithVariant(spec, variant), basis, request.search_actions / kManySearches)));
  }
  for (const ScheduleRow& row : rows) {
    if (row.status.ok()) return rows;
  }
  return rows.front().status;  // of the simplest: what keeps all of them from running
}

absl::StatusOr<PlannedJob> PlanBestSchedule(const PlanRequest& request, const Basis& basis) {
  const bool split_is_written = request.spec.pipeline().split() == v1::Pipeline::SPLIT_EXPLICIT;
  PENSTOCK_ASSIGN_OR_RETURN(std::vector<ScheduleRow> rows, CompareKeys(request, request.spec, basis, split_is_written));
  ScheduleRow& best = rows[BestRow(rows)];
  const Variant variant{best.schedule, best.stages / best.chunks, best.chunks};
  PENSTOCK_ASSIGN_OR_RETURN(PlannedJob again,
                            PlanVariant(request, WithVariant(request.spec, variant), basis, request.search_actions));
  // More search never makes it worse, unless the limits are what it could not keep before.
  if (again.plan.predicted_step_us() <= best.planned.plan.predicted_step_us() || best.missing_bytes > 0) {
    best.planned = std::move(again);
  }
  const std::string text = ChoiceText(rows, BestRow(rows), /*alone=*/true);
  PlannedJob planned = std::move(rows[BestRow(rows)].planned);
  planned.notes.push_back(text);
  return planned;
}

absl::StatusOr<PlannedJob> CompletePlan(const PlanRequest& request) {
  const v1::Plan& given = request.spec.pipeline().plan();
  PENSTOCK_ASSIGN_OR_RETURN(const Basis basis, BasisOf(request, given.micro_batches()));
  PENSTOCK_ASSIGN_OR_RETURN(const std::vector<Draft> drafts,
                            DraftsOfPlan(PlanningOf(request, request.spec, basis), given));
  std::vector<ScheduleRow> rows;
  for (const Draft& draft : drafts) {
    const int ranks = draft.placement.num_ranks();
    rows.push_back(RowOf(request, {draft.schedule, ranks, draft.placement.num_stages() / ranks},
                         FinishOne(request, request.spec, basis, draft)));
    PENSTOCK_RETURN_IF_ERROR(rows.back().status);
  }
  const size_t best = BestRow(rows);
  const std::string text = ChoiceText(rows, best, /*alone=*/true);
  PlannedJob planned = std::move(rows[best].planned);
  if (given.train_size() == 0 && given.schedule() == kAutoSchedule) planned.notes.push_back(text);
  return planned;
}

}  // namespace

absl::StatusOr<PlannedJob> PlanJob(const PlanRequest& request) {
  const v1::Pipeline& pipeline = request.spec.pipeline();
  if (pipeline.has_plan()) {
    absl::StatusOr<PlannedJob> planned = CompletePlan(request);
    if (!planned.ok()) return Annotate(planned.status(), "the plan that the job brings");
    return planned;
  }
  PENSTOCK_ASSIGN_OR_RETURN(const Basis basis, BasisOf(request, pipeline.micro_batches()));
  if (pipeline.schedule() == kAutoSchedule) return PlanBestSchedule(request, basis);
  return PlanVariant(request, request.spec, basis, request.search_actions);
}

absl::StatusOr<v1::Plan> MakePlan(const v1::JobSpec& spec, const v1::MeasuredCosts* measured) {
  PENSTOCK_ASSIGN_OR_RETURN(PlannedJob planned, PlanJob({spec, measured}));
  return std::move(planned.plan);
}

absl::StatusOr<std::vector<ScheduleRow>> CompareSchedules(const PlanRequest& request) {
  v1::JobSpec spec = request.spec;
  if (spec.pipeline().has_plan()) {
    PENSTOCK_ASSIGN_OR_RETURN(const PlannedJob given, PlanJob(request));
    spec = WithKeysOf(request.spec, given.plan);
  }
  PENSTOCK_ASSIGN_OR_RETURN(const Basis basis, BasisOf(request, spec.pipeline().micro_batches()));
  PENSTOCK_ASSIGN_OR_RETURN(const int ranks, RanksOfJob(spec));
  // The job's own chunks are those of its own schedule; each other schedule has as many as it needs.
  spec.mutable_pipeline()->clear_chunks();
  spec.mutable_pipeline()->set_stages(static_cast<uint32_t>(ranks));
  spec.mutable_pipeline()->set_schedule(std::string(kAutoSchedule));
  return CompareKeys(request, spec, basis, /*keeps_split=*/false);
}

absl::StatusOr<int> RanksOfJob(const v1::JobSpec& spec) {
  // Lists of one's own have as many ranks as lists.
  if (!spec.pipeline().has_plan() && spec.pipeline().csv_size() > 0) return spec.pipeline().csv_size();
  if (!spec.pipeline().has_plan()) return RanksOf(spec.pipeline());
  uint32_t last = 0;
  for (const v1::Stage& stage : spec.pipeline().plan().stages()) last = std::max(last, stage.rank());
  const int stages = spec.pipeline().plan().stages_size();
  if (last >= static_cast<uint32_t>(std::max(stages, 1))) {
    return absl::InvalidArgumentError(
        absl::StrCat("a stage is on rank ", last, "; ", stages, " stages have ranks 0 to ", stages - 1));
  }
  return static_cast<int>(last) + 1;
}

absl::StatusOr<v1::JobSpec> WithSchedule(const PlanRequest& request, const std::string& schedule) {
  if (schedule != kAutoSchedule && FindScheduleKind(schedule) == nullptr) {
    return absl::InvalidArgumentError(absl::StrCat("there is no schedule '", schedule, "'; there are ",
                                                   absl::StrJoin(ScheduleNames(), ", "), " and auto"));
  }
  v1::JobSpec spec = request.spec;
  if (spec.pipeline().has_plan()) {
    PENSTOCK_ASSIGN_OR_RETURN(const PlannedJob given, PlanJob(request));
    spec = WithKeysOf(request.spec, given.plan);
  }
  PENSTOCK_ASSIGN_OR_RETURN(const int ranks, RanksOfJob(spec));
  const int named = static_cast<int>(spec.pipeline().chunks());
  const ScheduleKind* kind = FindScheduleKind(schedule);
  const bool takes_named = kind != nullptr && named >= DefaultChunks(schedule) &&
                           (!kind->max_chunks.has_value() || named <= *kind->max_chunks);
  spec = WithVariant(spec, {schedule, ranks, takes_named ? named : DefaultChunks(schedule)});
  if (schedule == kAutoSchedule) spec.mutable_pipeline()->clear_chunks();
  return spec;
}

}  // namespace penstock
