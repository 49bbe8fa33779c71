// Keys and values that are known by name, but not had by this version. Pure.
#ifndef PENSTOCK_SPEC_VERSION_KEYS_H_
#define PENSTOCK_SPEC_VERSION_KEYS_H_

#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "common/yaml.h"

namespace penstock {

// A choice of which this version has only some: the others are known by name, so that the error can say so.
std::optional<std::string> ChoiceOfVersion(YamlMapping* section, absl::string_view key,
                                           const std::vector<std::string>& has, const std::vector<std::string>& later,
                                           YamlErrors* errors);

// A key that this version has only with its neutral value.
void OnlyNeutral(YamlMapping* section, absl::string_view key, absl::string_view neutral, absl::string_view sentence,
                 YamlErrors* errors);

}  // namespace penstock

#endif  // PENSTOCK_SPEC_VERSION_KEYS_H_
