// The half of spec/data_check.h that reads files.
#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <system_error>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "common/csv_file.h"
#include "common/data/array_file.h"
#include "common/data/format.h"
#include "common/data/image_files.h"
#include "common/data/part.h"
#include "common/data/token_files.h"
#include "common/file.h"
#include "common/status_macros.h"
#include "common/tokenizer/tokenizer.h"
#include "spec/data_check.h"

namespace penstock {
namespace {

// Models pad their vocabulary to a round number, 64 or 128 for each of a few devices. More rows than that are another
// tokenizer's.
constexpr int64_t kMaxPadding = 1023;

struct CsvFacts {
  std::vector<std::string> columns;
  int64_t rows = 0;
};

// The columns, and how many rows there are; of the file only the header's front is held.
absl::StatusOr<CsvFacts> LookIntoCsv(const std::string& path) {
  constexpr uint64_t kChunkBytes = uint64_t{1} << 20;
  PENSTOCK_ASSIGN_OR_RETURN(const File file, File::OpenToRead(path));
  PENSTOCK_ASSIGN_OR_RETURN(const uint64_t bytes, file.Bytes());
  CsvLineCounter counter;
  std::string front, chunk;
  for (uint64_t at = 0; at < bytes; at += chunk.size()) {
    chunk.resize(std::min(bytes - at, kChunkBytes));
    PENSTOCK_RETURN_IF_ERROR(file.ReadAt(at, chunk.data(), chunk.size()));
    // Until the second line has begun, or the first is too long, some blank ones before it included.
    if (counter.lines() < 2 && front.size() <= 2 * kMaxCsvLineBytes) front += chunk;
    counter.Add(chunk);
  }
  CsvFacts facts{{}, counter.lines() - 1};
  PENSTOCK_ASSIGN_OR_RETURN(facts.columns, ParseCsvHeader(front, path));
  return facts;
}

// Checks one data set of the job.
class DatasetCheck {
 public:
  DatasetCheck(const v1::JobSpec& spec, const v1::Dataset& dataset, const std::string& path, const JobPlaces& places,
               Diagnostics* diagnostics)
      : spec_(spec), dataset_(dataset), path_(path), places_(places), diagnostics_(diagnostics) {}

  void Run() {
    if (!places_.Sound(path_ + ".path") || !places_.Sound(path_ + ".format") || dataset_.path().empty()) return;
    const v1::Dataset::Format format = dataset_.format();
    const bool one_file = format != v1::Dataset::FORMAT_MEGATRON && format != v1::Dataset::FORMAT_CIFAR10 &&
                          dataset_.path().find_first_of("*?[") == std::string::npos;
    if (one_file && !IsFile("path", dataset_.path())) return;
    if (HasTokens(format)) return Tokens();
    if (HasImages(format)) return Images();
    if (format == v1::Dataset::FORMAT_SAFETENSORS) return Arrays();
    if (format == v1::Dataset::FORMAT_CSV) return Csv();
  }

 private:
  void Fail(const std::string& key, absl::string_view message) {
    const std::string path = absl::StrCat(path_, ".", key);
    diagnostics_->Error(places_.At(path), absl::StrCat(path, ": ", message), places_.Length(path));
  }

  bool IsFile(const std::string& key, const std::string& name) {
    std::error_code error;
    const std::filesystem::file_status status = std::filesystem::status(name, error);
    if (!std::filesystem::exists(status)) return Fail(key, absl::StrCat("no such file: ", name)), false;
    if (!std::filesystem::is_regular_file(status)) return Fail(key, absl::StrCat("not a file: ", name)), false;
    const uint64_t bytes = std::filesystem::file_size(name, error);
    if (error) return Fail(key, absl::StrCat("cannot be read: ", name)), false;
    if (bytes == 0) return Fail(key, absl::StrCat("the file is empty: ", name)), false;
    return true;
  }

  bool PartIsSound() const {
    return places_.Sound(path_ + ".part") && dataset_.part_begin() >= 0 && dataset_.part_end() <= 1 &&
           dataset_.part_begin() < dataset_.part_end();
  }

  void NotEmpty(int64_t count, absl::string_view elements) {
    if (!PartIsSound() || PartOf(dataset_, count).ok()) return;
    Fail("path", absl::StrCat("no ", elements, " of the file's ", count, " is in its part: ", dataset_.path()));
  }

  // A sample needs one token more than a sequence: the last target. How many tokens a tokenizer makes of a text is not
  // known before it is read.
  void Tokens() {
    const absl::StatusOr<TokenFiles> files = OpenTokenFiles(dataset_);
    if (!files.ok()) return Fail("path", files.status().message());
    const bool is_text = dataset_.format() == v1::Dataset::FORMAT_TEXT;
    if (is_text && spec_.data().has_tokenizer()) {
      const absl::Status fits = CheckTextBytes(spec_.data().tokenizer().kind(), files->run.bytes(), dataset_.path());
      if (!fits.ok()) Fail("path", fits.message());
      return;
    }
    if (!PartIsSound() || !places_.Sound("data.seq_len")) return;
    const absl::StatusOr<Part> part = PartOf(dataset_, files->tokens());
    const int64_t count = part.ok() ? part->size() : 0;
    const int64_t needed = int64_t{spec_.data().seq_len()} + 1;
    if (count >= needed) return;
    Fail("path", absl::StrCat(count, is_text ? " bytes" : " tokens",
                              " are too few: one sequence needs data.seq_len + 1 = ", needed, ": ", dataset_.path()));
  }

  void Images() {
    const bool mnist = dataset_.format() == v1::Dataset::FORMAT_MNIST;
    if (mnist && (!places_.Sound(path_ + ".labels") || dataset_.labels().empty())) return;
    if (mnist && !IsFile("labels", dataset_.labels())) return;
    const absl::StatusOr<ImageFiles> files = ImageFiles::Open(dataset_);
    if (!files.ok()) return Fail("path", files.status().message());
    NotEmpty(files->images(), "image");
    if (!places_.Sound("model.input")) return;
    const auto& shape = spec_.model().input().shape();
    const absl::Status fits = files->CheckShape(std::vector<int64_t>(shape.begin(), shape.end()));
    if (!fits.ok()) Fail("path", fits.message());
  }

  void Arrays() {
    if (!places_.Sound("model.input") || !places_.Sound("model.loss")) return;
    const auto& shape = spec_.model().input().shape();
    const absl::StatusOr<ArrayFile> file = ArrayFile::Open(
        dataset_.path(),
        {.features = {shape.begin(), shape.end()}, .class_targets = spec_.model().loss() == v1::LOSS_CROSS_ENTROPY});
    if (!file.ok()) return Fail("path", file.status().message());
    NotEmpty(file->samples(), "sample");
  }

  void Csv() {
    const absl::StatusOr<CsvFacts> csv = LookIntoCsv(dataset_.path());
    // What stands in the other file keeps its place there, but is not an error of its own.
    if (!csv.ok()) return Fail("path", absl::StrReplaceAll(csv.status().message(), {{": error: ", ": "}}));
    const std::vector<std::string>& names = csv->columns;
    if (!dataset_.target().empty() && std::find(names.begin(), names.end(), dataset_.target()) == names.end()) {
      const std::string nearest = NearestWord(dataset_.target(), names);
      Fail("target", absl::StrCat("no column '", dataset_.target(), "' in ", dataset_.path(),
                                  nearest.empty() ? "" : absl::StrCat("; did you mean '", nearest, "'?")));
    }
    const int64_t features = static_cast<int64_t>(names.size()) - 1;
    int64_t wanted = 1;
    for (int64_t size : spec_.model().input().shape()) wanted *= std::clamp<int64_t>(size, 1, INT32_MAX / wanted);
    if (places_.Sound("model.input") && features != wanted) {
      Fail("path", absl::StrCat("the file has ", features, " columns beside its target, but model.input, [",
                                absl::StrJoin(spec_.model().input().shape(), ", "), "], needs ", wanted, ": ",
                                dataset_.path()));
    }
    NotEmpty(csv->rows, "row");
  }

  const v1::JobSpec& spec_;
  const v1::Dataset& dataset_;
  const std::string path_;
  const JobPlaces& places_;
  Diagnostics* diagnostics_;
};

void CheckTokenizer(const v1::JobSpec& spec, const ModelInfo& info, const JobPlaces& places, Diagnostics* diagnostics) {
  constexpr char kPath[] = "data.tokenizer";
  const v1::Tokenizer& tokenizer = spec.data().tokenizer();
  if (!spec.data().has_tokenizer() || tokenizer.path().empty() || !places.Sound(kPath)) return;
  const auto fail = [&](absl::string_view message) {
    diagnostics->Error(places.At(kPath), absl::StrCat(kPath, ": ", message), places.Length(kPath));
  };
  const absl::StatusOr<std::unique_ptr<Tokenizer>> opened = Tokenizer::Open(tokenizer);
  if (!opened.ok()) return fail(opened.status().message());
  const int64_t size = (*opened)->size();
  CheckVocabulary(spec, info, size, absl::StrCat("the tokenizer ", tokenizer.path(), " has ", size, " tokens"),
                  diagnostics);
  if (info.vocab <= size + kMaxPadding) return;
  fail(absl::StrCat(tokenizer.path(), " has ", size, " tokens, but the model's vocabulary ", info.vocab,
                    ": it is another model's tokenizer"));
}

}  // namespace

void CheckDataFiles(const v1::JobSpec& spec, const ModelInfo& info, const JobPlaces& places, Diagnostics* diagnostics) {
  DatasetCheck(spec, spec.data().train(), "data.train", places, diagnostics).Run();
  if (spec.data().has_eval()) DatasetCheck(spec, spec.data().eval(), "data.eval", places, diagnostics).Run();
  CheckTokenizer(spec, info, places, diagnostics);
}

}  // namespace penstock
