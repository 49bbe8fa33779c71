#include "spec/plan_file.h"

#include <algorithm>
#include <cstdint>
#include <optional>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/action.h"
#include "common/diagnostic.h"
#include "common/schedule_kind.h"
#include "common/status_macros.h"
#include "common/yaml.h"
#include "coordinator/plan/placement.h"
#include "coordinator/plan/table.h"
#include "coordinator/plan/validate.h"
#include "spec/file_kind.h"

namespace penstock {
namespace {

// More is a mistake, and would fill memory before anything could say so.
constexpr int64_t kMaxLayers = 1 << 20;

// What a plan's `schedule` may be: without "csv", since its lists stand in `train`.
std::vector<std::string> PlanSchedules() {
  std::vector<std::string> names = ScheduleNames();
  names.emplace_back(kAutoSchedule);
  names.emplace_back(kCustomSchedule);
  return names;
}

std::string Indexed(absl::string_view path, size_t index) { return absl::StrCat(path, "[", index, "]"); }

void ReadStages(const std::vector<YamlNode>& nodes, const std::string& path, YamlErrors* errors, v1::Plan* plan) {
  uint32_t next_layer = 0;
  for (size_t s = 0; s < nodes.size(); ++s) {
    YamlMapping mapping(&nodes[s], Indexed(path, s), errors);
    mapping.Require({"layers"});
    const int64_t layers = mapping.Integer("layers", 1, kMaxLayers).value_or(1);
    const int64_t last_rank = static_cast<int64_t>(nodes.size()) - 1;
    const int64_t rank = mapping.Integer("rank", 0, last_rank).value_or(static_cast<int64_t>(s));
    mapping.Finish();
    v1::Stage* stage = plan->add_stages();
    stage->set_first_layer(next_layer);
    next_layer += static_cast<uint32_t>(layers);
    stage->set_end_layer(next_layer);
    stage->set_rank(static_cast<uint32_t>(rank));
  }
}

// One item of a training list: a compute action, or a fused pair of them. Adds an error and returns nothing if it is
// neither.
ActionList ReadActions(const YamlNode& node, const std::string& path, YamlErrors* errors) {
  const std::optional<std::string> text = ToText(node, path, errors);
  if (!text.has_value()) return {};
  const absl::StatusOr<ActionList> actions = ListFromText(*text);
  if (!actions.ok() || actions->empty()) {
    errors->Add(node, path, (actions.ok() ? ActionFromText(*text).status() : actions.status()).message());
    return {};
  }
  for (const Action& action : *actions) {
    if (IsCompute(action.kind)) continue;
    errors->Add(node, path,
                absl::StrCat("'", ToText(action), "' follows from the compute actions of this plan: leave it out"));
    return {};
  }
  return *actions;
}

// The lists of `train`, and which node each action stands in.
struct WrittenLists {
  ActionTable table;
  std::vector<std::vector<const YamlNode*>> nodes;
};

WrittenLists ReadLists(const std::vector<YamlNode>& nodes, const std::string& path, YamlErrors* errors,
                       v1::Plan* plan) {
  WrittenLists written;
  for (size_t rank = 0; rank < nodes.size(); ++rank) {
    const std::string rank_path = Indexed(path, rank);
    v1::RankActions* list = plan->add_train();
    ActionList& actions = written.table.emplace_back();
    std::vector<const YamlNode*>& places = written.nodes.emplace_back();
    if (!nodes[rank].IsSequence()) {
      errors->Add(
          nodes[rank], rank_path,
          absl::StrCat("'", rank_path, "' must be a list of actions such as [0F0, 0B0], not ", nodes[rank].Describe()));
      continue;
    }
    for (size_t i = 0; i < nodes[rank].items.size(); ++i) {
      for (const Action& action : ReadActions(nodes[rank].items[i], Indexed(rank_path, i), errors)) {
        *list->add_actions() = ToProto(action);
        actions.push_back(action);
        places.push_back(&nodes[rank].items[i]);
      }
    }
  }
  return written;
}

// Whether the lists can run. Adds an error at the action that cannot.
void CheckLists(const WrittenLists& written, const v1::Plan& plan, const YamlNode& node, const std::string& path,
                YamlErrors* errors) {
  Placement placement;
  for (const v1::Stage& stage : plan.stages()) placement.rank_of_stage.push_back(static_cast<int>(stage.rank()));
  TablePlace place;
  const absl::Status status = ValidateComputeActions(written.table, placement, static_cast<int>(plan.micro_batches()),
                                                     PassKind::kTraining, &place);
  if (status.ok()) return;
  const std::vector<const YamlNode*>& places = written.nodes[place.rank];
  // What is missing has no place of its own: then the end of its rank's list.
  const YamlNode* at = &node;
  if (!places.empty()) at = places[std::min(place.position, places.size() - 1)];
  errors->Add(*at, path, status.message());
}

// The stage's layers for a comment, cut where they are many.
std::string LayersComment(const v1::Stage& stage, const std::vector<std::string>& names) {
  if (stage.end_layer() > names.size()) return "";
  constexpr uint32_t kShown = 8;
  const std::vector<std::string> shown(names.begin() + stage.first_layer(),
                                       names.begin() + std::min(stage.end_layer(), stage.first_layer() + kShown));
  const uint32_t layers = stage.end_layer() - stage.first_layer();
  std::string text = absl::StrCat("  # ", absl::StrJoin(shown, " "));
  if (layers > kShown) absl::StrAppend(&text, " ... ", names[stage.end_layer() - 1]);
  return text;
}

}  // namespace

v1::Plan ReadPlanNode(const YamlNode& node, const std::string& path, YamlErrors* errors) {
  v1::Plan plan;
  if (IsOfAnotherKind(FileKind::kPlan, node, errors)) return plan;
  YamlMapping mapping(&node, path, errors);
  mapping.Require({"version", "kind", "micro_batches", "stages"});
  mapping.Integer("version", 1, 1);
  mapping.Choice("kind", {"plan"});
  plan.set_micro_batches(static_cast<uint32_t>(mapping.Integer("micro_batches", 1, kMaxMicroBatches).value_or(1)));
  const bool has_lists = mapping.Has("train");
  plan.set_schedule(mapping.Choice("schedule", PlanSchedules()).value_or(std::string(kCustomSchedule)));
  if (plan.schedule() == kCustomSchedule && !has_lists && errors->Sound(mapping.PathOf("schedule"))) {
    errors->AddAtKey(node, mapping.PathOf("train"), "a plan needs a 'schedule' by name, or the lists of 'train'", 1);
  }
  if (const std::vector<YamlNode>* stages = mapping.Sequence("stages")) {
    const std::string stages_path = mapping.PathOf("stages");
    if (stages->empty()) errors->Add(*mapping.Find("stages"), stages_path, "'stages' must have at least one");
    ReadStages(*stages, stages_path, errors, &plan);
  }
  if (const std::vector<YamlNode>* lists = mapping.Sequence("train")) {
    uint32_t ranks = 0;
    for (const v1::Stage& stage : plan.stages()) ranks = std::max(ranks, stage.rank() + 1);
    if (lists->size() != ranks && errors->Sound(mapping.PathOf("stages"))) {
      errors->Add(*mapping.Find("train"), mapping.PathOf("train"),
                  absl::StrCat("'train' has ", lists->size(), " lists for ", ranks,
                               " ranks; leave it out to have them made from 'schedule'"));
    }
    const int before = errors->diagnostics()->count();
    const WrittenLists written = ReadLists(*lists, mapping.PathOf("train"), errors, &plan);
    const bool sound = errors->diagnostics()->count() == before && errors->Sound(mapping.PathOf("stages")) &&
                       errors->Sound(mapping.PathOf("train")) && errors->Sound(mapping.PathOf("micro_batches"));
    if (sound) CheckLists(written, plan, *mapping.Find("train"), mapping.PathOf("train"), errors);
  }
  mapping.Finish();
  return plan;
}

absl::StatusOr<v1::Plan> ReadPlanFile(const std::string& path) {
  Diagnostics diagnostics;
  PENSTOCK_ASSIGN_OR_RETURN(const YamlNode root, ReadYamlFile(path, &diagnostics));
  if (!diagnostics.ok()) return diagnostics.ToStatus();
  YamlErrors errors(&diagnostics);
  v1::Plan plan = ReadPlanNode(root, "", &errors);
  PENSTOCK_RETURN_IF_ERROR(diagnostics.ToStatus());
  return plan;
}

std::string PlanToYaml(const v1::Plan& plan, const std::vector<std::string>& layer_names) {
  std::string text = absl::StrCat(
      "# Edit it and give it back to a job as `pipeline: {plan: FILE}`.\n"
      "version: 1\n"
      "kind: plan\n"
      "micro_batches: ",
      plan.micro_batches(), "\n", "schedule: ", plan.schedule(), "\n", "stages:\n");
  for (const v1::Stage& stage : plan.stages()) {
    absl::StrAppend(&text, "  - {layers: ", stage.end_layer() - stage.first_layer(), ", rank: ", stage.rank(), "}",
                    LayersComment(stage, layer_names), "\n");
  }
  if (plan.train_size() == 0) return text;
  absl::StrAppend(&text,
                  "# What each rank runs in a step: <stage><kind><micro-batch>, with kind F forward, B backward,\n"
                  "# I and W its two parts, R recompute; '&' joins a pair. Without these lists they are made from\n"
                  "# `schedule`; take them out to change its name, micro_batches or the stages' number.\n"
                  "train:\n");
  for (const v1::RankActions& proto : plan.train()) {
    ActionList list;
    for (const v1::Action& item : proto.actions()) {
      const absl::StatusOr<Action> action = FromProto(item);
      if (action.ok() && IsCompute(action->kind)) list.push_back(*action);
    }
    absl::StrAppend(&text, "  - [", absl::StrJoin(ToWords(list), ", "), "]\n");
  }
  return text;
}

}  // namespace penstock
