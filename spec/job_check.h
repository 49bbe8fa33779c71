// Whether a job makes sense: ranges, and what its parts demand of each other. Pure.
// Source: docs/reference.md.
#ifndef PENSTOCK_SPEC_JOB_CHECK_H_
#define PENSTOCK_SPEC_JOB_CHECK_H_

#include <set>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "common/diagnostic.h"
#include "common/yaml.h"
#include "model/model_info.h"
#include "proto/job.pb.h"

namespace penstock {

// How the place of what --set gives begins: "--set train.steps".
inline constexpr char kOverridePrefix[] = "--set ";

// Where the parts of a job stand in its file, and which of them were already found faulty.
class JobPlaces {
 public:
  // A job without a file: no part has a place, all are sound.
  JobPlaces() = default;
  // Both must outlive this.
  JobPlaces(const YamlNode* root, const YamlErrors* errors) : root_(root), errors_(errors) {}

  // The value at the dotted path, "data.train.part", "train.optimizer.groups.0"; where it is absent, the section that
  // it would stand in.
  v1::SourceLocation At(absl::string_view path) const;
  // How many characters an error there underlines.
  int Length(absl::string_view path) const;
  // Adds the error "PATH MESSAGE" unless the part is faulty already.
  // Args: beside: what the part does not go with. Where one of these was given on the command line and the part was
  //       not, that is the place: the file was sound without it.
  void AddError(absl::string_view path, absl::string_view message, const std::vector<absl::string_view>& beside,
                Diagnostics* diagnostics) const;
  bool Sound(absl::string_view path) const { return errors_ == nullptr || errors_->Sound(path); }

 private:
  // Whether the value at the path was given on the command line.
  bool IsOverride(absl::string_view path) const;
  const YamlNode* Nearest(absl::string_view path, bool* exact) const;

  const YamlNode* root_ = nullptr;
  const YamlErrors* errors_ = nullptr;
};

// Adds an error for each fault of the job. Of a part that is not sound nothing more is said.
// Args:    faulty_layers: as ModelSection has them. check_model: false if the list of layers could not be read.
// Returns: what follows from the model; whole only if no error was added.
ModelInfo CheckJob(const v1::JobSpec& spec, const JobPlaces& places, const std::set<std::string>& faulty_layers,
                   bool check_model, Diagnostics* diagnostics);

}  // namespace penstock

#endif  // PENSTOCK_SPEC_JOB_CHECK_H_
