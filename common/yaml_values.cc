// The half of common/yaml.h that knows no yaml-cpp: conversions, and reading a mapping key by key.
#include <algorithm>
#include <cmath>
#include <set>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "common/yaml.h"

namespace penstock {
namespace {

v1::SourceLocation MakeLocation(const YamlNode& node, uint32_t line, uint32_t column) {
  v1::SourceLocation at;
  if (node.file) at.set_file(*node.file);
  at.set_line(line);
  at.set_column(column);
  return at;
}

// Adds "PATH: expected WHAT, found ...". Returns nullopt, for any conversion to return.
std::nullopt_t Expected(absl::string_view what, const YamlNode& node, absl::string_view path, YamlErrors* errors) {
  errors->Add(node, path, absl::StrCat(path, ": expected ", what, ", found ", node.Describe()));
  return std::nullopt;
}

bool IsPlain(const YamlNode& node) { return node.IsScalar() && !node.quoted; }

// "at least 1", "between 0 and 9", of a bounded range.
std::string RangeText(int64_t min, int64_t max) {
  if (max == INT64_MAX) return absl::StrCat("at least ", min);
  if (min == INT64_MIN) return absl::StrCat("at most ", max);
  return absl::StrCat("between ", min, " and ", max);
}

bool HasPrefixPath(absl::string_view path, absl::string_view prefix) {
  return path.size() > prefix.size() && path.substr(0, prefix.size()) == prefix &&
         (path[prefix.size()] == '.' || path[prefix.size()] == '[');
}

template <typename T, typename Convert>
std::optional<std::vector<T>> ToList(const YamlNode& node, absl::string_view path, YamlErrors* errors,
                                     absl::string_view what, const Convert& convert) {
  if (!node.IsSequence()) return Expected(what, node, path, errors);
  std::vector<T> values;
  bool whole = true;
  for (size_t i = 0; i < node.items.size(); ++i) {
    const std::optional<T> value = convert(node.items[i], absl::StrCat(path, "[", i, "]"));
    if (value) values.push_back(*value);
    whole = whole && value.has_value();
  }
  if (!whole) return std::nullopt;
  return values;
}

}  // namespace

v1::SourceLocation YamlNode::At() const { return MakeLocation(*this, line, column); }
v1::SourceLocation YamlNode::KeyAt() const { return MakeLocation(*this, key_line, key_column); }

const YamlNode* YamlNode::Find(absl::string_view key) const {
  if (!IsMapping()) return nullptr;
  for (size_t i = 0; i < keys.size() && i < items.size(); ++i) {
    if (keys[i] == key) return &items[i];
  }
  return nullptr;
}

std::string YamlNode::Describe() const {
  switch (kind) {
    case Kind::kNull:
      return "nothing";
    case Kind::kSequence:
      return "a list";
    case Kind::kMapping:
      return "a mapping";
    case Kind::kScalar:
      break;
  }
  const std::string shown = text.size() <= 60 ? text : absl::StrCat(text.substr(0, 57), "...");
  return absl::StrCat(quoted ? "the text '" : "'", absl::CEscape(shown), "'");
}

int YamlNode::Length() const {
  if (!IsScalar()) return 1;
  // Quotes are part of what is underlined; a block text is not.
  const size_t length = text.size() + (quoted ? 2 : 0);
  return text.find('\n') == std::string::npos ? static_cast<int>(std::clamp<size_t>(length, 1, 200)) : 1;
}

void YamlErrors::Add(const YamlNode& node, absl::string_view path, absl::string_view message) {
  diagnostics_->Error(node.At(), message, node.Length());
  faulty_.insert(std::string(path));
}

void YamlErrors::AddAtKey(const YamlNode& node, absl::string_view path, absl::string_view message, int length) {
  diagnostics_->Error(node.KeyAt(), message, length);
  faulty_.insert(std::string(path));
}

bool YamlErrors::Sound(absl::string_view path) const {
  return std::none_of(faulty_.begin(), faulty_.end(), [&](const std::string& faulty) {
    return faulty == path || HasPrefixPath(path, faulty) || HasPrefixPath(faulty, path);
  });
}

std::optional<std::string> ToText(const YamlNode& node, absl::string_view path, YamlErrors* errors) {
  if (!node.IsScalar()) return Expected("text", node, path, errors);
  return node.text;
}

std::optional<int64_t> ToInteger(const YamlNode& node, absl::string_view path, YamlErrors* errors, int64_t min,
                                 int64_t max) {
  int64_t value = 0;
  if (!IsPlain(node) || !absl::SimpleAtoi(node.text, &value)) {
    return Expected("a whole number", node, path, errors);
  }
  if (value >= min && value <= max) return value;
  errors->Add(node, path, absl::StrCat(path, " is ", value, ": it must be ", RangeText(min, max)));
  return std::nullopt;
}

std::optional<double> ToNumber(const YamlNode& node, absl::string_view path, YamlErrors* errors) {
  double value = 0;
  // SimpleAtod takes "inf" and "nan", and makes infinity of what is too large.
  const bool number = IsPlain(node) && absl::SimpleAtod(node.text, &value);
  if (!number || !std::isfinite(value)) return Expected("a number", node, path, errors);
  return value;
}

std::optional<bool> ToFlag(const YamlNode& node, absl::string_view path, YamlErrors* errors) {
  if (IsPlain(node) && node.text == "true") return true;
  if (IsPlain(node) && node.text == "false") return false;
  return Expected("true or false", node, path, errors);
}

std::optional<absl::Duration> ToDuration(const YamlNode& node, absl::string_view path, YamlErrors* errors) {
  absl::Duration duration;
  const bool parsed = node.IsScalar() && absl::ParseDuration(node.text, &duration);
  if (!parsed || duration < absl::ZeroDuration() || duration == absl::InfiniteDuration()) {
    return Expected("a duration such as 200ms or 2s", node, path, errors);
  }
  return duration;
}

std::optional<uint64_t> ToSize(const YamlNode& node, absl::string_view path, YamlErrors* errors) {
  static constexpr std::pair<absl::string_view, double> kUnits[] = {
      {"", 1},      {"B", 1},        {"kB", 1e3},     {"KB", 1e3},     {"MB", 1e6},    {"GB", 1e9},
      {"TB", 1e12}, {"KiB", 0x1p10}, {"MiB", 0x1p20}, {"GiB", 0x1p30}, {"TiB", 0x1p40}};
  if (node.IsScalar()) {
    const size_t digits = std::min(node.text.find_first_not_of("0123456789."), node.text.size());
    const absl::string_view unit = absl::StripAsciiWhitespace(absl::string_view(node.text).substr(digits));
    double count = 0;
    for (const auto& [name, factor] : kUnits) {
      if (name != unit || !absl::SimpleAtod(node.text.substr(0, digits), &count)) continue;
      const double bytes = std::floor(count * factor);
      if (bytes < 0x1p62) return static_cast<uint64_t>(bytes);
    }
  }
  return Expected("a size such as 78GiB or 512MiB", node, path, errors);
}

std::optional<std::string> ToChoice(const YamlNode& node, absl::string_view path, YamlErrors* errors,
                                    const std::vector<std::string>& choices) {
  const std::string what = absl::StrCat("one of ", absl::StrJoin(choices, ", "));
  if (!node.IsScalar()) return Expected(what, node, path, errors);
  if (std::find(choices.begin(), choices.end(), node.text) != choices.end()) return node.text;
  const std::string nearest = NearestWord(node.text, choices);
  errors->Add(node, path,
              absl::StrCat(path, ": expected ", what, ", found ", node.Describe(),
                           nearest.empty() ? "" : absl::StrCat("; did you mean '", nearest, "'?")));
  return std::nullopt;
}

std::optional<std::vector<int64_t>> ToIntegers(const YamlNode& node, absl::string_view path, YamlErrors* errors,
                                               int64_t min, int64_t max) {
  return ToList<int64_t>(
      node, path, errors, "a list of whole numbers",
      [&](const YamlNode& item, const std::string& item_path) { return ToInteger(item, item_path, errors, min, max); });
}

std::optional<std::vector<double>> ToNumbers(const YamlNode& node, absl::string_view path, YamlErrors* errors) {
  return ToList<double>(
      node, path, errors, "a list of numbers",
      [&](const YamlNode& item, const std::string& item_path) { return ToNumber(item, item_path, errors); });
}

std::string YamlText(absl::string_view text) {
  // Plain: begins with a letter or '/', goes on with what has no meaning in YAML, and is no word that has one.
  const auto plain = [](char c) {
    return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '-' || c == '.' || c == '/';
  };
  static const std::set<std::string> kWords = {"true", "false", "null", "yes", "no", "on",
                                               "off",  "y",     "n",    "nan", "inf"};
  const bool safe = !text.empty() && (absl::ascii_isalpha(static_cast<unsigned char>(text[0])) || text[0] == '/') &&
                    std::all_of(text.begin(), text.end(), plain) && !kWords.contains(absl::AsciiStrToLower(text));
  if (safe) return std::string(text);
  std::string out = "\"";
  for (char c : text) {
    const unsigned char byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += {'\\', c};
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\t') {
      out += "\\t";
    } else if (byte < 0x20 || byte == 0x7F) {
      absl::StrAppend(&out, absl::StrFormat("\\x%02x", byte));
    } else {
      out += c;
    }
  }
  return out + "\"";
}

std::string YamlNumber(double number) {
  std::string text = absl::StrFormat("%.15g", number);
  double back = 0;
  if (!absl::SimpleAtod(text, &back) || back != number) text = absl::StrFormat("%.17g", number);
  return text;
}

}  // namespace penstock
