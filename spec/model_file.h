// The `model:` section of a job file. Pure.
// Source: docs/models.md.
#ifndef PENSTOCK_SPEC_MODEL_FILE_H_
#define PENSTOCK_SPEC_MODEL_FILE_H_

#include <set>
#include <string>

#include "common/yaml.h"
#include "proto/job.pb.h"
#include "proto/model.pb.h"

namespace penstock {

struct ModelSection {
  v1::Model model;                      // `repeat` unrolled, names given; optional fields as the file has them
  std::set<std::string> faulty_layers;  // names of those with errors in their keys: nothing more is to be said of them
  bool whole = false;                   // the list of layers could be read to its end
};

// Reads the model section.
// Args: data: the data section, resolved: text and tokens give the model's input its shape.
ModelSection ReadModelSection(YamlMapping section, const v1::Data& data, YamlErrors* errors);

// The model section as YAML, indented by two: layers unrolled, with their names and every optional key.
std::string ModelToYaml(const v1::Model& model);

}  // namespace penstock

#endif  // PENSTOCK_SPEC_MODEL_FILE_H_
