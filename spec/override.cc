#include "spec/override.h"

#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "spec/job_check.h"

namespace penstock {
namespace {

v1::SourceLocation FileOnly(const std::string& file) {
  v1::SourceLocation at;
  at.set_file(file);
  return at;
}

// A command line has no lines.
void ForgetPlaces(YamlNode* node) {
  node->line = node->column = node->key_line = node->key_column = 0;
  for (YamlNode& item : node->items) ForgetPlaces(&item);
}

// Makes the node itself, not what is in it, stand in `file`.
void MoveTo(const std::shared_ptr<const std::string>& file, YamlNode* node) {
  node->file = file;
  node->line = node->column = node->key_line = node->key_column = 0;
}

// The place of `part` in `node`, made if a mapping has none; null with `problem` set if there can be none.
YamlNode* Step(const std::string& part, const std::string& way, YamlNode* node,
               const std::shared_ptr<const std::string>& file, std::string* problem) {
  const std::string subject = way.empty() ? "the file" : absl::StrCat("'", way, "'");
  if (node->IsSequence()) {
    size_t index = 0;
    if (absl::SimpleAtoi(part, &index) && index < node->items.size()) return &node->items[index];
    *problem = absl::StrCat(subject, " is a list of ", node->items.size(), " items: '", part, "' is none of them");
    return nullptr;
  }
  if (node->kind == YamlNode::Kind::kNull) node->kind = YamlNode::Kind::kMapping;
  if (!node->IsMapping()) {
    *problem = absl::StrCat(subject, " is ", node->Describe(), ": it has no key '", part, "'");
    return nullptr;
  }
  for (size_t i = 0; i < node->keys.size(); ++i) {
    if (node->keys[i] == part) return &node->items[i];
  }
  node->keys.push_back(part);
  node->items.emplace_back();
  node->items.back().file = file;
  return &node->items.back();
}

}  // namespace

void ApplyOverride(const std::string& text, YamlNode* root, Diagnostics* diagnostics) {
  const size_t equals = text.find('=');
  const std::string key = text.substr(0, equals);
  const std::string file = absl::StrCat(kOverridePrefix, key);
  const std::vector<std::string> parts = absl::StrSplit(key, '.');
  bool named = equals != std::string::npos;
  for (const std::string& part : parts) named = named && !part.empty();
  if (!named) {
    diagnostics->Error(FileOnly(absl::StrCat(kOverridePrefix, text)), "expected key=value, such as train.steps=10");
    return;
  }
  Diagnostics syntax;  // its places are lines of the value, which the user cannot see
  std::optional<YamlNode> value = ParseYaml(text.substr(equals + 1), file, &syntax);
  if (!value || !syntax.ok()) {
    diagnostics->Error(FileOnly(file), absl::StrCat("the value '", text.substr(equals + 1), "' is not valid YAML"));
    return;
  }
  ForgetPlaces(&*value);
  const auto file_name = std::make_shared<const std::string>(file);
  YamlNode* node = root;
  std::vector<std::string> way;
  bool in_list = false;
  for (const std::string& part : parts) {
    std::string problem;
    in_list |= node->IsSequence();
    node = Step(part, absl::StrJoin(way, "."), node, file_name, &problem);
    if (node == nullptr) {
      diagnostics->Error(FileOnly(file), problem);
      return;
    }
    way.push_back(part);
    // What is said of the whole item, a layer whose shape does not fit, is said of what was changed in it.
    if (in_list) MoveTo(file_name, node);
  }
  *node = *std::move(value);
}

}  // namespace penstock
