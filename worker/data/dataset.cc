#include "worker/data/dataset.h"

#include "absl/strings/str_cat.h"
#include "common/data/format.h"
#include "worker/data/sources.h"

namespace penstock {
namespace {

// The vocabulary of the layer that reads the tokens; 0: no such layer comes first.
int64_t InputVocabulary(const v1::Model& model) {
  return model.layers_size() > 0 && model.layers(0).has_embedding() ? model.layers(0).embedding().vocab() : 0;
}

}  // namespace

absl::StatusOr<std::unique_ptr<DataSource>> DataSource::Open(const v1::JobSpec& spec, DataPart part, int64_t classes) {
  if (part == DataPart::kEval && !spec.data().has_eval()) {
    return absl::NotFoundError(absl::StrCat("job '", spec.name(), "' has no evaluation data (data.eval)"));
  }
  const v1::Dataset& dataset = part == DataPart::kEval ? spec.data().eval() : spec.data().train();
  const v1::Model& model = spec.model();
  if (HasTokens(dataset.format())) {
    return OpenTokens(dataset, {.seq_len = spec.data().seq_len(),
                                .vocab = InputVocabulary(model),
                                .classes = classes,
                                .tokenizer = spec.data().has_tokenizer() ? &spec.data().tokenizer() : nullptr});
  }
  const FeatureOptions options = {.input_shape = {model.input().shape().begin(), model.input().shape().end()},
                                  .class_targets = model.loss() == v1::LOSS_CROSS_ENTROPY,
                                  .classes = classes};
  if (HasImages(dataset.format())) return OpenImages(dataset, options);
  switch (dataset.format()) {
    case v1::Dataset::FORMAT_CSV:
      return OpenCsv(dataset, options);
    case v1::Dataset::FORMAT_SAFETENSORS:
      return OpenArrays(dataset, options);
    default:
      return absl::InvalidArgumentError(absl::StrCat(dataset.path(), ": its format is not stated"));
  }
}

}  // namespace penstock
