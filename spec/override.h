// `--set key=value`: changes to a file's tree before it is read. Pure.
// Source: docs/reference.md, "--set".
#ifndef PENSTOCK_SPEC_OVERRIDE_H_
#define PENSTOCK_SPEC_OVERRIDE_H_

#include <string>

#include "common/diagnostic.h"
#include "common/yaml.h"

namespace penstock {

// Sets the value at a dotted path: "train.steps=10", "pipeline.split=[2,6]", "model.layers.0.embedding.dim=64".
// Mappings on the way are made where they are absent; a number picks an item of a list that has it.
// The value's place in later errors is "--set KEY", and so is that of an item of a list in which it stands. Adds an
// error there if the text is no key=value, the value is not YAML, or the path leads through something else than a
// mapping or a list.
void ApplyOverride(const std::string& text, YamlNode* root, Diagnostics* diagnostics);

}  // namespace penstock

#endif  // PENSTOCK_SPEC_OVERRIDE_H_
