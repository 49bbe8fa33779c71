// The half of spec/job_file.h that writes a job. Pure.
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "common/data/format.h"
#include "common/yaml.h"
#include "spec/job_file.h"
#include "spec/model_file.h"
#include "spec/pipeline_section.h"
#include "spec/train_section.h"

namespace penstock {
namespace {

std::string NumbersText(const google::protobuf::RepeatedField<double>& numbers) {
  return absl::StrCat("[", absl::StrJoin(numbers, ", ", [](std::string* to, double n) { *to += YamlNumber(n); }), "]");
}

std::string DatasetToYaml(const std::string& key, const v1::Dataset& dataset) {
  std::string text =
      absl::StrCat("  ", key, ": {format: ", FormatName(dataset.format()), ", path: ", YamlText(dataset.path()),
                   ", part: [", YamlNumber(dataset.part_begin()), ", ", YamlNumber(dataset.part_end()), "]");
  if (dataset.format() == v1::Dataset::FORMAT_CSV) absl::StrAppend(&text, ", target: ", YamlText(dataset.target()));
  if (dataset.format() == v1::Dataset::FORMAT_MNIST) absl::StrAppend(&text, ", labels: ", YamlText(dataset.labels()));
  if (!HasTokens(dataset.format())) absl::StrAppend(&text, ", scale: ", YamlNumber(dataset.scale()));
  if (!dataset.channel_mean().empty()) absl::StrAppend(&text, ", mean: ", NumbersText(dataset.channel_mean()));
  if (!dataset.channel_std().empty()) absl::StrAppend(&text, ", std: ", NumbersText(dataset.channel_std()));
  return text + "}\n";
}

std::string DataToYaml(const v1::Data& data) {
  std::string text = absl::StrCat("data:\n", DatasetToYaml("train", data.train()));
  if (data.has_eval()) absl::StrAppend(&text, DatasetToYaml("eval", data.eval()));
  if (HasTokens(data.train().format())) absl::StrAppend(&text, "  seq_len: ", data.seq_len(), "\n");
  if (data.has_tokenizer()) {
    const char* kind = data.tokenizer().kind() == v1::Tokenizer::SENTENCEPIECE ? "sentencepiece" : "bpe";
    absl::StrAppend(&text, "  tokenizer: {", kind, ": ", YamlText(data.tokenizer().path()), "}\n");
  }
  return absl::StrCat(text, "  order: ", data.sequential() ? "sequential" : "shuffled", "\n");
}

std::string EvalToYaml(const v1::Eval& eval) {
  std::string text = absl::StrCat("eval:\n  every: ", eval.every(), "\n  batches: ", eval.batches(), "\n");
  if (!eval.has_sample()) return text;
  return absl::StrCat(text, "  sample: {prompt: ", YamlText(eval.sample().prompt()),
                      ", tokens: ", eval.sample().tokens(), ", temperature: ", YamlNumber(eval.sample().temperature()),
                      ", top_k: ", eval.sample().top_k(), "}\n");
}

std::string CheckpointToYaml(const v1::Checkpoint& checkpoint) {
  const std::string dir = checkpoint.dir().empty() ? "" : absl::StrCat("dir: ", YamlText(checkpoint.dir()), ", ");
  return absl::StrCat("checkpoint: {", dir, "every: ", checkpoint.every(), ", keep: ", checkpoint.keep(), "}\n");
}

}  // namespace

std::string ToYaml(const v1::JobSpec& spec) {
  return absl::StrCat("version: 1\nkind: job\nname: ", YamlText(spec.name()), "\nmodel:\n", ModelToYaml(spec.model()),
                      DataToYaml(spec.data()), PipelineToYaml(spec.pipeline()), TrainToYaml(spec.train(), spec.model()),
                      spec.has_eval() ? EvalToYaml(spec.eval()) : "", CheckpointToYaml(spec.checkpoint()),
                      "log: {every: ", spec.log().every(), ", hash: ", spec.log().hash() ? "true" : "false", "}\n",
                      "transport: {shared_memory: ", spec.transport().tcp_only() ? "false" : "true", "}\n");
}

}  // namespace penstock
