#include "common/checkpoint/manifest.h"

#include <google/protobuf/util/json_util.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/checkpoint/strict_json.h"
#include "common/file.h"
#include "common/logging.h"
#include "common/sha256.h"
#include "common/status_macros.h"
#include "common/version.h"

namespace penstock {
namespace {

using Json = nlohmann::json;
using google::protobuf::Message;

// Objects and arrays inside each other. A layer nests one residual per three of them; 64 is a network of 20 nested
// residuals.
constexpr int kManifestDepth = 64;

constexpr char kDigestKey[] = "manifest_sha256";

Json ProtoToJson(const Message& message) {
  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  std::string text;
  CHECK(google::protobuf::util::MessageToJsonString(message, &text, options).ok());
  return Json::parse(text, nullptr, /*allow_exceptions=*/false);
}

absl::Status ProtoFromJson(const Json& json, Message* message) {
  const auto status =
      google::protobuf::util::JsonStringToMessage(json.dump(-1, ' ', false, Json::error_handler_t::replace), message);
  if (status.ok()) return absl::OkStatus();
  const auto reason = status.message();
  return absl::DataLossError(absl::string_view(reason.data(), reason.size()));
}

Json FileToJson(const CheckpointFile& file) {
  Json tensors = Json::object();
  for (const v1::TensorHash& tensor : file.tensors) {
    const std::vector<int64_t> shape(tensor.shape().begin(), tensor.shape().end());
    tensors[tensor.name()] = {{"dtype", tensor.dtype()}, {"shape", shape}, {"sha256", tensor.sha256()}};
  }
  return {{"name", file.name}, {"bytes", file.bytes}, {"tensors", std::move(tensors)}};
}

std::vector<v1::TensorHash> AllTensors(const std::vector<CheckpointFile>& files) {
  std::vector<v1::TensorHash> all;
  for (const CheckpointFile& file : files) all.insert(all.end(), file.tensors.begin(), file.tensors.end());
  return all;
}

// A manifest's text, and where the 64 digits of its own digest stand in it.
// The digest is that of the text with zeros in their place.
std::string WithDigestZeroed(absl::string_view text, size_t at) {
  return absl::StrCat(text.substr(0, at), std::string(64, '0'), text.substr(at + 64));
}

bool IsDigest(absl::string_view text) {
  return text.size() == 64 &&
         std::all_of(text.begin(), text.end(), [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

// Reads the members of an object, remembering the first that is missing or of another type.
class Members {
 public:
  explicit Members(const Json& json) : json_(json) {
    if (!json.is_object()) fault_ = "is not an object";
  }

  std::string Text(const char* name) {
    const Json* value = Find(name, &Json::is_string);
    return value == nullptr ? "" : value->get<std::string>();
  }
  uint64_t Count(const char* name) {
    const Json* value = Find(name, &Json::is_number_unsigned);
    return value == nullptr ? 0 : value->get<uint64_t>();
  }
  Json Object(const char* name) { return Value(name, &Json::is_object, Json::object()); }
  Json List(const char* name) { return Value(name, &Json::is_array, Json::array()); }

  absl::Status status() const { return fault_.empty() ? absl::OkStatus() : absl::DataLossError(fault_); }

 private:
  using Check = bool (Json::*)() const noexcept;

  const Json* Find(const char* name, Check check) {
    if (!fault_.empty()) return nullptr;
    const auto found = json_.find(name);
    if (found != json_.end() && ((*found).*check)()) return &*found;
    fault_ = absl::StrCat("'", name, "' is missing or of another type");
    return nullptr;
  }
  Json Value(const char* name, Check check, Json otherwise) {
    const Json* value = Find(name, check);
    return value == nullptr ? otherwise : *value;
  }

  const Json& json_;
  std::string fault_;
};

absl::StatusOr<v1::TensorHash> TensorFromJson(const std::string& name, const Json& json) {
  Members members(json);
  v1::TensorHash tensor;
  tensor.set_name(name);
  tensor.set_dtype(members.Text("dtype"));
  tensor.set_sha256(members.Text("sha256"));
  for (const Json& size : members.List("shape")) {
    if (!size.is_number_unsigned()) return absl::DataLossError("'shape' holds something that is not a size");
    tensor.add_shape(size.get<int64_t>());
  }
  PENSTOCK_RETURN_IF_ERROR(members.status());
  if (!IsDigest(tensor.sha256())) return absl::DataLossError("'sha256' is not 64 hex digits");
  return tensor;
}

absl::StatusOr<CheckpointFile> FileFromJson(const Json& json) {
  Members members(json);
  CheckpointFile file;
  file.name = members.Text("name");
  file.bytes = members.Count("bytes");
  const Json tensors = members.Object("tensors");
  PENSTOCK_RETURN_IF_ERROR(members.status());
  if (!IsPlainName(file.name)) return absl::DataLossError(absl::StrCat("'", file.name, "' is not a file's name"));
  for (const auto& [name, entry] : tensors.items()) {
    absl::StatusOr<v1::TensorHash> tensor = TensorFromJson(name, entry);
    if (!tensor.ok()) return Annotate(tensor.status(), absl::StrCat(file.name, ": tensor '", name, "'"));
    file.tensors.push_back(*std::move(tensor));
  }
  return file;
}

// The training data and how far training is in them: so many samples of this epoch, counted from 0, were used.
Json DataToJson(const Manifest& manifest) {
  Json files = Json::array();
  for (const v1::DataFile& file : manifest.data.files()) {
    files.push_back({{"name", file.name()}, {"bytes", file.bytes()}, {"sha256", file.sha256()}});
  }
  Json json = {{"files", std::move(files)}, {"samples", manifest.data.samples()}};
  if (manifest.data.samples() == 0) return json;
  const DataPosition position =
      PositionAfter(manifest.step, manifest.spec.train().batch_size(), manifest.data.samples());
  json["epoch"] = position.epoch;
  json["offset"] = position.offset;
  return json;
}

absl::Status DataFromJson(const Json& json, Manifest* manifest) {
  Members members(json);
  manifest->data.set_samples(members.Count("samples"));
  for (const Json& entry : members.List("files")) {
    Members of_file(entry);
    v1::DataFile* file = manifest->data.add_files();
    file->set_name(of_file.Text("name"));
    file->set_bytes(of_file.Count("bytes"));
    file->set_sha256(of_file.Text("sha256"));
    PENSTOCK_RETURN_IF_ERROR(of_file.status());
  }
  return members.status();
}

// Each file and each tensor once, and their hash as stated.
absl::Status CheckWhole(const Manifest& manifest) {
  std::set<std::string> files, tensors;
  for (const CheckpointFile& file : manifest.files) {
    if (!files.insert(file.name).second) return absl::DataLossError(absl::StrCat("'", file.name, "' stands twice"));
    for (const v1::TensorHash& tensor : file.tensors) {
      if (tensors.insert(tensor.name()).second) continue;
      return absl::DataLossError(absl::StrCat("tensor '", tensor.name(), "' is in two files"));
    }
  }
  if (HashOfTensors(AllTensors(manifest.files)) == manifest.sha256) return absl::OkStatus();
  return absl::DataLossError("'sha256' is not the hash of its tensors");
}

}  // namespace

DataPosition PositionAfter(uint64_t step, uint64_t batch_size, uint64_t samples) {
  const uint64_t used = step * batch_size;
  return {used / samples, used % samples};
}

uint64_t Manifest::Bytes() const {
  uint64_t bytes = 0;
  for (const CheckpointFile& file : files) bytes += file.bytes;
  return bytes;
}

std::string HashOfTensors(std::vector<v1::TensorHash> tensors) {
  std::vector<std::string> lines;
  lines.reserve(tensors.size());
  for (const v1::TensorHash& tensor : tensors) {
    lines.push_back(absl::StrCat(tensor.name(), " ", tensor.dtype(), " [", absl::StrJoin(tensor.shape(), ","), "] ",
                                 tensor.sha256(), "\n"));
  }
  std::sort(lines.begin(), lines.end());
  return Sha256Hex(absl::StrJoin(lines, ""));
}

std::string ManifestToJson(Manifest manifest) {
  manifest.plan.clear_train();
  manifest.plan.clear_forward();
  Json files = Json::array();
  for (const CheckpointFile& file : manifest.files) files.push_back(FileToJson(file));
  Json json = {
      {"format_version", kCheckpointFormat},
      {"written_by", absl::StrCat("penstock ", kVersion)},
      {kDigestKey, std::string(64, '0')},
      {"job", manifest.job},
      {"step", manifest.step},
      {"unix_ms", manifest.unix_ms},
      {"sha256", HashOfTensors(AllTensors(manifest.files))},
      {"fingerprint", manifest.fingerprint},
      {"plan", ProtoToJson(manifest.plan)},
      {"spec", ProtoToJson(manifest.spec)},
      {"files", std::move(files)},
  };
  if (!manifest.data.files().empty()) json["data"] = DataToJson(manifest);
  if (manifest.loss_scale.scale() != 0) json["loss_scale"] = ProtoToJson(manifest.loss_scale);
  std::string text = json.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
  // Names sort before their digest: nothing before this one can hold a line of this form unescaped.
  const std::string line = absl::StrCat("\n \"", kDigestKey, "\": \"");
  text.replace(text.find(line) + line.size(), 64, Sha256Hex(text));
  return text;
}

absl::StatusOr<Manifest> ManifestFromJson(absl::string_view text) {
  PENSTOCK_ASSIGN_OR_RETURN(const Json json, ParseStrictJson(text, kManifestDepth));
  Members members(json);
  const uint64_t format = members.Count("format_version");
  const std::string digest = members.Text(kDigestKey);
  PENSTOCK_RETURN_IF_ERROR(members.status());
  if (format > kCheckpointFormat) {
    return absl::FailedPreconditionError(absl::StrCat(
        "is of format ", format, "; this version of Penstock reads up to ", kCheckpointFormat, ": use a newer one"));
  }
  const size_t at = text.find(digest);
  if (!IsDigest(digest) || at == absl::string_view::npos || Sha256Hex(WithDigestZeroed(text, at)) != digest) {
    return absl::DataLossError(absl::StrCat("was changed after it was written: '", kDigestKey, "' does not fit"));
  }
  Manifest manifest;
  manifest.job = members.Text("job");
  manifest.step = members.Count("step");
  manifest.unix_ms = static_cast<int64_t>(members.Count("unix_ms"));
  manifest.sha256 = members.Text("sha256");
  manifest.fingerprint = members.Text("fingerprint");
  const Json plan = members.Object("plan"), spec = members.Object("spec"), files = members.List("files");
  PENSTOCK_RETURN_IF_ERROR(members.status());
  PENSTOCK_RETURN_IF_ERROR(Annotate(ProtoFromJson(plan, &manifest.plan), "plan"));
  PENSTOCK_RETURN_IF_ERROR(Annotate(ProtoFromJson(spec, &manifest.spec), "spec"));
  if (json.contains("data")) PENSTOCK_RETURN_IF_ERROR(Annotate(DataFromJson(json["data"], &manifest), "data"));
  if (json.contains("loss_scale")) {
    PENSTOCK_RETURN_IF_ERROR(Annotate(ProtoFromJson(json["loss_scale"], &manifest.loss_scale), "loss_scale"));
  }
  for (const Json& entry : files) {
    PENSTOCK_ASSIGN_OR_RETURN(CheckpointFile file, FileFromJson(entry));
    manifest.files.push_back(std::move(file));
  }
  PENSTOCK_RETURN_IF_ERROR(CheckWhole(manifest));
  return manifest;
}

}  // namespace penstock
