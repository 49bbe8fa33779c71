// Which of the project's files a YAML file is: the `version:` and `kind:` that each begins with. Pure but for reading.
// Source: docs/reference.md.
#ifndef PENSTOCK_SPEC_FILE_KIND_H_
#define PENSTOCK_SPEC_FILE_KIND_H_

#include <string>

#include "absl/status/statusor.h"
#include "common/yaml.h"

namespace penstock {

enum class FileKind { kCluster, kJob, kPlan };

// "cluster", "job", "plan".
std::string ToText(FileKind kind);

// Reads no more of the file than its kind.
// Errors: InvalidArgument: not YAML, no `kind`, or an unknown one, as common/diagnostic.h prints them. NotFound: no
// such
//         file.
absl::StatusOr<FileKind> KindOfFile(const std::string& path);

// Whether the file says that it is of another kind than `wanted`; adds that as an error. It is the one worth showing:
// all other keys are foreign.
bool IsOfAnotherKind(FileKind wanted, const YamlNode& root, YamlErrors* errors);

// Checks `version` and `kind` of a file that is not of another kind; adds errors where they are not what they must be.
void CheckFileHeader(YamlMapping* file, YamlErrors* errors);

}  // namespace penstock

#endif  // PENSTOCK_SPEC_FILE_KIND_H_
