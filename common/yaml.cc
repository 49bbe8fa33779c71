#include "common/yaml.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/mark.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <sstream>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/limits.h"

namespace penstock {
namespace {

// Nodes of a document after its aliases are followed: a job of the largest model needs some ten thousand.
constexpr size_t kMaxNodes = 200'000;
// Nested values: a residual in a residual in a repeat needs about twenty.
constexpr size_t kMaxDepth = 64;

// Builds the tree from yaml-cpp's events. After a fault that leaves no tree (too large, too deep) it ignores the rest.
class Builder final : public YAML::EventHandler {
 public:
  Builder(const std::string& file, Diagnostics* diagnostics)
      : file_(std::make_shared<const std::string>(file)), diagnostics_(diagnostics) {}

  bool given_up() const { return given_up_; }
  bool has_root() const { return root_.has_value(); }
  YamlNode TakeRoot() { return std::move(*root_); }

  void Fault(const YAML::Mark& mark, const std::string& message, int length = 1) {
    YamlNode place;
    Place(mark, &place);
    diagnostics_->Error(place.At(), message, length);
  }

  void OnDocumentStart(const YAML::Mark&) override {}
  void OnDocumentEnd() override {}

  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    YamlNode node;
    Place(mark, &node);
    Leaf(mark, std::move(node), anchor);
  }

  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    CheckTag(mark, tag);
    YamlNode node;
    Place(mark, &node);
    node.kind = YamlNode::Kind::kScalar;
    node.text = value;
    node.quoted = tag == "!";
    Leaf(mark, std::move(node), anchor);
  }

  void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    if (given_up_) return;
    const auto it = anchors_.find(anchor);
    if (it == anchors_.end()) {  // an alias inside the value that it names
      Fault(mark, "an alias may not stand inside its own anchor");
      GiveUp();
      return;
    }
    if (!Count(mark, it->second.nodes) || !CheckDepth(mark, stack_.size() + it->second.depth)) return;
    if (!stack_.empty()) stack_.back().Contain(it->second.nodes, it->second.depth);
    Put(mark, it->second.node);
  }

  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    Open(mark, tag, anchor, YamlNode::Kind::kSequence);
  }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    Open(mark, tag, anchor, YamlNode::Kind::kMapping);
  }
  void OnSequenceEnd() override { Close(); }
  void OnMapEnd() override { Close(); }

 private:
  // A sequence or mapping that is still open.
  struct Frame {
    YamlNode node;
    YAML::Mark mark;
    YAML::anchor_t anchor;
    size_t nodes = 1, depth = 1;  // of the subtree
    bool has_key = false;         // mapping: a key waits for its value
    bool drop = false;            // mapping: that value belongs to a key that is an error
    YAML::Mark key_mark;
    std::map<std::string, int> key_lines;

    void Contain(size_t inner_nodes, size_t inner_depth) {
      nodes += inner_nodes;
      depth = std::max(depth, inner_depth + 1);
    }
  };
  struct Anchored {
    YamlNode node;
    size_t nodes, depth;
  };

  void Place(const YAML::Mark& mark, YamlNode* node) const {
    node->file = file_;
    if (mark.is_null()) return;
    node->line = node->key_line = static_cast<uint32_t>(mark.line) + 1;
    node->column = node->key_column = static_cast<uint32_t>(mark.column) + 1;
  }

  void GiveUp() {
    given_up_ = true;
    stack_.clear();
    root_.reset();
  }

  bool Count(const YAML::Mark& mark, size_t nodes) {
    nodes_ += nodes;
    if (nodes_ <= kMaxNodes) return true;
    Fault(mark, absl::StrCat("more than ", kMaxNodes, " values, aliases followed"));
    GiveUp();
    return false;
  }

  bool CheckDepth(const YAML::Mark& mark, size_t depth) {
    if (depth <= kMaxDepth) return true;
    Fault(mark, absl::StrCat("values are nested more than ", kMaxDepth, " deep"));
    GiveUp();
    return false;
  }

  // Plain and quoted scalars come as "?" and "!": anything else was written by the user.
  void CheckTag(const YAML::Mark& mark, const std::string& tag) {
    if (given_up_ || tag.empty() || tag == "?" || tag == "!") return;
    Fault(mark, absl::StrCat("tags are not used here: '", tag, "'"));
  }

  void Leaf(const YAML::Mark& mark, YamlNode node, YAML::anchor_t anchor) {
    if (given_up_ || !Count(mark, 1)) return;
    if (anchor != 0) anchors_[anchor] = {node, 1, 1};
    if (!stack_.empty()) stack_.back().Contain(1, 1);
    Put(mark, std::move(node));
  }

  void Open(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor, YamlNode::Kind kind) {
    CheckTag(mark, tag);
    if (given_up_ || !Count(mark, 1) || !CheckDepth(mark, stack_.size() + 1)) return;
    Frame frame;
    Place(mark, &frame.node);
    frame.node.kind = kind;
    frame.mark = mark;
    frame.anchor = anchor;
    stack_.push_back(std::move(frame));
  }

  void Close() {
    if (given_up_) return;
    Frame frame = std::move(stack_.back());
    stack_.pop_back();
    if (frame.anchor != 0) {
      if (!Count(frame.mark, frame.nodes)) return;  // the anchor keeps a copy
      anchors_[frame.anchor] = {frame.node, frame.nodes, frame.depth};
    }
    if (!stack_.empty()) stack_.back().Contain(frame.nodes, frame.depth);
    Put(frame.mark, std::move(frame.node));
  }

  // Puts a finished node where it belongs: the root, an item, a key, or a key's value.
  void Put(const YAML::Mark& mark, YamlNode node) {
    if (stack_.empty()) {
      root_ = std::move(node);
      return;
    }
    Frame& parent = stack_.back();
    if (parent.node.IsSequence()) {
      parent.node.items.push_back(std::move(node));
    } else if (!parent.has_key) {
      parent.has_key = true;
      parent.key_mark = mark;
      parent.drop = !TakeKey(mark, node, &parent);
    } else {
      parent.has_key = false;
      if (parent.drop) return;
      node.key_line = static_cast<uint32_t>(parent.key_mark.line) + 1;
      node.key_column = static_cast<uint32_t>(parent.key_mark.column) + 1;
      parent.node.items.push_back(std::move(node));
    }
  }

  // Whether the key may be used; its value follows.
  bool TakeKey(const YAML::Mark& mark, const YamlNode& key, Frame* parent) {
    if (!key.IsScalar()) {
      Fault(mark, absl::StrCat("a key must be a word, found ", key.Describe()));
      return false;
    }
    const int length = key.Length();
    if (key.text == "<<" && !key.quoted) {
      Fault(mark, "merge keys ('<<') are not used here: write the keys out", length);
      return false;
    }
    const auto [it, fresh] = parent->key_lines.try_emplace(key.text, mark.line + 1);
    if (!fresh) {
      Fault(mark, absl::StrCat("duplicate key '", key.text, "': it was given in line ", it->second), length);
      return false;
    }
    parent->node.keys.push_back(key.text);
    return true;
  }

  std::shared_ptr<const std::string> file_;
  Diagnostics* diagnostics_;
  std::vector<Frame> stack_;
  std::map<YAML::anchor_t, Anchored> anchors_;
  std::optional<YamlNode> root_;
  size_t nodes_ = 0;
  bool given_up_ = false;
};

}  // namespace

std::optional<YamlNode> ParseYaml(const std::string& text, const std::string& file, Diagnostics* diagnostics) {
  Builder builder(file, diagnostics);
  std::istringstream in(text);
  try {
    YAML::Parser parser(in);
    if (!parser.HandleNextDocument(builder)) {
      YamlNode empty;
      empty.file = std::make_shared<const std::string>(file);
      empty.line = empty.column = empty.key_line = empty.key_column = 1;
      return empty;
    }
    if (builder.given_up() || !builder.has_root()) return std::nullopt;
    YamlNode root = builder.TakeRoot();
    Diagnostics ignored;  // of what comes after the one document
    Builder rest(file, &ignored);
    if (parser.HandleNextDocument(rest)) {
      diagnostics->Error(root.At(), "the file holds more than one document ('---'): only one is read");
    }
    return root;
  } catch (const YAML::ParserException& error) {
    builder.Fault(error.mark, absl::StrCat("not valid YAML: ", error.msg));
  } catch (const YAML::Exception& error) {
    builder.Fault(error.mark, absl::StrCat("not valid YAML: ", error.msg));
  }
  return std::nullopt;
}

absl::StatusOr<YamlNode> ReadYamlFile(const std::string& path, Diagnostics* diagnostics) {
  std::error_code error;
  const std::filesystem::file_status status = std::filesystem::status(path, error);
  if (status.type() == std::filesystem::file_type::not_found) {
    return absl::NotFoundError(absl::StrCat(path, ": no such file"));
  }
  if (std::filesystem::is_directory(status)) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": is a folder, not a YAML file"));
  }
  std::ifstream in(path, std::ios::binary);
  if (!in) return absl::InvalidArgumentError(absl::StrCat(path, ": cannot be read"));
  std::string text(limits::kMaxYamlBytes + 1, '\0');
  in.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<size_t>(in.gcount()));
  if (text.size() > limits::kMaxYamlBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": larger than ", limits::kMaxYamlBytes >> 20, " MiB: not a file of this project's"));
  }
  std::optional<YamlNode> root = ParseYaml(text, path, diagnostics);
  if (root) return *std::move(root);
  YamlNode none;
  none.file = std::make_shared<const std::string>(path);
  return none;
}

}  // namespace penstock
