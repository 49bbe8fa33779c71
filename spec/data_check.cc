#include "spec/data_check.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <system_error>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace penstock {
namespace {

constexpr int64_t kTokenBytes = 2;  // nanoGPT's .bin: uint16

// Elements [begin, end) of `count` that a part covers.
struct Part {
  int64_t begin, end;
};

Part PartOf(const v1::Dataset& dataset, int64_t count) {
  const auto at = [count](double share) {
    return static_cast<int64_t>(std::floor(share * static_cast<double>(count)));
  };
  return {at(dataset.part_begin()), dataset.part_end() == 1 ? count : at(dataset.part_end())};
}

// The names in a header line: cut at commas outside quotes, spaces and quotes taken off.
std::vector<std::string> HeaderNames(const std::string& line) {
  std::vector<std::string> names(1);
  bool quoted = false;
  for (char c : line) {
    if (c == '"') {
      quoted = !quoted;
    } else if (c == ',' && !quoted) {
      names.emplace_back();
    } else {
      names.back() += c;
    }
  }
  for (std::string& name : names) name = std::string(absl::StripAsciiWhitespace(name));
  return names;
}

// Checks one data set of the job.
class DatasetCheck {
 public:
  DatasetCheck(const v1::JobSpec& spec, const v1::Dataset& dataset, const std::string& path, const JobPlaces& places,
               Diagnostics* diagnostics)
      : spec_(spec), dataset_(dataset), path_(path), places_(places), diagnostics_(diagnostics) {}

  void Run() {
    if (!places_.Sound(path_ + ".path") || !places_.Sound(path_ + ".format") || dataset_.path().empty()) return;
    std::error_code error;
    const std::filesystem::file_status status = std::filesystem::status(dataset_.path(), error);
    if (!std::filesystem::exists(status)) return Fail("path", absl::StrCat("no such file: ", dataset_.path()));
    if (!std::filesystem::is_regular_file(status)) return Fail("path", absl::StrCat("not a file: ", dataset_.path()));
    const int64_t bytes = static_cast<int64_t>(std::filesystem::file_size(dataset_.path(), error));
    if (error) return Fail("path", absl::StrCat("cannot be read: ", dataset_.path()));
    if (bytes == 0) return Fail("path", absl::StrCat("the file is empty: ", dataset_.path()));
    if (dataset_.format() == v1::Dataset::FORMAT_CSV) return Csv();
    if (dataset_.format() == v1::Dataset::FORMAT_TEXT) return Tokens(bytes, "bytes");
    if (bytes % kTokenBytes != 0) {
      return Fail("path", absl::StrCat("tokens are ", kTokenBytes, " bytes each, but the file has ", bytes,
                                       " bytes: ", dataset_.path()));
    }
    Tokens(bytes / kTokenBytes, "tokens");
  }

 private:
  void Fail(const std::string& key, const std::string& message) {
    const std::string path = absl::StrCat(path_, ".", key);
    diagnostics_->Error(places_.At(path), absl::StrCat(path, ": ", message), places_.Length(path));
  }

  bool PartIsSound() const {
    return places_.Sound(path_ + ".part") && dataset_.part_begin() >= 0 && dataset_.part_end() <= 1 &&
           dataset_.part_begin() < dataset_.part_end();
  }

  // A sample needs one token more than a sequence: the last target.
  void Tokens(int64_t count, const std::string& unit) {
    if (!PartIsSound() || !places_.Sound("data.seq_len")) return;
    const Part part = PartOf(dataset_, count);
    const int64_t needed = int64_t{spec_.data().seq_len()} + 1;
    if (part.end - part.begin >= needed) return;
    Fail("path", absl::StrCat(part.end - part.begin, " ", unit,
                              " are too few: one sequence needs data.seq_len + 1 = ", needed, ": ", dataset_.path()));
  }

  void Csv() {
    std::ifstream in(dataset_.path());
    std::string line;
    std::getline(in, line);
    const std::vector<std::string> names = HeaderNames(line);
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
    int64_t rows = 0;
    while (std::getline(in, line)) rows += !absl::StripAsciiWhitespace(line).empty();
    if (!PartIsSound()) return;
    const Part part = PartOf(dataset_, rows);
    if (part.begin < part.end) return;
    Fail("path", absl::StrCat("no row of the file's ", rows, " is in its part: ", dataset_.path()));
  }

  const v1::JobSpec& spec_;
  const v1::Dataset& dataset_;
  const std::string path_;
  const JobPlaces& places_;
  Diagnostics* diagnostics_;
};

}  // namespace

void CheckDataFiles(const v1::JobSpec& spec, const JobPlaces& places, Diagnostics* diagnostics) {
  DatasetCheck(spec, spec.data().train(), "data.train", places, diagnostics).Run();
  if (spec.data().has_eval()) DatasetCheck(spec, spec.data().eval(), "data.eval", places, diagnostics).Run();
}

}  // namespace penstock
