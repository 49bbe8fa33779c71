#include "spec/file_kind.h"

#include <algorithm>
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

bool IsOfAnotherKind(FileKind wanted, const YamlNode& root, YamlErrors* errors) {
  const YamlNode* const kind = root.IsMapping() ? root.Find("kind") : nullptr;
  if (kind == nullptr || !kind->IsScalar() || kind->text == ToText(wanted)) return false;
  if (std::find(KindTexts().begin(), KindTexts().end(), kind->text) == KindTexts().end()) return false;
  errors->Add(*kind, "kind",
              absl::StrCat("this is a ", kind->text, " file: a ", ToText(wanted), " file is needed here"));
  return true;
}

void CheckFileHeader(YamlMapping* file, YamlErrors* errors) {
  file->Require({"version", "kind"});
  const std::optional<int64_t> version = file->Integer("version");
  if (version && *version != kVersion) {
    errors->Add(*file->Find("version"), "version",
                absl::StrCat("version is ", *version, ": this program reads version ", kVersion));
  }
  file->Choice("kind", KindTexts());
}

}  // namespace penstock
