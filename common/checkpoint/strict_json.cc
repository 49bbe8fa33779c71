#include "common/checkpoint/strict_json.h"

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"

namespace penstock {
namespace {

using Json = nlohmann::json;

// Builds the value while nlohmann's parser reports what it meets; the first false ends the parse.
class StrictBuilder final : public nlohmann::json_sax<Json> {
 public:
  explicit StrictBuilder(int max_depth) : max_depth_(max_depth) {}

  bool null() override { return Put(nullptr); }
  bool boolean(bool value) override { return Put(value); }
  bool number_integer(number_integer_t value) override { return Put(value); }
  bool number_unsigned(number_unsigned_t value) override { return Put(value); }
  bool number_float(number_float_t value, const string_t&) override { return Put(value); }
  bool string(string_t& value) override { return Put(std::move(value)); }
  bool binary(binary_t&) override { return Fail("binary data"); }

  bool start_object(std::size_t) override { return Open(Json::object()); }
  bool start_array(std::size_t) override { return Open(Json::array()); }
  bool end_object() override { return Close(); }
  bool end_array() override { return Close(); }

  bool key(string_t& name) override {
    if (open_.back()->contains(name)) return Fail(absl::StrCat("the name '", name, "' stands twice"));
    key_ = std::move(name);
    return true;
  }

  bool parse_error(std::size_t position, const std::string&, const Json::exception&) override {
    return Fail(absl::StrCat("not well-formed JSON at byte ", position));
  }

  const std::string& fault() const { return fault_; }
  Json Take() { return std::move(root_); }

 private:
  Json* Add(Json value) {
    if (open_.empty()) {
      root_ = std::move(value);
      return &root_;
    }
    Json& parent = *open_.back();
    if (parent.is_array()) {
      parent.push_back(std::move(value));
      return &parent.back();
    }
    return &(parent[key_] = std::move(value));
  }

  bool Put(Json value) {
    Add(std::move(value));
    return true;
  }

  // A pointer to an open container stays valid: its parent gets nothing more until it is closed.
  bool Open(Json value) {
    if (static_cast<int>(open_.size()) >= max_depth_) return Fail(absl::StrCat("nested deeper than ", max_depth_));
    open_.push_back(Add(std::move(value)));
    return true;
  }

  bool Close() {
    open_.pop_back();
    return true;
  }

  bool Fail(std::string fault) {
    if (fault_.empty()) fault_ = std::move(fault);
    return false;
  }

  const int max_depth_;
  Json root_;
  std::vector<Json*> open_;
  std::string key_;
  std::string fault_;
};

}  // namespace

absl::StatusOr<nlohmann::json> ParseStrictJson(absl::string_view text, int max_depth) {
  // The parser takes a NUL for the end of the text, and would not look at what follows.
  if (const size_t nul = text.find('\0'); nul != absl::string_view::npos) {
    return absl::DataLossError(absl::StrCat("not well-formed JSON at byte ", nul + 1));
  }
  StrictBuilder builder(max_depth);
  if (!Json::sax_parse(text.begin(), text.end(), &builder)) return absl::DataLossError(builder.fault());
  return builder.Take();
}

}  // namespace penstock
