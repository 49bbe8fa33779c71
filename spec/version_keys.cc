#include "spec/version_keys.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace penstock {

std::optional<std::string> ChoiceOfVersion(YamlMapping* section, absl::string_view key,
                                           const std::vector<std::string>& has, const std::vector<std::string>& later,
                                           YamlErrors* errors) {
  const YamlNode* node = section->Find(key);
  if (node == nullptr) return std::nullopt;
  const bool is_later = node->IsScalar() && std::find(later.begin(), later.end(), node->text) != later.end();
  if (!is_later) return section->Choice(key, has);
  const std::string path = section->PathOf(key);
  errors->Add(*node, path,
              absl::StrCat(path, ": this version does not have '", node->text, "': it has ", absl::StrJoin(has, ", ")));
  return std::nullopt;
}

void OnlyNeutral(YamlMapping* section, absl::string_view key, absl::string_view neutral, absl::string_view sentence,
                 YamlErrors* errors) {
  const YamlNode* node = section->Find(key);
  if (node == nullptr || (node->IsScalar() && node->text == neutral)) return;
  const std::string path = section->PathOf(key);
  errors->Add(*node, path,
              absl::StrCat(path, ": this version does not have ", sentence, ": leave it out, or write ", neutral));
}

}  // namespace penstock
