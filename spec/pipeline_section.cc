#include "spec/pipeline_section.h"

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "common/schedule_kind.h"
#include "spec/plan_file.h"
#include "spec/schedule_csv.h"
#include "spec/version_keys.h"

namespace penstock {
namespace {

// What fits the spec's fields; the sense of a value is checked elsewhere.
constexpr int64_t kMaxUint32 = UINT32_MAX;
constexpr int64_t kMaxInt32 = INT32_MAX;
// More is a mistake, and would fill memory before anything could say so.
constexpr int64_t kMaxCsvMicroBatches = 1 << 20;

// The plan: the name of its file, or its content, as a resolved job has it.
void ReadPlan(YamlMapping* section, const YamlNode& node, const std::string& folder, YamlErrors* errors,
              v1::Pipeline* pipeline) {
  for (const char* key : {"stages", "split", "micro_batches", "schedule", "chunks", "group", "order"}) {
    section->Refuse(key, absl::StrCat("'", key, "' stands beside 'plan': the plan says it already"));
  }
  const std::string path = section->PathOf("plan");
  v1::Plan plan;
  if (node.IsMapping()) {
    plan = ReadPlanNode(node, path, errors);
  } else if (const std::optional<std::string> name = ToText(node, path, errors)) {
    const int before = errors->diagnostics()->count();
    const std::string file = (std::filesystem::path(folder) / *name).lexically_normal().string();
    const absl::StatusOr<YamlNode> root = ReadYamlFile(file, errors->diagnostics());
    YamlErrors plan_errors(errors->diagnostics());
    if (!root.ok()) {
      errors->Add(node, path, root.status().message());
    } else if (errors->diagnostics()->count() == before) {
      plan = ReadPlanNode(*root, "", &plan_errors);
    }
  }
  pipeline->set_stages(static_cast<uint32_t>(plan.stages_size()));
  pipeline->set_micro_batches(plan.micro_batches());
  pipeline->set_schedule(plan.schedule());
  *pipeline->mutable_plan() = std::move(plan);
}

void ReadSplit(YamlMapping* section, YamlErrors* errors, v1::Pipeline* pipeline) {
  pipeline->set_split(v1::Pipeline::SPLIT_AUTO);
  const YamlNode* node = section->Find("split");
  if (node == nullptr) return;
  if (node->IsSequence()) {
    pipeline->set_split(v1::Pipeline::SPLIT_EXPLICIT);
    const auto sizes = section->Integers("split", 1, kMaxUint32);
    for (int64_t size : sizes.value_or(std::vector<int64_t>())) pipeline->add_split_sizes(static_cast<uint32_t>(size));
    return;
  }
  const std::optional<std::string> split =
      ToChoice(*node, section->PathOf("split"), errors, {"auto", "uniform", "min-variance"});
  if (split == "uniform") pipeline->set_split(v1::Pipeline::SPLIT_UNIFORM);
  if (split == "min-variance") pipeline->set_split(v1::Pipeline::SPLIT_MIN_VARIANCE);
}

// A name, or lists of one's own; those say how many stages there are.
std::optional<int> ReadSchedule(YamlMapping* section, const std::string& folder, YamlErrors* errors,
                                v1::Pipeline* pipeline) {
  pipeline->set_schedule("gpipe");
  const YamlNode* node = section->Find("schedule");
  if (node == nullptr) return std::nullopt;
  if (!node->IsMapping()) {
    std::vector<std::string> names = ScheduleNames();
    names.emplace_back(kAutoSchedule);
    pipeline->set_schedule(section->Choice("schedule", names).value_or("gpipe"));
    return std::nullopt;
  }
  pipeline->set_schedule(std::string(kCsvSchedule));
  for (const char* key : {"chunks", "group", "order"}) {
    section->Refuse(key, absl::StrCat("'", key, "' stands beside a csv: its lists say it already"));
  }
  YamlMapping mapping(node, section->PathOf("schedule"), errors);
  mapping.Require({"csv"});
  const YamlNode* csv = mapping.Find("csv");
  mapping.Finish();
  if (csv == nullptr) return std::nullopt;
  std::optional<int> micro_batches;
  if (errors->Sound(section->PathOf("micro_batches")) && pipeline->micro_batches() >= 1 &&
      pipeline->micro_batches() <= kMaxCsvMicroBatches) {
    micro_batches = static_cast<int>(pipeline->micro_batches());
  }
  return ReadScheduleCsv(*csv, mapping.PathOf("csv"), folder, micro_batches, errors, pipeline);
}

// none, boundary, except-last, or a flag for each layer of the model.
void ReadRecompute(YamlMapping* section, YamlErrors* errors, v1::Pipeline* pipeline) {
  const YamlNode* node = section->Find("recompute");
  if (node == nullptr) return;
  const std::string path = section->PathOf("recompute");
  if (node->IsSequence()) {
    pipeline->set_recompute(v1::Pipeline::RECOMPUTE_LAYERS);
    for (size_t i = 0; i < node->items.size(); ++i) {
      pipeline->add_recompute_layers(ToFlag(node->items[i], absl::StrCat(path, "[", i, "]"), errors).value_or(false));
    }
    return;
  }
  const std::optional<std::string> policy = ToChoice(*node, path, errors, {"none", "boundary", "except-last"});
  if (policy == "boundary") pipeline->set_recompute(v1::Pipeline::RECOMPUTE_BOUNDARY);
  if (policy == "except-last") pipeline->set_recompute(v1::Pipeline::RECOMPUTE_EXCEPT_LAST);
}

std::string SplitText(const v1::Pipeline& pipeline) {
  switch (pipeline.split()) {
    case v1::Pipeline::SPLIT_MIN_VARIANCE:
      return "min-variance";
    case v1::Pipeline::SPLIT_UNIFORM:
      return "uniform";
    case v1::Pipeline::SPLIT_EXPLICIT:
      return absl::StrCat("[", absl::StrJoin(pipeline.split_sizes(), ", "), "]");
    default:
      return "auto";
  }
}

std::string RecomputeText(const v1::Pipeline& pipeline) {
  switch (pipeline.recompute()) {
    case v1::Pipeline::RECOMPUTE_BOUNDARY:
      return "boundary";
    case v1::Pipeline::RECOMPUTE_EXCEPT_LAST:
      return "except-last";
    case v1::Pipeline::RECOMPUTE_LAYERS: {
      std::vector<std::string> flags;
      for (const bool recomputed : pipeline.recompute_layers()) flags.emplace_back(recomputed ? "true" : "false");
      return absl::StrCat("[", absl::StrJoin(flags, ", "), "]");
    }
    default:
      return "none";
  }
}

}  // namespace

v1::Pipeline ReadPipelineSection(YamlMapping section, const std::string& folder, YamlErrors* errors) {
  v1::Pipeline pipeline;
  OnlyNeutral(&section, "replicas", "1", "replicas (each stage runs on one worker)", errors);
  OnlyNeutral(&section, "lanes", "1", "lanes", errors);
  ReadRecompute(&section, errors, &pipeline);
  if (const YamlNode* plan = section.Find("plan")) {
    ReadPlan(&section, *plan, folder, errors, &pipeline);
    section.Finish();
    return pipeline;
  }
  section.Require({"micro_batches"});
  ReadSplit(&section, errors, &pipeline);
  pipeline.set_micro_batches(static_cast<uint32_t>(section.Integer("micro_batches", 0, kMaxUint32).value_or(1)));
  const std::optional<int> by_lists = ReadSchedule(&section, folder, errors, &pipeline);
  // An explicit split, or lists of actions, say how many stages there are.
  const int64_t stages = std::max({pipeline.split_sizes_size(), by_lists.value_or(1), 1});
  pipeline.set_stages(static_cast<uint32_t>(section.Integer("stages", 0, kMaxInt32).value_or(stages)));
  pipeline.set_chunks(static_cast<uint32_t>(section.Integer("chunks", 1, kMaxInt32).value_or(1)));
  pipeline.set_group(static_cast<uint32_t>(section.Integer("group", 1, kMaxInt32).value_or(0)));
  pipeline.set_reverse(section.Choice("order", {"ascending", "reverse"}) == "reverse");
  section.Finish();
  return pipeline;
}

std::string PipelineToYaml(const v1::Pipeline& pipeline) {
  const bool recomputes = pipeline.recompute() != v1::Pipeline::RECOMPUTE_NONE;
  if (pipeline.has_plan()) {
    std::string text = "pipeline:\n";
    if (recomputes) absl::StrAppend(&text, "  recompute: ", RecomputeText(pipeline), "\n");
    absl::StrAppend(&text, "  plan:\n");
    for (absl::string_view line : absl::StrSplit(PlanToYaml(pipeline.plan(), {}), '\n', absl::SkipEmpty())) {
      absl::StrAppend(&text, "    ", line, "\n");
    }
    return text;
  }
  std::string text = absl::StrCat("pipeline:\n  stages: ", pipeline.stages(), "\n  split: ", SplitText(pipeline),
                                  "\n  micro_batches: ", pipeline.micro_batches(), "\n");
  if (pipeline.schedule() == kCsvSchedule) {
    absl::StrAppend(&text, "  schedule: {csv: ", ScheduleCsvToYaml(pipeline), "}\n");
  } else {
    absl::StrAppend(&text, "  schedule: ", pipeline.schedule(), "\n  chunks: ", std::max(1u, pipeline.chunks()), "\n");
    if (pipeline.group() > 0) absl::StrAppend(&text, "  group: ", pipeline.group(), "\n");
    absl::StrAppend(&text, "  order: ", pipeline.reverse() ? "reverse" : "ascending", "\n");
  }
  absl::StrAppend(&text, "  recompute: ", RecomputeText(pipeline), "\n");
  return text;
}

}  // namespace penstock
