// A plan as a file that a person edits: what `penstock plan -o yaml` writes and `pipeline.plan: FILE` reads back.
// Source: docs/schedules.md, "The plan file".
#ifndef PENSTOCK_SPEC_PLAN_FILE_H_
#define PENSTOCK_SPEC_PLAN_FILE_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/yaml.h"
#include "proto/plan.pb.h"

namespace penstock {

// Reads and checks a plan file: keys, types, and the text of each action. The plan has what the file says: stages, the
// schedule's name, micro-batches, and the training lists if the file has them. Everything else (lists from the name,
// sends and receives, forward-only lists, costs) is filled in by MakePlan, which also checks it against the model.
// Errors: InvalidArgument: every fault as "file:line:column: error: ..." (common/diagnostic.h). NotFound: no such file.
absl::StatusOr<v1::Plan> ReadPlanFile(const std::string& path);

// The same for a plan that stands inside another file, as a resolved job has it. Adds its errors to `errors`; what it
// returns is whole only if there were none.
// Args: path: of the node, for errors: "pipeline.plan"; "" for a file of its own.
v1::Plan ReadPlanNode(const YamlNode& node, const std::string& path, YamlErrors* errors);

// The plan as a plan file. Training lists are written as their compute actions alone: sends and receives follow from
// them. ReadPlanFile reads it back, and MakePlan completes it to an equal plan.
// Args: layer_names: the model's, in order; they become comments beside each stage; may be empty.
std::string PlanToYaml(const v1::Plan& plan, const std::vector<std::string>& layer_names);

}  // namespace penstock

#endif  // PENSTOCK_SPEC_PLAN_FILE_H_
