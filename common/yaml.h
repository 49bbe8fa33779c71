// Strict reading of YAML: every key known and given once, every value of the type that is asked for, every error with
// its place, all of a file's errors in one run. The only place that sees yaml-cpp, and that catches its exceptions.
// Thread-compatible.
#ifndef PENSTOCK_COMMON_YAML_H_
#define PENSTOCK_COMMON_YAML_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "common/diagnostic.h"
#include "proto/model.pb.h"

namespace penstock {

// A value of a file, and where it stands. Anchors are already followed.
struct YamlNode {
  enum class Kind { kNull, kScalar, kSequence, kMapping };

  Kind kind = Kind::kNull;
  std::string text;               // of a scalar
  bool quoted = false;            // of a scalar: then it is a text, whatever it looks like
  std::vector<std::string> keys;  // of a mapping, in the file's order; items[i] belongs to keys[i]
  std::vector<YamlNode> items;    // of a sequence or a mapping

  std::shared_ptr<const std::string> file;
  uint32_t line = 0, column = 0;          // from 1; 0: unknown
  uint32_t key_line = 0, key_column = 0;  // of its key, if it is a mapping's value; else the same as its own

  v1::SourceLocation At() const;
  v1::SourceLocation KeyAt() const;
  bool IsScalar() const { return kind == Kind::kScalar; }
  bool IsSequence() const { return kind == Kind::kSequence; }
  bool IsMapping() const { return kind == Kind::kMapping; }

  // The value of `key` in a mapping; null if there is none.
  const YamlNode* Find(absl::string_view key) const;

  // "'abc'", "the text '5'", "a list", "a mapping", "nothing": for errors.
  std::string Describe() const;
  // How many characters an error about it underlines.
  int Length() const;
};

// Parses one YAML document; an empty one is a null node. Adds an error for a syntax error, duplicate keys, merge keys
// (`<<`), explicit tags, keys that are not scalars, a second document, and for what is too large or too deep once its
// aliases are followed. Returns what could be read; nullopt if nothing.
std::optional<YamlNode> ParseYaml(const std::string& text, const std::string& file, Diagnostics* diagnostics);

// Reads a file and parses it.
// Errors: NotFound: no such file. InvalidArgument: a folder, or larger than limits::kMaxYamlBytes. What ParseYaml finds
//         goes to `diagnostics`; then the answer is a null node.
absl::StatusOr<YamlNode> ReadYamlFile(const std::string& path, Diagnostics* diagnostics);

// Errors of a reading, with the dotted paths they concern, so that a later check says nothing more of a faulty value.
class YamlErrors {
 public:
  explicit YamlErrors(Diagnostics* diagnostics) : diagnostics_(diagnostics) {}

  // Adds an error at the node, and marks `path` ("train.steps") as faulty.
  void Add(const YamlNode& node, absl::string_view path, absl::string_view message);
  // The same at the node's key.
  void AddAtKey(const YamlNode& node, absl::string_view path, absl::string_view message, int length);
  // Whether neither `path` nor anything that it is part of, or that is part of it, was found faulty.
  bool Sound(absl::string_view path) const;

  Diagnostics* diagnostics() const { return diagnostics_; }

 private:
  Diagnostics* diagnostics_;
  std::set<std::string> faulty_;
};

// Each conversion adds an error and returns nullopt if the node is something else. `path` names it in the error.
// Text: any scalar.
std::optional<std::string> ToText(const YamlNode& node, absl::string_view path, YamlErrors* errors);
// Integer: an unquoted whole number in [min, max].
std::optional<int64_t> ToInteger(const YamlNode& node, absl::string_view path, YamlErrors* errors,
                                 int64_t min = INT64_MIN, int64_t max = INT64_MAX);
// Number: an unquoted finite number. NaN and infinity are refused.
std::optional<double> ToNumber(const YamlNode& node, absl::string_view path, YamlErrors* errors);
// Flag: true or false, unquoted.
std::optional<bool> ToFlag(const YamlNode& node, absl::string_view path, YamlErrors* errors);
// Duration: a number and a unit, "200ms", "2s", "1m30s"; at least 0, finite.
std::optional<absl::Duration> ToDuration(const YamlNode& node, absl::string_view path, YamlErrors* errors);
// Size: bytes, "78GiB", "1.5GB", "512KiB", "4096".
std::optional<uint64_t> ToSize(const YamlNode& node, absl::string_view path, YamlErrors* errors);
// Choice: one of `choices`; the error lists them and names the nearest.
std::optional<std::string> ToChoice(const YamlNode& node, absl::string_view path, YamlErrors* errors,
                                    const std::vector<std::string>& choices);
// Lists of the above.
std::optional<std::vector<int64_t>> ToIntegers(const YamlNode& node, absl::string_view path, YamlErrors* errors,
                                               int64_t min = INT64_MIN, int64_t max = INT64_MAX);
std::optional<std::vector<double>> ToNumbers(const YamlNode& node, absl::string_view path, YamlErrors* errors);

// One mapping of a file, read key by key; Finish() reports the keys that nobody asked for.
//   YamlMapping train(root.Find("train"), "train", &errors);
//   train.Require({"steps"});
//   if (auto steps = train.Integer("steps", 0)) ...
//   train.Finish();
class YamlMapping {
 public:
  // Args: node: null for a mapping that is absent: it has no keys, and requires none. A node that is no mapping is an
  //       error, and then the same. Must outlive this.
  //       path: dotted, for errors; "" for the file itself.
  YamlMapping(const YamlNode* node, std::string path, YamlErrors* errors);

  bool present() const { return node_ != nullptr; }
  const std::string& path() const { return path_; }
  // "train.steps" for key "steps".
  std::string PathOf(absl::string_view key) const;

  // The key's value; null if it is absent or has no value (which is an error). Marks the key as known.
  const YamlNode* Find(absl::string_view key);
  bool Has(absl::string_view key) { return Find(key) != nullptr; }

  // Adds an error at the mapping's own key for each of these that is absent.
  void Require(const std::vector<std::string>& keys);
  // If the key is present: adds `message` as an error at it.
  void Refuse(absl::string_view key, absl::string_view message);

  std::optional<std::string> Text(absl::string_view key);
  std::optional<int64_t> Integer(absl::string_view key, int64_t min = INT64_MIN, int64_t max = INT64_MAX);
  std::optional<double> Number(absl::string_view key);
  std::optional<bool> Flag(absl::string_view key);
  std::optional<absl::Duration> Duration(absl::string_view key);
  std::optional<uint64_t> Size(absl::string_view key);
  std::optional<std::string> Choice(absl::string_view key, const std::vector<std::string>& choices);
  std::optional<std::vector<int64_t>> Integers(absl::string_view key, int64_t min = INT64_MIN, int64_t max = INT64_MAX);
  std::optional<std::vector<double>> Numbers(absl::string_view key);
  // The mapping under `key`; one that is absent if the key is.
  YamlMapping Mapping(absl::string_view key);
  // The sequence under `key`; null if it is absent or no sequence (which is an error).
  const std::vector<YamlNode>* Sequence(absl::string_view key);

  // Adds an error for each key that was never asked for, with the nearest one that was. Where that is one which was
  // required and missed, this is the one error of both.
  void Finish();

 private:
  std::string MissingText(absl::string_view key) const;

  const YamlNode* node_;  // null: absent
  std::string path_;
  YamlErrors* errors_;
  std::vector<std::string> known_, refused_;
};

// A text as a YAML scalar that reads back to it: plain where that is safe, else in double quotes.
std::string YamlText(absl::string_view text);
// A number as a YAML scalar that reads back to the same double.
std::string YamlNumber(double number);

}  // namespace penstock

#endif  // PENSTOCK_COMMON_YAML_H_
