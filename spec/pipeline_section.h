// The section `pipeline:` of a job file. Types and keys only: whether the values make sense together is
// spec/job_check.h's. Pure but for the files that it names.
#ifndef PENSTOCK_SPEC_PIPELINE_SECTION_H_
#define PENSTOCK_SPEC_PIPELINE_SECTION_H_

#include <string>

#include "common/yaml.h"
#include "proto/job.pb.h"

namespace penstock {

// Reads the plan's or the schedule's file too, if one is named; its faults are added with their places in that file.
v1::Pipeline ReadPipelineSection(YamlMapping section, const std::string& folder, YamlErrors* errors);

// The section as YAML, which reads back to the same.
std::string PipelineToYaml(const v1::Pipeline& pipeline);

}  // namespace penstock

#endif  // PENSTOCK_SPEC_PIPELINE_SECTION_H_
