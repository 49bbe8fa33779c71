#include "common/diagnostic.h"

#include <algorithm>
#include <fstream>
#include <iterator>
#include <map>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "common/limits.h"

namespace penstock {
namespace {

// Longest piece of a source line that is shown: about two terminal rows.
constexpr size_t kShownColumns = 160;

// A file's lines, read once for all of its errors. A file that cannot be read has none.
class SourceLines {
 public:
  // Line `number`, from 1; null when there is none.
  const std::string* Line(const std::string& file, uint32_t number) {
    auto [it, fresh] = files_.try_emplace(file);
    if (fresh) {
      std::ifstream in(file);
      for (std::string line; it->second.size() < kMaxLines && std::getline(in, line);) {
        while (!line.empty() && line.back() == '\r') line.pop_back();
        it->second.push_back(line);
      }
    }
    return number >= 1 && number <= it->second.size() ? &it->second[number - 1] : nullptr;
  }

 private:
  static constexpr size_t kMaxLines = 1'000'000;  // of a file that grew while it was read
  std::map<std::string, std::vector<std::string>> files_;
};

bool StartsCharacter(char byte) { return (static_cast<unsigned char>(byte) & 0xC0) != 0x80; }

// The two lines under an error: the source line, and a caret with `length` - 1 tildes under its characters.
std::string Excerpt(const std::string& line, uint32_t number, uint32_t column, int length) {
  const size_t at = std::min<size_t>(column >= 1 ? column - 1 : 0, line.size());
  size_t begin = at > kShownColumns / 2 && line.size() > kShownColumns ? at - kShownColumns / 2 : 0;
  while (begin > 0 && !StartsCharacter(line[begin])) --begin;
  const std::string shown = line.substr(begin, kShownColumns);
  std::string caret;
  for (size_t i = begin; i < at; ++i) {
    if (line[i] == '\t') {
      caret += '\t';
    } else if (StartsCharacter(line[i])) {
      caret += ' ';
    }
  }
  const size_t room = at < begin + shown.size() ? begin + shown.size() - at : 1;
  caret += '^';
  caret += std::string(std::min<size_t>(std::max(length, 1) - 1, room - 1), '~');
  return absl::StrFormat("%5d | %s\n      | %s", number, shown, caret);
}

std::string Place(const v1::SourceLocation& at) {
  if (at.file().empty()) return "";
  if (at.line() == 0) return absl::StrCat(at.file(), ": ");
  return absl::StrCat(at.file(), ":", at.line(), ":", at.column(), ": ");
}

int EditDistance(absl::string_view a, absl::string_view b) {
  std::vector<int> before(b.size() + 1), row(b.size() + 1), older;
  std::iota(before.begin(), before.end(), 0);
  for (size_t i = 1; i <= a.size(); ++i) {
    row[0] = static_cast<int>(i);
    for (size_t j = 1; j <= b.size(); ++j) {
      row[j] = std::min({before[j] + 1, row[j - 1] + 1, before[j - 1] + (a[i - 1] != b[j - 1])});
      const bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
      if (swapped) row[j] = std::min(row[j], older[j - 2] + 1);
    }
    older = before;
    before = row;
  }
  return before[b.size()];
}

}  // namespace

void Diagnostics::Error(const v1::SourceLocation& at, absl::string_view message, int length) {
  for (const Entry& entry : errors_) {
    const bool same_place =
        entry.at.file() == at.file() && entry.at.line() == at.line() && entry.at.column() == at.column();
    if (same_place && entry.message == message) return;  // an unrolled `repeat` repeats its errors
  }
  errors_.push_back({at, std::string(message), length});
}

void Diagnostics::Withdraw(const v1::SourceLocation& at, absl::string_view message) {
  const auto meant = [&](const Entry& entry) {
    return entry.message == message && entry.at.file() == at.file() && entry.at.line() == at.line() &&
           entry.at.column() == at.column();
  };
  errors_.erase(std::remove_if(errors_.begin(), errors_.end(), meant), errors_.end());
}

absl::Status Diagnostics::ToStatus() const {
  if (errors_.empty()) return absl::OkStatus();
  std::map<std::string, int> file_order;
  for (const Entry& entry : errors_) file_order.try_emplace(entry.at.file(), static_cast<int>(file_order.size()));
  std::vector<const Entry*> sorted;
  for (const Entry& entry : errors_) sorted.push_back(&entry);
  std::stable_sort(sorted.begin(), sorted.end(), [&](const Entry* a, const Entry* b) {
    const int file_a = file_order[a->at.file()], file_b = file_order[b->at.file()];
    return std::make_tuple(file_a, a->at.line(), a->at.column()) <
           std::make_tuple(file_b, b->at.line(), b->at.column());
  });
  SourceLines source;
  std::vector<std::string> texts;
  for (const Entry* entry : sorted) {
    if (texts.size() == limits::kMaxFileErrors) {
      texts.push_back(absl::StrCat("and ", sorted.size() - texts.size(), " more"));
      break;
    }
    std::string text = absl::StrCat(Place(entry->at), "error: ", entry->message);
    const std::string* line = source_ == Source::kShown ? source.Line(entry->at.file(), entry->at.line()) : nullptr;
    if (line) absl::StrAppend(&text, "\n", Excerpt(*line, entry->at.line(), entry->at.column(), entry->length));
    texts.push_back(std::move(text));
  }
  return absl::InvalidArgumentError(absl::StrJoin(texts, "\n"));
}

std::string NearestWord(absl::string_view word, const std::vector<std::string>& candidates) {
  std::string best;
  // A third of the letters may be wrong, and one always: more is another word.
  int best_distance = std::max<int>(1, static_cast<int>(word.size()) / 3) + 1;
  for (const std::string& candidate : candidates) {
    const int distance = EditDistance(word, candidate);
    if (distance < best_distance) best_distance = distance, best = candidate;
  }
  return best;
}

}  // namespace penstock
