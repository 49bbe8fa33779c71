// job.yaml -> v1::JobSpec, checked and resolved: defaults filled in, `repeat` unrolled, names given, paths absolute.
#ifndef PENSTOCK_SPEC_JOB_FILE_H_
#define PENSTOCK_SPEC_JOB_FILE_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "proto/job.pb.h"

namespace penstock {

// Reads and checks a job file, the model's shapes and the data files included: that they are there, hold enough, and,
// as far as that is quick to see, nothing that the model cannot take. Args:    overrides: "key=value" as `--set` takes
// them ("train.steps=10", "pipeline.split=[2,6]"), checked like
//          the file; their place in errors is "--set train.steps". data_notes: takes a sentence for each data file
//          about how much of it was looked at; may be null.
// Errors:  InvalidArgument: every fault, as common/diagnostic.h prints them. NotFound: no such file.
absl::StatusOr<v1::JobSpec> ReadJobFile(const std::string& path, const std::vector<std::string>& overrides = {},
                                        std::vector<std::string>* data_notes = nullptr);

// The resolved job as YAML: ReadJobFile would read it back to the same spec.
std::string ToYaml(const v1::JobSpec& spec);

// What only the spec itself can tell, for a coordinator that did not read the file: the same checks as ReadJobFile's
// but those of YAML. Errors: InvalidArgument with every fault.
absl::Status CheckJobSpec(const v1::JobSpec& spec);

}  // namespace penstock

#endif  // PENSTOCK_SPEC_JOB_FILE_H_
