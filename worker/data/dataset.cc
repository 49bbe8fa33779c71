#include "worker/data/dataset.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "worker/data/sources.h"

namespace penstock {
namespace {

// The vocabulary of the layer that reads the tokens; 0: no such layer comes first.
int64_t InputVocabulary(const v1::Model& model) {
  return model.layers_size() > 0 && model.layers(0).has_embedding() ? model.layers(0).embedding().vocab() : 0;
}

}  // namespace

absl::StatusOr<Part> PartOf(const v1::Dataset& dataset, int64_t count) {
  const double begin = dataset.part_begin();
  const double end = dataset.part_end() == 0 ? 1 : dataset.part_end();
  if (!(begin >= 0 && begin < end && end <= 1)) {
    return absl::InvalidArgumentError(
        absl::StrCat(dataset.path(), ": the part [", begin, ", ", end, ") is not a share of the file"));
  }
  const auto at = [count](double share) {
    return static_cast<int64_t>(std::floor(share * static_cast<double>(count)));
  };
  const Part part{at(begin), end == 1 ? count : at(end)};
  if (part.begin < part.end) return part;
  return absl::InvalidArgumentError(
      absl::StrCat(dataset.path(), ": holds no data in the part [", begin, ", ", end, "): ", count, " in all"));
}

absl::StatusOr<std::unique_ptr<DataSource>> DataSource::Open(const v1::JobSpec& spec, DataPart part, int64_t classes) {
  if (part == DataPart::kEval && !spec.data().has_eval()) {
    return absl::NotFoundError(absl::StrCat("job '", spec.name(), "' has no evaluation data (data.eval)"));
  }
  const v1::Dataset& dataset = part == DataPart::kEval ? spec.data().eval() : spec.data().train();
  const v1::Model& model = spec.model();
  switch (dataset.format()) {
    case v1::Dataset::FORMAT_TEXT:
    case v1::Dataset::FORMAT_TOKENS:
      return OpenTokens(dataset,
                        {.seq_len = spec.data().seq_len(), .vocab = InputVocabulary(model), .classes = classes});
    case v1::Dataset::FORMAT_CSV:
      return OpenCsv(dataset, {.input_shape = {model.input().shape().begin(), model.input().shape().end()},
                               .class_targets = model.loss() == v1::LOSS_CROSS_ENTROPY,
                               .classes = classes});
    default:
      return absl::InvalidArgumentError(absl::StrCat(dataset.path(), ": its format is not stated"));
  }
}

}  // namespace penstock
