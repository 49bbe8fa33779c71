#include "spec/data_content.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "common/csv_file.h"
#include "common/data/format.h"
#include "common/data/part.h"
#include "common/data/token_files.h"
#include "common/file.h"

namespace penstock {
namespace {

// Of a csv file: its cells as numbers take up to four times as much memory. Where so much holds no whole row, as much
// as a header and a row may have.
constexpr uint64_t kMostCsvBytes = uint64_t{8} << 20;
constexpr uint64_t kTwoLinesBytes = 2 * (uint64_t{kMaxCsvLineBytes} + 1);
// Of a file of tokens, which are only compared.
constexpr uint64_t kMostTokenBytes = uint64_t{64} << 20;
constexpr uint64_t kChunkBytes = uint64_t{1} << 20;

// Looks into one data set of the job.
class ContentCheck {
 public:
  ContentCheck(const v1::JobSpec& spec, const ModelInfo& info, const v1::Dataset& dataset, std::string path,
               const JobPlaces& places, Diagnostics* diagnostics, std::vector<std::string>* notes)
      : spec_(spec),
        info_(info),
        dataset_(dataset),
        path_(std::move(path)),
        places_(places),
        diagnostics_(diagnostics),
        notes_(notes) {}

  void Run() {
    const absl::Status status = dataset_.format() == v1::Dataset::FORMAT_CSV ? Csv()
                                : HasTokens(dataset_.format()) && dataset_.format() != v1::Dataset::FORMAT_TEXT
                                    ? Tokens()
                                    : absl::OkStatus();
    if (status.ok()) return;
    // What stands in the other file keeps its place there, but is not an error of its own.
    const std::string message = absl::StrReplaceAll(status.message(), {{": error: ", ": "}});
    const std::string key = absl::StrCat(path_, ".path");
    diagnostics_->Error(places_.At(key), absl::StrCat(key, ": ", message), places_.Length(key));
  }

 private:
  void Note(uint64_t read, uint64_t bytes, const std::string& what) {
    if (notes_ == nullptr) return;
    notes_->push_back(read == bytes ? absl::StrCat(path_, ": all ", what, " were looked at")
                                    : absl::StrCat(path_, ": the first ", read >> 20, " MiB of ", bytes >> 20,
                                                   " were looked at; workers check the rest when they load it"));
  }

  // The front of the file up to the end of a line; `text` is whole where the file is, and where no line ends in it.
  absl::Status ReadFront(const File& file, uint64_t file_bytes, uint64_t most, std::string* text) {
    text->resize(std::min(file_bytes, most));
    if (const absl::Status read = file.ReadAt(0, text->data(), text->size()); !read.ok()) return read;
    if (text->size() == file_bytes) return absl::OkStatus();
    const size_t end = text->rfind('\n') + 1;
    // What is longer is a fault, which whoever parses it tells.
    if (text->size() - end <= kMaxCsvLineBytes) text->resize(end);
    return absl::OkStatus();
  }

  absl::Status Csv() {
    absl::StatusOr<File> file = File::OpenToRead(dataset_.path());
    if (!file.ok()) return file.status();
    const absl::StatusOr<uint64_t> bytes = file->Bytes();
    if (!bytes.ok()) return bytes.status();
    std::string text;
    if (const absl::Status read = ReadFront(*file, *bytes, kMostCsvBytes, &text); !read.ok()) return read;
    CsvLineCounter counter;
    counter.Add(text);
    if (counter.lines() < 2) {
      if (const absl::Status read = ReadFront(*file, *bytes, kTwoLinesBytes, &text); !read.ok()) return read;
    }
    const bool whole = text.size() == *bytes;
    const absl::StatusOr<CsvTable> table = ParseCsv(text, dataset_.path());
    if (!table.ok()) return table.status();
    Note(whole ? *bytes : text.size(), *bytes, absl::StrCat(table->rows(), " rows"));
    // Where the part begins is known only of the whole file.
    const bool all_rows = dataset_.part_begin() == 0 && dataset_.part_end() == 1;
    return whole || all_rows ? Classes(*table) : absl::OkStatus();
  }

  // The targets of the rows in the part.
  absl::Status Classes(const CsvTable& table) {
    if (spec_.model().loss() != v1::LOSS_CROSS_ENTROPY) return absl::OkStatus();
    const size_t columns = table.columns.size();
    const size_t target = static_cast<size_t>(std::find(table.columns.begin(), table.columns.end(), dataset_.target()) -
                                              table.columns.begin());
    if (target == columns) {
      return absl::InvalidArgumentError(absl::StrCat(dataset_.path(), ": has no column '", dataset_.target(), "'"));
    }
    const absl::StatusOr<Part> part = PartOf(dataset_, static_cast<int64_t>(table.rows()));
    if (!part.ok()) return absl::OkStatus();  // data_check.h tells of it
    for (size_t row = static_cast<size_t>(part->begin); row < static_cast<size_t>(part->end); ++row) {
      const double value = table.cells[row * columns + target];
      if (value >= 0 && value < static_cast<double>(info_.classes) && value == std::floor(value)) continue;
      return absl::InvalidArgumentError(absl::StrCat(
          dataset_.path(), ":", table.lines[row], ": column '", dataset_.target(), "': ", value,
          " is not a class: the last layer of the model has ", info_.classes, ", from 0 to ", info_.classes - 1));
    }
    return absl::OkStatus();
  }

  // Inputs and targets are the same tokens: each must be in both vocabularies.
  int64_t Vocabulary() const {
    int64_t vocab = info_.vocab;
    for (const v1::Layer& layer : spec_.model().layers()) {
      if (layer.has_embedding()) vocab = std::min(vocab, layer.embedding().vocab());
    }
    return vocab;
  }

  absl::Status Tokens() {
    const int64_t vocab = Vocabulary();
    if (vocab < 1) return absl::OkStatus();
    const absl::StatusOr<TokenFiles> files = OpenTokenFiles(dataset_);
    if (!files.ok()) return absl::OkStatus();  // data_check.h tells of it
    const uint64_t width = TokenBytes(files->type);
    const absl::StatusOr<Part> part = PartOf(dataset_, files->tokens());
    if (!part.ok()) return absl::OkStatus();  // and of this
    const uint64_t begin = static_cast<uint64_t>(part->begin) * width;
    const uint64_t part_end = static_cast<uint64_t>(part->end) * width;
    const uint64_t end = std::min(part_end, begin + kMostTokenBytes);
    std::string chunk;
    for (uint64_t at = begin; at < end; at += chunk.size()) {
      chunk.resize(std::min(end - at, kChunkBytes));
      if (const absl::Status read = files->run.ReadAt(at, chunk.data(), chunk.size()); !read.ok()) return read;
      for (size_t i = 0; i + width <= chunk.size(); i += width) {
        const int64_t token = TokenAt(reinterpret_cast<const unsigned char*>(chunk.data()) + i, files->type);
        if (token >= 0 && token < vocab) continue;
        return absl::InvalidArgumentError(absl::StrCat(files->run.PlaceOf(at + i).path, ": token ", (at + i) / width,
                                                       " is ", token, ", but the model's vocabulary has ", vocab,
                                                       " entries"));
      }
    }
    Note(end - begin, part_end - begin, absl::StrCat((end - begin) / width, " tokens"));
    return absl::OkStatus();
  }

  const v1::JobSpec& spec_;
  const ModelInfo& info_;
  const v1::Dataset& dataset_;
  const std::string path_;
  const JobPlaces& places_;
  Diagnostics* diagnostics_;
  std::vector<std::string>* notes_;
};

}  // namespace

void CheckDataContent(const v1::JobSpec& spec, const ModelInfo& info, const JobPlaces& places, Diagnostics* diagnostics,
                      std::vector<std::string>* notes) {
  ContentCheck(spec, info, spec.data().train(), "data.train", places, diagnostics, notes).Run();
  if (spec.data().has_eval()) {
    ContentCheck(spec, info, spec.data().eval(), "data.eval", places, diagnostics, notes).Run();
  }
}

}  // namespace penstock
