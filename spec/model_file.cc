#include "spec/model_file.h"

#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/time.h"
#include "common/data/format.h"
#include "model/layer_kind.h"
#include "model/layer_reads.h"
#include "spec/layer_list.h"

namespace penstock {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

// Tokens come in sequences of data.seq_len; numbers in the shape that the file gives.
void ReadInput(YamlMapping* section, const v1::Data& data, YamlErrors* errors, v1::Model* model) {
  YamlMapping input = section->Mapping("input");
  const std::optional<std::vector<int64_t>> features = input.Integers("features", 1);
  const v1::Dataset::Format format = data.train().format();
  if (HasTokens(format)) {
    if (input.present()) {
      errors->AddAtKey(*section->Find("input"), "model.input",
                       "model.input: the input of text and tokens follows from data.seq_len: leave it out", 5);
    }
    model->mutable_input()->set_dtype(v1::DTYPE_INT64);
    model->mutable_input()->add_shape(data.seq_len());
  } else if (format != v1::Dataset::FORMAT_UNSPECIFIED) {
    section->Require({"input"});
    input.Require({"features"});
    model->mutable_input()->set_dtype(v1::DTYPE_FLOAT32);
    for (int64_t size : features.value_or(std::vector<int64_t>())) model->mutable_input()->add_shape(size);
  }
  input.Finish();
}

// Appends "key: value" for every field of a kind's message that is set.
void AppendFields(const Message& message, std::vector<std::string>* parts) {
  const google::protobuf::Reflection* reflection = message.GetReflection();
  for (int i = 0; i < message.GetDescriptor()->field_count(); ++i) {
    const FieldDescriptor* field = message.GetDescriptor()->field(i);
    if (field->is_repeated() || (field->has_presence() && !reflection->HasField(message, field))) continue;
    const std::string& name = field->name();
    if (field->cpp_type() == FieldDescriptor::CPPTYPE_INT64) {
      parts->push_back(absl::StrCat(name, ": ", reflection->GetInt64(message, field)));
    } else if (field->cpp_type() == FieldDescriptor::CPPTYPE_DOUBLE) {
      parts->push_back(absl::StrCat(name, ": ", YamlNumber(reflection->GetDouble(message, field))));
    } else if (field->cpp_type() == FieldDescriptor::CPPTYPE_BOOL) {
      parts->push_back(absl::StrCat(name, ": ", reflection->GetBool(message, field) ? "true" : "false"));
    }
  }
}

// A layer's name as a file gives it: the names inside a residual or a graph begin with its own.
std::string LocalName(const std::string& name, const std::string& prefix) {
  const bool prefixed = name.size() > prefix.size() && name.compare(0, prefix.size(), prefix) == 0;
  return prefixed ? name.substr(prefix.size()) : name;
}

std::string LayerToYaml(const v1::Layer& layer, const std::string& prefix, const std::string& indent) {
  std::vector<std::string> parts = {absl::StrCat("name: ", YamlText(LocalName(layer.name(), prefix)))};
  if (layer.frozen()) parts.push_back("frozen: true");
  if (layer.kind_case() == v1::Layer::kDelay) {
    const auto micros = [](int64_t us) { return absl::StrCat(us, "us"); };
    parts.push_back(absl::StrCat("forward: ", micros(layer.delay().forward_us())));
    parts.push_back(absl::StrCat("input_grad: ", micros(layer.delay().input_grad_us())));
    parts.push_back(absl::StrCat("weight_grad: ", micros(layer.delay().weight_grad_us())));
  } else if (layer.kind_case() != v1::Layer::KIND_NOT_SET) {
    const FieldDescriptor* field = v1::Layer::descriptor()->FindFieldByNumber(layer.kind_case());
    AppendFields(layer.GetReflection()->GetMessage(layer, field), &parts);
  }
  const std::string kind = KindName(layer);
  if (!layer.from().empty()) {
    const auto local = [&](std::string* to, const std::string& name) { *to += YamlText(LocalName(name, prefix)); };
    parts.insert(parts.begin() + 1, absl::StrCat("from: [", absl::StrJoin(layer.from(), ", ", local), "]"));
  }
  if (!layer.has_residual() && !layer.has_graph()) {
    return absl::StrCat(indent, "- ", kind, ": {", absl::StrJoin(parts, ", "), "}\n");
  }
  std::string text = absl::StrCat(indent, "- ", kind, ":\n");
  for (const std::string& part : parts) absl::StrAppend(&text, indent, "    ", part, "\n");
  absl::StrAppend(&text, indent, "    block:\n");
  for (const v1::Layer& inner : InnerLayers(layer)) {
    absl::StrAppend(&text, LayerToYaml(inner, absl::StrCat(layer.name(), "."), indent + "      "));
  }
  return text;
}

}  // namespace

ModelSection ReadModelSection(YamlMapping section, const v1::Data& data, YamlErrors* errors) {
  ModelSection result;
  section.Refuse("hf", "model.hf: this version does not read Hugging Face models: write the list of layers");
  section.Require({"loss", "layers"});
  const std::optional<std::string> loss = section.Choice("loss", {"cross_entropy", "mse"});
  if (loss) result.model.set_loss(*loss == "mse" ? v1::LOSS_MSE : v1::LOSS_CROSS_ENTROPY);
  ReadInput(&section, data, errors, &result.model);
  if (const std::vector<YamlNode>* nodes = section.Sequence("layers")) {
    if (nodes->empty()) errors->Add(*section.Find("layers"), "model.layers", "model.layers is an empty list");
    const std::vector<LayerItem> items = ReadLayerItems(*nodes, errors);
    result.whole = UnrollLayers(items, result.model.mutable_layers(), &result.faulty_layers, errors->diagnostics()) &&
                   !result.model.layers().empty();
  }
  section.Finish();
  return result;
}

std::string ModelToYaml(const v1::Model& model) {
  std::string text = absl::StrCat("  loss: ", model.loss() == v1::LOSS_MSE ? "mse" : "cross_entropy", "\n");
  if (model.input().dtype() == v1::DTYPE_FLOAT32) {
    absl::StrAppend(&text, "  input: {features: [", absl::StrJoin(model.input().shape(), ", "), "]}\n");
  }
  absl::StrAppend(&text, "  layers:\n");
  for (const v1::Layer& layer : model.layers()) absl::StrAppend(&text, LayerToYaml(layer, "", "    "));
  return text;
}

}  // namespace penstock
