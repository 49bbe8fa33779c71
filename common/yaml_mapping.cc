// The part of common/yaml.h that reads a mapping key by key.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/yaml.h"

namespace penstock {
namespace {

bool Contains(const std::vector<std::string>& words, absl::string_view word) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

// " in 'pipeline'", nothing for the file itself.
std::string InPath(const std::string& path) { return path.empty() ? "" : absl::StrCat(" in '", path, "'"); }

}  // namespace

YamlMapping::YamlMapping(const YamlNode* node, std::string path, YamlErrors* errors)
    : node_(node), path_(std::move(path)), errors_(errors) {
  if (node_ == nullptr || node_->IsMapping()) return;
  const std::string subject = path_.empty() ? "the file" : path_;
  errors_->Add(*node_, path_, absl::StrCat(subject, ": expected a mapping (key: value), found ", node_->Describe()));
  node_ = nullptr;
}

std::string YamlMapping::PathOf(absl::string_view key) const {
  return path_.empty() ? std::string(key) : absl::StrCat(path_, ".", key);
}

const YamlNode* YamlMapping::Find(absl::string_view key) {
  const bool first = !Contains(known_, key);
  if (first) known_.push_back(std::string(key));
  const YamlNode* value = node_ == nullptr ? nullptr : node_->Find(key);
  if (value == nullptr || value->kind != YamlNode::Kind::kNull) return value;
  if (first) {
    errors_->AddAtKey(*value, PathOf(key), absl::StrCat("'", key, "'", InPath(path_), " has no value"),
                      static_cast<int>(key.size()));
  }
  return nullptr;
}

void YamlMapping::Require(const std::vector<std::string>& keys) {
  if (node_ == nullptr) return;
  for (const std::string& key : keys) {
    if (node_->Find(key) != nullptr) continue;
    const size_t dot = path_.rfind('.');
    const size_t length = path_.empty() ? 1 : path_.size() - (dot == std::string::npos ? 0 : dot + 1);
    errors_->AddAtKey(*node_, PathOf(key), MissingText(key), static_cast<int>(length));
  }
}

std::string YamlMapping::MissingText(absl::string_view key) const {
  return absl::StrCat("missing key '", key, "'", InPath(path_));
}

void YamlMapping::Refuse(absl::string_view key, absl::string_view message) {
  refused_.push_back(std::string(key));
  const YamlNode* value = node_ == nullptr ? nullptr : node_->Find(key);
  if (value != nullptr) errors_->AddAtKey(*value, PathOf(key), message, static_cast<int>(key.size()));
}

std::optional<std::string> YamlMapping::Text(absl::string_view key) {
  const YamlNode* value = Find(key);
  return value == nullptr ? std::nullopt : ToText(*value, PathOf(key), errors_);
}

std::optional<int64_t> YamlMapping::Integer(absl::string_view key, int64_t min, int64_t max) {
  const YamlNode* value = Find(key);
  return value == nullptr ? std::nullopt : ToInteger(*value, PathOf(key), errors_, min, max);
}

std::optional<double> YamlMapping::Number(absl::string_view key) {
  const YamlNode* value = Find(key);
  return value == nullptr ? std::nullopt : ToNumber(*value, PathOf(key), errors_);
}

std::optional<bool> YamlMapping::Flag(absl::string_view key) {
  const YamlNode* value = Find(key);
  return value == nullptr ? std::nullopt : ToFlag(*value, PathOf(key), errors_);
}

std::optional<absl::Duration> YamlMapping::Duration(absl::string_view key) {
  const YamlNode* value = Find(key);
  return value == nullptr ? std::nullopt : ToDuration(*value, PathOf(key), errors_);
}

std::optional<uint64_t> YamlMapping::Size(absl::string_view key) {
  const YamlNode* value = Find(key);
  return value == nullptr ? std::nullopt : ToSize(*value, PathOf(key), errors_);
}

std::optional<std::string> YamlMapping::Choice(absl::string_view key, const std::vector<std::string>& choices) {
  const YamlNode* value = Find(key);
  return value == nullptr ? std::nullopt : ToChoice(*value, PathOf(key), errors_, choices);
}

std::optional<std::vector<int64_t>> YamlMapping::Integers(absl::string_view key, int64_t min, int64_t max) {
  const YamlNode* value = Find(key);
  return value == nullptr ? std::nullopt : ToIntegers(*value, PathOf(key), errors_, min, max);
}

std::optional<std::vector<double>> YamlMapping::Numbers(absl::string_view key) {
  const YamlNode* value = Find(key);
  return value == nullptr ? std::nullopt : ToNumbers(*value, PathOf(key), errors_);
}

YamlMapping YamlMapping::Mapping(absl::string_view key) { return YamlMapping(Find(key), PathOf(key), errors_); }

const std::vector<YamlNode>* YamlMapping::Sequence(absl::string_view key) {
  const YamlNode* value = Find(key);
  if (value == nullptr || value->IsSequence()) return value == nullptr ? nullptr : &value->items;
  errors_->Add(*value, PathOf(key), absl::StrCat(PathOf(key), ": expected a list, found ", value->Describe()));
  return nullptr;
}

void YamlMapping::Finish() {
  if (node_ == nullptr) return;
  for (size_t i = 0; i < node_->keys.size() && i < node_->items.size(); ++i) {
    const std::string& key = node_->keys[i];
    if (Contains(known_, key) || Contains(refused_, key)) continue;
    const std::string nearest = NearestWord(key, known_);
    const std::string hint = nearest.empty() ? "" : absl::StrCat("; did you mean '", nearest, "'?");
    if (!nearest.empty()) errors_->diagnostics()->Withdraw(node_->KeyAt(), MissingText(nearest));
    errors_->AddAtKey(node_->items[i], PathOf(key), absl::StrCat("unknown key '", key, "'", InPath(path_), hint),
                      static_cast<int>(key.size()));
  }
}

}  // namespace penstock
