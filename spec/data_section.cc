// The `data:` section of a job file; see spec/job_sections.h.
#include <cstdint>
#include <optional>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/data/format.h"
#include "spec/job_sections.h"

namespace penstock {
namespace {

// Pixels are bytes; networks like inputs of the order of 1.
constexpr double kImageScale = 1.0 / 255;

// Reads the keys that only some formats have. Of a format that could not be read, any key may be meant.
void ReadFormatKeys(YamlMapping* set, const std::string& folder, YamlErrors* errors, v1::Dataset* dataset) {
  const v1::Dataset::Format format = dataset->format();
  const bool known = errors->Sound(set->PathOf("format"));
  const auto refuse = [set](absl::string_view key, absl::string_view why) {
    set->Refuse(key, absl::StrCat(set->PathOf(key), ": ", why));
  };
  if (format == v1::Dataset::FORMAT_CSV || !known) {
    if (known) set->Require({"target"});
    dataset->set_target(set->Text("target").value_or(""));
  } else {
    refuse("target", "only csv data have a target column");
  }
  if (format == v1::Dataset::FORMAT_MNIST || !known) {
    if (known) set->Require({"labels"});
    if (const auto labels = set->Text("labels")) dataset->set_labels(AbsolutePath(folder, *labels));
  } else {
    refuse("labels", "only mnist data have a file of labels");
  }
  if (HasImages(format) || !known) {
    for (double mean : set->Numbers("mean").value_or(std::vector<double>())) dataset->add_channel_mean(mean);
    for (double std : set->Numbers("std").value_or(std::vector<double>())) dataset->add_channel_std(std);
  } else {
    refuse("mean", "only images (mnist, cifar10) have a mean");
    refuse("std", "only images (mnist, cifar10) have a standard deviation");
  }
  const double neutral = HasImages(format) ? kImageScale : 1;
  if (known && HasTokens(format)) {
    refuse("scale", "tokens are not scaled");
    dataset->set_scale(neutral);
  } else {
    dataset->set_scale(set->Number("scale").value_or(neutral));
  }
}

void ReadDataset(YamlMapping set, const std::string& folder, YamlErrors* errors, v1::Dataset* dataset) {
  set.Require({"format", "path"});
  dataset->set_format(FormatNamed(set.Choice("format", FormatNames()).value_or("")));
  if (const auto path = set.Text("path")) dataset->set_path(AbsolutePath(folder, *path));
  dataset->set_part_begin(0);
  dataset->set_part_end(1);
  if (const auto part = set.Numbers("part")) {
    if (part->size() == 2) {
      dataset->set_part_begin((*part)[0]);
      dataset->set_part_end((*part)[1]);
    } else {
      errors->Add(*set.Find("part"), set.PathOf("part"),
                  absl::StrCat(set.PathOf("part"), ": expected two numbers, [begin, end], found ", part->size()));
    }
  }
  ReadFormatKeys(&set, folder, errors, dataset);
  set.Finish();
}

void ReadTokenizer(YamlMapping* data, const std::string& folder, YamlErrors* errors, v1::Data* to) {
  YamlMapping section = data->Mapping("tokenizer");
  const std::optional<std::string> bpe = section.Text("bpe"), sentencepiece = section.Text("sentencepiece");
  section.Finish();
  if (!section.present() || !errors->Sound(section.path())) return;
  if (bpe.has_value() == sentencepiece.has_value()) {
    errors->AddAtKey(*data->Find("tokenizer"), section.path(),
                     absl::StrCat(section.path(), ": give either bpe: FOLDER or sentencepiece: FILE"), 9);
    return;
  }
  v1::Tokenizer* tokenizer = to->mutable_tokenizer();
  tokenizer->set_kind(bpe.has_value() ? v1::Tokenizer::BPE : v1::Tokenizer::SENTENCEPIECE);
  tokenizer->set_path(AbsolutePath(folder, bpe.has_value() ? *bpe : *sentencepiece));
}

}  // namespace

v1::Data ReadDataSection(YamlMapping section, const std::string& folder, YamlErrors* errors) {
  v1::Data data;
  section.Require({"train"});
  ReadDataset(section.Mapping("train"), folder, errors, data.mutable_train());
  if (section.Has("eval")) ReadDataset(section.Mapping("eval"), folder, errors, data.mutable_eval());
  const v1::Dataset::Format format = data.train().format();
  const bool known = format != v1::Dataset::FORMAT_UNSPECIFIED && errors->Sound(section.PathOf("train.format"));
  if (known && !HasTokens(format)) {
    section.Refuse("seq_len", absl::StrCat("data.seq_len: ", FormatName(format), " data have no sequences"));
    section.Refuse("tokenizer", absl::StrCat("data.tokenizer: ", FormatName(format), " data have no tokens"));
  } else {
    if (errors->Sound(section.PathOf("train.format"))) section.Require({"seq_len"});
    ReadTokenizer(&section, folder, errors, &data);
  }
  data.set_seq_len(static_cast<uint32_t>(section.Integer("seq_len", 0, UINT32_MAX).value_or(0)));
  data.set_sequential(section.Choice("order", {"shuffled", "sequential"}) == "sequential");
  section.Finish();
  return data;
}

}  // namespace penstock
