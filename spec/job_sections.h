// The sections of a job file but `model:`, `pipeline:` and `train:`, each read from its mapping. Types and keys only:
// whether the values make sense together is spec/job_check.h's. Absent keys leave the default of docs/reference.md.
// Pure.
#ifndef PENSTOCK_SPEC_JOB_SECTIONS_H_
#define PENSTOCK_SPEC_JOB_SECTIONS_H_

#include <string>

#include "common/yaml.h"
#include "proto/job.pb.h"

namespace penstock {

// `path` as an absolute one: a relative path is taken from `folder`.
std::string AbsolutePath(const std::string& folder, const std::string& path);

v1::Data ReadDataSection(YamlMapping section, const std::string& folder, YamlErrors* errors);
v1::Eval ReadEvalSection(YamlMapping section, YamlErrors* errors);
v1::Checkpoint ReadCheckpointSection(YamlMapping section, const std::string& folder, YamlErrors* errors);
v1::Log ReadLogSection(YamlMapping section, YamlErrors* errors);
v1::Transport ReadTransportSection(YamlMapping section);

}  // namespace penstock

#endif  // PENSTOCK_SPEC_JOB_SECTIONS_H_
