#include "spec/data_check.h"

#include <cmath>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/data/format.h"
#include "common/yaml.h"
#include "model/layer_kind.h"

namespace penstock {
namespace {

// The ranges of a data section: knows how to say what is wrong where.
class DataCheck {
 public:
  DataCheck(const v1::JobSpec& spec, const JobPlaces& places, Diagnostics* diagnostics)
      : spec_(spec), places_(places), diagnostics_(diagnostics) {}

  void Run() {
    const v1::Data& data = spec_.data();
    Dataset("data.train", data.train());
    if (data.has_eval()) {
      Dataset("data.eval", data.eval());
      SamplesAgree();
    }
    if (!places_.Sound("data.train.format")) return;
    const v1::Dataset::Format format = data.train().format();
    if (HasTokens(format)) {
      Must(data.seq_len() >= 1 && data.seq_len() <= kMaxSeqLen, "data.seq_len",
           absl::StrCat("is ", data.seq_len(), ": it must be between 1 and ", kMaxSeqLen));
    }
    if (HasImages(format) && spec_.model().loss() != v1::LOSS_UNSPECIFIED) {
      Must(spec_.model().loss() == v1::LOSS_CROSS_ENTROPY, "model.loss",
           absl::StrCat("does not fit ", FormatName(format), " data, which have classes: use cross_entropy"));
    }
    if (data.has_tokenizer()) {
      Must(data.tokenizer().kind() != v1::Tokenizer::KIND_UNSPECIFIED, "data.tokenizer",
           "is of no kind: bpe or sentencepiece");
      Must(!data.tokenizer().path().empty(), "data.tokenizer", "has an empty path");
    }
  }

 private:
  void Must(bool good, absl::string_view path, absl::string_view message) {
    if (good || !places_.Sound(path)) return;
    diagnostics_->Error(places_.At(path), absl::StrCat(path, " ", message), places_.Length(path));
  }

  void Dataset(const std::string& path, const v1::Dataset& dataset) {
    Must(dataset.format() != v1::Dataset::FORMAT_UNSPECIFIED, path + ".format",
         absl::StrCat("is missing: one of ", absl::StrJoin(FormatNames(), ", ")));
    Must(!dataset.path().empty(), path + ".path", "is empty");
    const double begin = dataset.part_begin(), end = dataset.part_end();
    Must(begin >= 0 && begin < end && end <= 1, path + ".part",
         absl::StrCat("is [", YamlNumber(begin), ", ", YamlNumber(end),
                      "]: it must be [begin, end] with 0 <= begin < end <= 1"));
    if (dataset.format() == v1::Dataset::FORMAT_CSV) {
      Must(!dataset.target().empty(), path + ".target", "is empty: name the column that the model is to predict");
    }
    if (dataset.format() == v1::Dataset::FORMAT_MNIST) {
      Must(!dataset.labels().empty(), path + ".labels", "is empty: name the file of the images' labels");
    }
    if (dataset.format() == v1::Dataset::FORMAT_UNSPECIFIED || HasTokens(dataset.format())) return;
    Must(std::isfinite(dataset.scale()) && dataset.scale() != 0, path + ".scale",
         absl::StrCat("is ", dataset.scale(), ": it must be a number other than 0"));
    for (const double mean : dataset.channel_mean()) {
      Must(std::isfinite(mean), path + ".mean", absl::StrCat("holds ", mean, ": it must be a number"));
    }
    for (const double std : dataset.channel_std()) {
      Must(std::isfinite(std) && std > 0, path + ".std", absl::StrCat("holds ", std, ": it must be above 0"));
    }
    if (!HasImages(dataset.format())) return;
    const int channels = dataset.format() == v1::Dataset::FORMAT_CIFAR10 ? 3 : 1;
    Channels(path + ".mean", dataset.channel_mean_size(), channels);
    Channels(path + ".std", dataset.channel_std_size(), channels);
  }

  void Channels(const std::string& path, int count, int channels) {
    Must(count == 0 || count == channels, path,
         absl::StrCat("has ", count, " numbers, but the images have ", channels,
                      channels == 1 ? " channel" : " channels"));
  }

  void SamplesAgree() {
    if (!places_.Sound("data.train.format")) return;
    const v1::Dataset::Format train = spec_.data().train().format(), eval = spec_.data().eval().format();
    const std::string tokens = FormatName(HasTokens(train) ? train : eval);
    const std::string others = FormatName(HasTokens(train) ? eval : train);
    Must(HasTokens(train) == HasTokens(eval), "data.eval.format",
         absl::StrCat("does not fit data.train.format: ", tokens, " data are tokens, ", others, " data are not"));
  }

  const v1::JobSpec& spec_;
  const JobPlaces& places_;
  Diagnostics* diagnostics_;
};

}  // namespace

void CheckDataSection(const v1::JobSpec& spec, const JobPlaces& places, Diagnostics* diagnostics) {
  DataCheck(spec, places, diagnostics).Run();
}

void CheckVocabulary(const v1::JobSpec& spec, const ModelInfo& info, int64_t needed, absl::string_view why,
                     Diagnostics* diagnostics) {
  const auto too_small = [&](const v1::Layer& layer, int64_t vocab) {
    diagnostics->Error(layer.at(),
                       absl::StrCat("layer '", layer.name(), "' (", KindName(layer), "): a vocabulary of ", vocab,
                                    " is too small: ", why),
                       static_cast<int>(KindName(layer).size()));
  };
  for (const v1::Layer& layer : spec.model().layers()) {
    const int64_t vocab = layer.embedding().vocab();
    if (layer.has_embedding() && vocab >= 1 && vocab < needed) too_small(layer, vocab);
  }
  if (info.vocab >= 1 && info.vocab < needed) {
    too_small(spec.model().layers(spec.model().layers_size() - 1), info.vocab);
  }
}

}  // namespace penstock
