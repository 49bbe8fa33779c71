// A schedule that a person wrote, action by action: `pipeline: {schedule: {csv: FILE}}`.
// Source: docs/schedules.md, "Schedules of one's own".
#ifndef PENSTOCK_SPEC_SCHEDULE_CSV_H_
#define PENSTOCK_SPEC_SCHEDULE_CSV_H_

#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "common/action.h"
#include "common/yaml.h"
#include "proto/job.pb.h"

namespace penstock {

// Reads the lists and checks them whole, as the planner will. Faults are added with their places: a cell's line and
// column in its file, a word's in the job for lists that stand there, as a resolved job has them.
// Args:    node: of `csv`: a file's name, taken from `folder`, or a list of lists of words. path: its dotted path.
//          micro_batches: how many there must be; none: unknown, then it is not checked.
// Returns: into `pipeline`: csv; and how many stages the lists have, if they could be read.
std::optional<int> ReadScheduleCsv(const YamlNode& node, const std::string& path, const std::string& folder,
                                   std::optional<int> micro_batches, YamlErrors* errors, v1::Pipeline* pipeline);

// The lists of a file alone, checked whole; they have as many micro-batches as the highest says.
// Errors: InvalidArgument: every fault as "file:line:column: error: ..."; NotFound and others: no such file.
absl::StatusOr<ActionTable> ReadScheduleCsvFile(const std::string& file);

// The lists as the value of `csv` in a job file: "[[0F0, 0B0], [1F0, 1B0]]".
std::string ScheduleCsvToYaml(const v1::Pipeline& pipeline);

}  // namespace penstock

#endif  // PENSTOCK_SPEC_SCHEDULE_CSV_H_
