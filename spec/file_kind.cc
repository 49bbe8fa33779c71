#include "spec/file_kind.h"

#include <optional>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/diagnostic.h"
#include "common/status_macros.h"

namespace penstock {
namespace {

// The only version of the files so far.
constexpr int64_t kVersion = 1;

const std::vector<std::string>& KindTexts() {
  static const std::vector<std::string> kTexts = {"cluster", "job", "plan"};  // in the order of FileKind
  return kTexts;
}

}  // namespace

std::string ToText(FileKind kind) { return KindTexts()[static_cast<size_t>(kind)]; }

absl::StatusOr<FileKind> KindOfFile(const std::string& path) {
  Diagnostics diagnostics;
  PENSTOCK_ASSIGN_OR_RETURN(const YamlNode root, ReadYamlFile(path, &diagnostics));
  std::optional<std::string> kind;
  if (diagnostics.ok()) {
    YamlErrors errors(&diagnostics);
    YamlMapping file(&root, "", &errors);
    file.Require({"kind"});
    kind = file.Choice("kind", KindTexts());
  }
  PENSTOCK_RETURN_IF_ERROR(diagnostics.ToStatus());
  for (FileKind candidate : {FileKind::kCluster, FileKind::kJob}) {
    if (kind == ToText(candidate)) return candidate;
  }
  return FileKind::kPlan;
}

void CheckFileHeader(FileKind wanted, YamlMapping* file, YamlErrors* errors) {
  file->Require({"version", "kind"});
  const std::optional<int64_t> version = file->Integer("version");
  if (version && *version != kVersion) {
    errors->Add(*file->Find("version"), "version",
                absl::StrCat("version is ", *version, ": this program reads version ", kVersion));
  }
  const std::optional<std::string> kind = file->Choice("kind", KindTexts());
  if (kind && *kind != ToText(wanted)) {
    errors->Add(*file->Find("kind"), "kind",
                absl::StrCat("this is a ", *kind, " file: a ", ToText(wanted), " file is needed here"));
  }
}

}  // namespace penstock
