// The section `train:` of a job file. Types and keys only: whether the values make sense together is
// spec/train_check.h's. Absent keys leave the default of docs/reference.md. Pure.
#ifndef PENSTOCK_SPEC_TRAIN_SECTION_H_
#define PENSTOCK_SPEC_TRAIN_SECTION_H_

#include <string>

#include "common/yaml.h"
#include "proto/job.pb.h"
#include "proto/model.pb.h"

namespace penstock {

// Args: model: takes what the section says of it: the type that layers compute in, and which parameters are frozen.
v1::Train ReadTrainSection(YamlMapping section, YamlErrors* errors, v1::Model* model);

// The section as YAML, which reads back to the same.
std::string TrainToYaml(const v1::Train& train, const v1::Model& model);

}  // namespace penstock

#endif  // PENSTOCK_SPEC_TRAIN_SECTION_H_
