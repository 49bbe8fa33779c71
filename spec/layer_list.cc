#include "spec/layer_list.h"

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "common/limits.h"
#include "model/layer_kind.h"

namespace penstock {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using LayerList = google::protobuf::RepeatedPtrField<v1::Layer>;

// Reads the keys of a kind from the fields of its message: the message is the one list of what a kind has. A field
// that is neither `optional` nor a bool is required.
void ReadFields(YamlMapping* keys, Message* message) {
  const google::protobuf::Descriptor* descriptor = message->GetDescriptor();
  const google::protobuf::Reflection* reflection = message->GetReflection();
  for (int i = 0; i < descriptor->field_count(); ++i) {
    const FieldDescriptor* field = descriptor->field(i);
    const std::string& name = field->name();
    switch (field->cpp_type()) {
      case FieldDescriptor::CPPTYPE_INT64: {
        if (!field->has_presence()) keys->Require({name});
        if (const auto value = keys->Integer(name)) reflection->SetInt64(message, field, *value);
        break;
      }
      case FieldDescriptor::CPPTYPE_DOUBLE: {
        if (!field->has_presence()) keys->Require({name});
        if (const auto value = keys->Number(name)) reflection->SetDouble(message, field, *value);
        break;
      }
      case FieldDescriptor::CPPTYPE_BOOL: {
        if (const auto value = keys->Flag(name)) reflection->SetBool(message, field, *value);
        break;
      }
      default:
        break;  // a block: read by its own function
    }
  }
}

void ReadDelay(YamlMapping* keys, v1::Delay* delay) {
  const auto micros = [&](absl::string_view key) {
    return absl::ToInt64Microseconds(keys->Duration(key).value_or(absl::ZeroDuration()));
  };
  delay->set_forward_us(micros("forward"));
  delay->set_input_grad_us(micros("input_grad"));
  delay->set_weight_grad_us(micros("weight_grad"));
}

// The message of the kind, created in `layer`. REQUIRES: `kind` is one of KindNames().
Message* MutableKind(const std::string& kind, v1::Layer* layer) {
  const FieldDescriptor* field = v1::Layer::descriptor()->FindFieldByName(kind);
  return layer->GetReflection()->MutableMessage(layer, field);
}

// What is wrong with an item that is no layer, at `node`.
void UnknownKind(const YamlNode& node, const std::string& kind, bool at_key, YamlErrors* errors) {
  std::vector<std::string> candidates = KindNames();
  candidates.push_back("repeat");
  const std::string nearest = NearestWord(kind, candidates);
  const std::string hint = nearest.empty() ? "" : absl::StrCat("; did you mean '", nearest, "'?");
  const std::string message = absl::StrCat("unknown layer kind '", kind, "'", hint);
  if (at_key) {
    errors->AddAtKey(node, "model.layers", message, static_cast<int>(kind.size()));
  } else {
    errors->Add(node, "model.layers", message);
  }
}

std::vector<LayerItem> ReadBlock(YamlMapping* keys, YamlErrors* errors) {
  keys->Require({"block"});
  const std::vector<YamlNode>* block = keys->Sequence("block");
  if (block == nullptr) return {};
  if (block->empty()) errors->Add(*keys->Find("block"), keys->PathOf("block"), "'block' is an empty list");
  return ReadLayerItems(*block, errors);
}

// `from: NAME` or `from: [NAME, ...]`; a name may also be -N, the N-th layer before in the list.
void ReadFrom(YamlMapping* keys, YamlErrors* errors, v1::Layer* layer) {
  const YamlNode* from = keys->Find("from");
  if (from == nullptr) return;
  const std::string path = keys->PathOf("from");
  if (from->IsScalar()) {
    layer->add_from(ToText(*from, path, errors).value_or(""));
    return;
  }
  const std::vector<YamlNode>* names = keys->Sequence("from");
  if (names == nullptr) return;
  if (names->empty()) errors->Add(*from, path, "'from' is an empty list");
  for (const YamlNode& name : *names) layer->add_from(ToText(name, path, errors).value_or(""));
}

// {repeat: N, block: [...]}.
LayerItem ReadRepeat(const YamlNode& node, YamlErrors* errors) {
  LayerItem item;
  YamlMapping keys(&node, "repeat", errors);
  item.at = node.Find("repeat")->KeyAt();
  // Its value is a number, so that "repeat.repeat" would name it: the plain key reads better.
  const YamlNode* count = keys.Find("repeat");
  item.repeat = 1;
  if (count != nullptr) item.repeat = ToInteger(*count, "repeat", errors, 1, limits::kMaxLayers).value_or(1);
  item.inner = ReadBlock(&keys, errors);
  keys.Finish();
  return item;
}

// A layer of a known kind; `value` are its keys, or null for none.
LayerItem ReadLayer(const std::string& kind, const v1::SourceLocation& at, const YamlNode* value, YamlErrors* errors) {
  LayerItem item;
  *item.layer.mutable_at() = item.at = at;
  Message* message = MutableKind(kind, &item.layer);
  const YamlNode nothing = [&] {  // `- relu`: a mapping without keys, so that missing ones are found
    YamlNode node;
    node.kind = YamlNode::Kind::kMapping;
    node.file = std::make_shared<const std::string>(at.file());
    node.line = node.key_line = at.line();
    node.column = node.key_column = at.column();
    return node;
  }();
  const bool empty = value == nullptr || value->kind == YamlNode::Kind::kNull;
  const int before = errors->diagnostics()->count();
  YamlMapping keys(empty ? &nothing : value, kind, errors);
  if (keys.present()) {
    item.layer.set_name(keys.Text("name").value_or(""));
    item.layer.set_frozen(keys.Flag("frozen").value_or(false));
    ReadFrom(&keys, errors, &item.layer);
    if (kind == "delay") {
      ReadDelay(&keys, item.layer.mutable_delay());
    } else {
      ReadFields(&keys, message);
    }
    if (kind == "residual" || kind == "graph") item.inner = ReadBlock(&keys, errors);
    keys.Finish();
  }
  item.sound = errors->diagnostics()->count() == before;
  return item;
}

LayerItem ReadItem(const YamlNode& node, YamlErrors* errors) {
  const std::vector<std::string> kinds = KindNames();
  const auto known = [&](const std::string& kind) {
    return std::find(kinds.begin(), kinds.end(), kind) != kinds.end();
  };
  LayerItem faulty;
  faulty.at = node.At();
  *faulty.layer.mutable_at() = faulty.at;
  faulty.sound = false;
  if (node.IsScalar()) {
    if (known(node.text)) return ReadLayer(node.text, node.At(), nullptr, errors);
    UnknownKind(node, node.text, false, errors);
    return faulty;
  }
  if (!node.IsMapping() || node.keys.empty()) {
    errors->Add(node, "model.layers",
                absl::StrCat("expected a layer such as 'relu' or 'linear: {out: 10}', found ", node.Describe()));
    return faulty;
  }
  if (node.Find("repeat") != nullptr) return ReadRepeat(node, errors);
  const std::string& kind = node.keys[0];
  const YamlNode& value = node.items[0];
  if (!known(kind)) {
    UnknownKind(value, kind, true, errors);
    return faulty;
  }
  if (node.keys.size() > 1) {
    errors->AddAtKey(
        node.items[1], "model.layers",
        absl::StrCat("'", node.keys[1], "' stands beside the layer '", kind,
                     "': an item is one layer, and its keys stand inside it: ", kind, ": {", node.keys[1], ": ...}"),
        static_cast<int>(node.keys[1].size()));
  }
  LayerItem item = ReadLayer(kind, value.KeyAt(), &value, errors);
  item.sound = item.sound && node.keys.size() == 1;
  return item;
}

// "input" and "input.N" are no layers' names.
bool IsInput(absl::string_view name) { return name == "input" || absl::StartsWith(name, "input."); }

// Unrolls into one list; `total` counts layers over all lists.
class Unroller {
 public:
  Unroller(std::set<std::string>* faulty, Diagnostics* diagnostics) : faulty_(faulty), diagnostics_(diagnostics) {}

  // One list: the model's, or the block of a layer. Args: prefix: of every name, "" or "OUTER.".
  bool AppendList(const std::vector<LayerItem>& items, const std::string& prefix, LayerList* layers) {
    std::vector<std::string> suffixes;
    if (!Append(items, prefix, "", layers, &suffixes)) return false;
    ResolveNames(prefix, suffixes, layers);
    return true;
  }

 private:
  // Args: suffix: of given names, ".0.1" inside two repeats. suffixes: takes each layer's.
  bool Append(const std::vector<LayerItem>& items, const std::string& prefix, const std::string& suffix,
              LayerList* layers, std::vector<std::string>* suffixes) {
    for (const LayerItem& item : items) {
      if (item.repeat == 0) {
        suffixes->push_back(suffix);
        if (!AppendLayer(item, prefix, suffix, layers)) return false;
        continue;
      }
      for (int64_t i = 0; i < item.repeat; ++i) {
        const int64_t before = total_;
        if (!Append(item.inner, prefix, absl::StrCat(suffix, ".", i), layers, suffixes)) return false;
        if (total_ == before) break;  // a faulty block: repeats of nothing, nested, would never end
      }
    }
    return true;
  }

  bool AppendLayer(const LayerItem& item, const std::string& prefix, const std::string& suffix, LayerList* layers) {
    if (++total_ > limits::kMaxLayers) {
      diagnostics_->Error(item.at, absl::StrCat("more than ", limits::kMaxLayers, " layers once 'repeat' is unrolled"));
      return false;
    }
    const int position = layers->size();
    v1::Layer* layer = layers->Add();
    *layer = item.layer;
    layer->set_name(item.layer.name().empty() ? absl::StrCat(prefix, KindName(item.layer), "_", position)
                                              : absl::StrCat(prefix, item.layer.name(), suffix));
    if (!item.sound) faulty_->insert(layer->name());
    if (item.inner.empty()) return true;
    LayerList* block =
        layer->has_graph() ? layer->mutable_graph()->mutable_block() : layer->mutable_residual()->mutable_block();
    return AppendList(item.inner, absl::StrCat(layer->name(), "."), block);
  }

  // Turns what `from` says into full names. Inside a repeat a name means the same round's layer where there is one.
  static void ResolveNames(const std::string& prefix, const std::vector<std::string>& suffixes, LayerList* layers) {
    std::set<std::string> names;
    for (const v1::Layer& layer : *layers) names.insert(layer.name());
    for (int i = 0; i < layers->size(); ++i) {
      for (std::string& name : *layers->Mutable(i)->mutable_from()) {
        int64_t back = 0;
        if (IsInput(name)) continue;
        if (absl::SimpleAtoi(name, &back) && back < 0 && back >= -1 - i) {
          name = i + back < 0 ? "input" : layers->Get(static_cast<int>(i + back)).name();
          continue;
        }
        std::string suffix = suffixes[i];
        while (!suffix.empty() && !names.contains(absl::StrCat(prefix, name, suffix))) {
          suffix.resize(suffix.rfind('.'));
        }
        name = absl::StrCat(prefix, name, suffix);
      }
    }
  }

  std::set<std::string>* faulty_;
  Diagnostics* diagnostics_;
  int64_t total_ = 0;
};

}  // namespace

std::vector<LayerItem> ReadLayerItems(const std::vector<YamlNode>& nodes, YamlErrors* errors) {
  std::vector<LayerItem> items;
  for (const YamlNode& node : nodes) items.push_back(ReadItem(node, errors));
  return items;
}

bool UnrollLayers(const std::vector<LayerItem>& items, google::protobuf::RepeatedPtrField<v1::Layer>* layers,
                  std::set<std::string>* faulty, Diagnostics* diagnostics) {
  return Unroller(faulty, diagnostics).AppendList(items, "", layers);
}

}  // namespace penstock
