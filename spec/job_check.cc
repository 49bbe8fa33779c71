#include "spec/job_check.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <optional>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "common/data/format.h"
#include "common/schedule_kind.h"
#include "spec/data_check.h"
#include "spec/train_check.h"

namespace penstock {
namespace {

// Text is bytes.
constexpr int64_t kTextVocab = 256;
constexpr size_t kMaxNameLength = 100;

// One check of a job: knows how to say what is wrong where.
class JobCheck {
 public:
  JobCheck(const v1::JobSpec& spec, const JobPlaces& places, Diagnostics* diagnostics)
      : spec_(spec), places_(places), diagnostics_(diagnostics) {}

  void Name();
  void Pipeline();
  void EvalAndSample();
  void CheckpointAndLog();
  ModelInfo Model(const std::set<std::string>& faulty_layers);
  void StagesFit();

 private:
  void Error(absl::string_view path, absl::string_view message, const std::vector<absl::string_view>& beside = {}) {
    places_.AddError(path, message, beside, diagnostics_);
  }
  // Adds an error unless `good`.
  void Must(bool good, absl::string_view path, absl::string_view message,
            const std::vector<absl::string_view>& beside = {}) {
    if (!good) Error(path, message, beside);
  }
  // Whether the value is finite and at least 0; an error otherwise.
  void NotNegative(absl::string_view path, double value) {
    Must(std::isfinite(value) && value >= 0, path, absl::StrCat("is ", value, ": it must be at least 0"));
  }
  void ExplicitSplit();
  void ScheduleNeeds();
  void CsvNeeds();
  void Vocabulary(const ModelInfo& info);
  void BatchNorms(const ModelInfo& info);

  bool tokens() const { return HasTokens(spec_.data().train().format()); }

  const v1::JobSpec& spec_;
  const JobPlaces& places_;
  Diagnostics* diagnostics_;
};

void JobCheck::Name() {
  const std::string& name = spec_.name();
  bool good =
      !name.empty() && name.size() <= kMaxNameLength && absl::ascii_isalnum(static_cast<unsigned char>(name[0]));
  for (char c : name) {
    good = good && (absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '-' || c == '_' || c == '.');
  }
  Must(good, "name",
       absl::StrCat("is '", name, "': a name begins with a letter or a digit and has at most ", kMaxNameLength,
                    " letters, digits, '-', '_' and '.'"));
}

void JobCheck::ExplicitSplit() {
  const v1::Pipeline& pipeline = spec_.pipeline();
  if (pipeline.split() != v1::Pipeline::SPLIT_EXPLICIT) return;
  uint64_t sum = 0;
  bool positive = true;
  for (uint32_t size : pipeline.split_sizes()) sum += size, positive = positive && size >= 1;
  const uint32_t entries = static_cast<uint32_t>(pipeline.split_sizes_size());
  Must(positive, "pipeline.split", "has a stage without layers");
  if (places_.Sound("pipeline.stages")) {
    Must(entries == pipeline.stages(), "pipeline.split",
         absl::StrCat("has ", entries, " entries for ", pipeline.stages(), " stages"), {"pipeline.stages"});
  }
  const uint64_t layers = static_cast<uint64_t>(spec_.model().layers_size());
  if (places_.Sound("model.layers")) {
    Must(sum == layers, "pipeline.split", absl::StrCat("adds up to ", sum, " layers, but the model has ", layers));
  }
}

void JobCheck::StagesFit() {
  const v1::Pipeline& pipeline = spec_.pipeline();
  if (places_.Sound("model.layers") && pipeline.recompute() == v1::Pipeline::RECOMPUTE_LAYERS) {
    Must(pipeline.recompute_layers_size() == spec_.model().layers_size(), "pipeline.recompute",
         absl::StrCat("has ", pipeline.recompute_layers_size(), " entries, but the model has ",
                      spec_.model().layers_size(), " layers: each needs one"));
  }
  if (pipeline.has_plan()) return;
  ExplicitSplit();
  const uint32_t layers = static_cast<uint32_t>(spec_.model().layers_size());
  if (places_.Sound("model.layers") && pipeline.split() != v1::Pipeline::SPLIT_EXPLICIT) {
    Must(pipeline.stages() <= layers, "pipeline.stages",
         absl::StrCat("is ", pipeline.stages(), ", but the model has only ", layers,
                      " layers: a stage needs at least one"));
  }
}

void JobCheck::Pipeline() {
  const v1::Pipeline& pipeline = spec_.pipeline();
  const std::string micro_batches_path = pipeline.has_plan() ? "pipeline.plan" : "pipeline.micro_batches";
  const uint32_t micro_batches = pipeline.has_plan() ? pipeline.plan().micro_batches() : pipeline.micro_batches();
  if (pipeline.has_plan()) {
    Must(!pipeline.plan().stages().empty(), "pipeline.plan", "has no stages");
    Must(micro_batches >= 1, "pipeline.plan", "has no micro-batches");
    Must(micro_batches <= kMaxMicroBatches, "pipeline.plan",
         absl::StrCat("cuts a mini-batch into ", micro_batches, ": at most ", kMaxMicroBatches, " are possible"));
  } else {
    Must(pipeline.stages() >= 1, "pipeline.stages", "is 0: it must be at least 1");
    Must(micro_batches >= 1, "pipeline.micro_batches", "is 0: it must be at least 1");
    Must(micro_batches <= kMaxMicroBatches, "pipeline.micro_batches",
         absl::StrCat("is ", micro_batches, ": at most ", kMaxMicroBatches, " are possible"));
    Must(micro_batches > kMaxMicroBatches || int64_t{pipeline.stages()} * micro_batches <= kMaxPairs,
         "pipeline.micro_batches",
         absl::StrCat("is ", micro_batches, " for ", pipeline.stages(), " stages: at most ", kMaxPairs,
                      " pairs of them are possible"));
    ScheduleNeeds();
  }
  const uint32_t batch = spec_.train().batch_size();
  if (batch >= 1 && places_.Sound("train.batch_size")) {
    Must(micro_batches <= batch, micro_batches_path,
         absl::StrCat(pipeline.has_plan() ? "cuts a mini-batch into " : "is ", micro_batches, ", but a mini-batch has ",
                      batch, " samples (train.batch_size): each micro-batch needs at least one"),
         {"train.batch_size"});
  }
}

// Whether the schedule can be made of so many stages and micro-batches.
void JobCheck::ScheduleNeeds() {
  const v1::Pipeline& pipeline = spec_.pipeline();
  if (!places_.Sound("pipeline.schedule") || pipeline.stages() < 1 || pipeline.micro_batches() < 1) return;
  if (pipeline.schedule() == kCsvSchedule) return CsvNeeds();
  const PipelineShape shape{static_cast<int>(pipeline.stages()), std::max(1, static_cast<int>(pipeline.chunks())),
                            static_cast<int>(pipeline.micro_batches()), static_cast<int>(pipeline.group()),
                            pipeline.reverse()};
  const ScheduleKind* kind = FindScheduleKind(pipeline.schedule());
  if (kind == nullptr) {
    Must(pipeline.schedule() == kAutoSchedule, "pipeline.schedule",
         absl::StrCat("is '", pipeline.schedule(), "': there are ", absl::StrJoin(ScheduleNames(), ", "), ", auto"));
    Must(shape.stages % shape.chunks == 0, "pipeline.stages",
         absl::StrCat("is ", shape.stages, ", which cannot be dealt out to ranks of ", shape.chunks,
                      " stages each (pipeline.chunks)"),
         {"pipeline.chunks", "pipeline.schedule"});
    return;
  }
  for (const char* key : {"stages", "chunks", "micro_batches", "group", "order"}) {
    if (!places_.Sound(absl::StrCat("pipeline.", key))) return;
  }
  if (const std::optional<UnmetNeed> unmet = FindUnmetNeed(*kind, shape)) {
    Error(unmet->key, unmet->text,
          {"pipeline.schedule", "pipeline.chunks", "pipeline.stages", "pipeline.micro_batches", "pipeline.group",
           "pipeline.order"});
  }
}

void JobCheck::CsvNeeds() {
  const v1::Pipeline& pipeline = spec_.pipeline();
  uint32_t stages = 0;
  for (const v1::RankActions& list : pipeline.csv()) {
    for (const v1::Action& action : list.actions()) stages = std::max(stages, action.stage() + 1);
  }
  // None: its own reading found a fault.
  Must(stages == 0 || stages == pipeline.stages(), "pipeline.stages",
       absl::StrCat("is ", pipeline.stages(), ", but the csv has actions of ", stages, " stages"),
       {"pipeline.schedule"});
  Must(pipeline.recompute() != v1::Pipeline::RECOMPUTE_BOUNDARY &&
           pipeline.recompute() != v1::Pipeline::RECOMPUTE_EXCEPT_LAST,
       "pipeline.recompute", "stands beside a csv: write R's into its lists, before the B or I that needs them");
}

void JobCheck::EvalAndSample() {
  if (!spec_.has_eval()) return;
  const v1::Eval& eval = spec_.eval();
  if (!spec_.data().has_eval() && !eval.has_sample()) {
    Error("eval", "has nothing to do: give data.eval, or a sample");
  }
  Must(eval.batches() >= 1, "eval.batches", "is 0: it must be at least 1");
  if (!eval.has_sample()) return;
  const v1::Sample& sample = eval.sample();
  const bool has_text = spec_.data().train().format() == v1::Dataset::FORMAT_TEXT || spec_.data().has_tokenizer();
  if (places_.Sound("data.train.format") && places_.Sound("data.tokenizer") && !has_text) {
    Error("eval.sample", "continues a text: the data must have the format text, or data.tokenizer");
  }
  Must(!sample.prompt().empty(), "eval.sample.prompt", "is empty: the model needs something to go on from");
  Must(sample.tokens() >= 1, "eval.sample.tokens", "is 0: it must be at least 1");
  NotNegative("eval.sample.temperature", sample.temperature());
}

void JobCheck::CheckpointAndLog() {
  Must(spec_.checkpoint().keep() >= 2, "checkpoint.keep",
       absl::StrCat("is ", spec_.checkpoint().keep(),
                    ": it must be at least 2, so that one is whole while another is written"));
  Must(spec_.log().every() >= 1, "log.every", "is 0: it must be at least 1");
}

// Bytes are the tokens of text that no tokenizer reads: every table must have a row for each, and the output a column.
void JobCheck::Vocabulary(const ModelInfo& info) {
  const v1::Data& data = spec_.data();
  if (data.train().format() != v1::Dataset::FORMAT_TEXT || data.has_tokenizer()) return;
  CheckVocabulary(spec_, info, kTextVocab, "text is bytes, which need 256", diagnostics_);
}

// The smallest micro-batch must have two values a channel: one has no variance.
void JobCheck::BatchNorms(const ModelInfo& info) {
  const v1::Pipeline& pipeline = spec_.pipeline();
  const uint32_t micro_batches = pipeline.has_plan() ? pipeline.plan().micro_batches() : pipeline.micro_batches();
  if (micro_batches < 1 || spec_.train().batch_size() / micro_batches != 1) return;
  for (const LayerInfo& layer : info.layers) {
    for (const LoneNorm& norm : layer.lone_norms) {
      diagnostics_->Error(norm.at,
                          absl::StrCat("layer '", norm.name, "' (batch_norm): a micro-batch of 1 sample has one value ",
                                       "a channel, which has no variance: use fewer micro_batches"),
                          /*length=*/10);
    }
  }
}

ModelInfo JobCheck::Model(const std::set<std::string>& faulty_layers) {
  // Without these the shapes would be guesses, and every error about them a second one.
  for (const char* path : {"model.input", "data.seq_len", "data.train.format"}) {
    if (!places_.Sound(path)) return {};
  }
  if (tokens() && (spec_.data().seq_len() < 1 || spec_.data().seq_len() > kMaxSeqLen)) return {};
  std::set<std::string> reported = faulty_layers;
  const bool no_loss = !places_.Sound("model.loss") && !spec_.model().layers().empty();
  if (no_loss) reported.insert(spec_.model().layers(spec_.model().layers_size() - 1).name());
  const ModelInfo info = InferModel(spec_.model(), diagnostics_, reported);
  Vocabulary(info);
  BatchNorms(info);
  if (!tokens() || spec_.model().input().dtype() == v1::DTYPE_INT64) return info;
  Error("model.input", "must be tokens: the data are");
  return info;
}

}  // namespace

namespace {

// A mapping's value by its key, a list's by its index.
const YamlNode* Child(const YamlNode& node, absl::string_view part) {
  if (!node.IsSequence()) return node.Find(part);
  size_t index = 0;
  return absl::SimpleAtoi(part, &index) && index < node.items.size() ? &node.items[index] : nullptr;
}

}  // namespace

const YamlNode* JobPlaces::Nearest(absl::string_view path, bool* exact) const {
  const YamlNode* node = root_;
  *exact = node != nullptr;
  for (absl::string_view part : absl::StrSplit(path, '.')) {
    const YamlNode* next = node == nullptr ? nullptr : Child(*node, part);
    if (next == nullptr) {
      *exact = false;
      break;
    }
    node = next;
  }
  return node;
}

v1::SourceLocation JobPlaces::At(absl::string_view path) const {
  bool exact = false;
  const YamlNode* node = Nearest(path, &exact);
  if (node == nullptr) return {};
  return exact && !node->IsMapping() ? node->At() : node->KeyAt();
}

int JobPlaces::Length(absl::string_view path) const {
  bool exact = false;
  const YamlNode* node = Nearest(path, &exact);
  return exact && !node->IsMapping() ? node->Length() : 1;
}

void JobPlaces::AddError(absl::string_view path, absl::string_view message,
                         const std::vector<absl::string_view>& beside, Diagnostics* diagnostics) const {
  if (!Sound(path)) return;
  absl::string_view place = path;
  if (!IsOverride(path)) {
    const auto given = std::find_if(beside.begin(), beside.end(), [this](auto other) { return IsOverride(other); });
    if (given != beside.end()) place = *given;
  }
  diagnostics->Error(At(place), absl::StrCat(path, " ", message), Length(place));
}

bool JobPlaces::IsOverride(absl::string_view path) const {
  bool exact = false;
  const YamlNode* node = Nearest(path, &exact);
  return exact && node->file != nullptr && absl::StartsWith(*node->file, kOverridePrefix);
}

// 1. Each section's ranges.  2. The model: InferModel, the vocabulary.  3. What needs both: stages, split.
ModelInfo CheckJob(const v1::JobSpec& spec, const JobPlaces& places, const std::set<std::string>& faulty_layers,
                   bool check_model, Diagnostics* diagnostics) {
  JobCheck check(spec, places, diagnostics);
  check.Name();
  CheckDataSection(spec, places, diagnostics);
  check.Pipeline();
  CheckTrainSection(spec, places, diagnostics);
  check.EvalAndSample();
  check.CheckpointAndLog();
  if (!check_model) return {};
  const int before = diagnostics->count();
  ModelInfo info = check.Model(faulty_layers);
  if (places.Sound("model") && diagnostics->count() == before) {
    CheckParameterPatterns(spec, info, places, diagnostics);
  }
  check.StagesFit();
  return info;
}

}  // namespace penstock
