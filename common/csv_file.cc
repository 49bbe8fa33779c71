#include "common/csv_file.h"

#include <cmath>
#include <optional>
#include <set>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/status_macros.h"

namespace penstock {
namespace {

// How much of a faulty cell an error shows.
constexpr size_t kShownBytes = 40;

struct Cell {
  absl::string_view text;
  size_t column;  // of its first byte, from 1
};

// A position in the text, for errors.
struct Place {
  absl::string_view path;
  int line;
};

absl::Status Fault(const Place& place, size_t column, absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat(place.path, ":", place.line, ":", column, ": error: ", what));
}

// Cuts a line at its commas, except within quotes, and takes spaces and quotes off.
absl::StatusOr<std::vector<Cell>> SplitLine(absl::string_view line, const Place& place) {
  std::vector<Cell> cells;
  size_t begin = 0;
  bool quoted = false;
  for (size_t i = 0; i <= line.size(); ++i) {
    if (i < line.size() && line[i] == '"') quoted = !quoted;
    if (i < line.size() && (line[i] != ',' || quoted)) continue;
    absl::string_view raw = line.substr(begin, i - begin);
    absl::string_view text = absl::StripLeadingAsciiWhitespace(raw);
    const size_t column = begin + (raw.size() - text.size()) + 1;
    text = absl::StripTrailingAsciiWhitespace(text);
    if (text.size() >= 2 && text.front() == '"' && text.back() == '"') text = text.substr(1, text.size() - 2);
    cells.push_back({text, column});
    begin = i + 1;
  }
  if (quoted) return Fault(place, cells.back().column, "a quote is not closed on its line");
  return cells;
}

// Takes the next line that is not blank off the front of the text; nullopt: there is none.
absl::StatusOr<std::optional<std::vector<Cell>>> NextLine(absl::string_view* text, Place* place) {
  while (!text->empty()) {
    const size_t end = text->find('\n');
    const absl::string_view line = text->substr(0, end);
    text->remove_prefix(end == absl::string_view::npos ? text->size() : end + 1);
    ++place->line;
    if (line.size() > kMaxCsvLineBytes) {
      return Fault(*place, 1, absl::StrCat("the line is longer than ", kMaxCsvLineBytes >> 20, " MiB"));
    }
    if (absl::StripAsciiWhitespace(line).empty()) continue;
    PENSTOCK_ASSIGN_OR_RETURN(std::vector<Cell> cells, SplitLine(line, *place));
    return cells;
  }
  return std::nullopt;
}

absl::StatusOr<std::vector<std::string>> NamesOf(const std::vector<Cell>& cells, const Place& place) {
  std::vector<std::string> names;
  std::set<std::string> seen;
  for (const Cell& cell : cells) {
    std::string name(cell.text);
    if (name.empty()) return Fault(place, cell.column, "a column has no name");
    if (!seen.insert(name).second)
      return Fault(place, cell.column, absl::StrCat("two columns are called '", name, "'"));
    names.push_back(std::move(name));
  }
  return names;
}

absl::StatusOr<std::vector<std::string>> TakeHeader(absl::string_view* text, Place* place) {
  PENSTOCK_ASSIGN_OR_RETURN(const std::optional<std::vector<Cell>> cells, NextLine(text, place));
  if (!cells.has_value()) return absl::InvalidArgumentError(absl::StrCat(place->path, ": is empty"));
  return NamesOf(*cells, *place);
}

absl::Status ReadRow(const std::vector<Cell>& cells, const Place& place, CsvTable* table) {
  if (cells.size() != table->columns.size()) {
    return Fault(place, cells.back().column,
                 absl::StrCat("the row has ", cells.size(), " cells, the header ", table->columns.size()));
  }
  for (size_t i = 0; i < cells.size(); ++i) {
    double value = 0;
    if (!absl::SimpleAtod(cells[i].text, &value) || !std::isfinite(value)) {
      return Fault(place, cells[i].column,
                   absl::StrCat("'", cells[i].text.substr(0, kShownBytes), "' in column '", table->columns[i],
                                "' is not a finite number"));
    }
    table->cells.push_back(value);
  }
  table->lines.push_back(place.line);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<CsvTable> ParseCsv(absl::string_view text, absl::string_view path) {
  CsvTable table;
  Place place{path, 0};
  PENSTOCK_ASSIGN_OR_RETURN(table.columns, TakeHeader(&text, &place));
  while (true) {
    PENSTOCK_ASSIGN_OR_RETURN(const std::optional<std::vector<Cell>> cells, NextLine(&text, &place));
    if (!cells.has_value()) break;
    PENSTOCK_RETURN_IF_ERROR(ReadRow(*cells, place, &table));
  }
  if (table.rows() == 0) return absl::InvalidArgumentError(absl::StrCat(path, ": has a header but no rows"));
  return table;
}

void CsvLineCounter::Add(absl::string_view piece) {
  for (const char c : piece) {
    if (c == '\n') {
      blank_ = true;
    } else if (blank_ && !absl::ascii_isspace(static_cast<unsigned char>(c))) {
      blank_ = false;
      ++lines_;
    }
  }
}

absl::StatusOr<std::vector<std::string>> ParseCsvHeader(absl::string_view text, absl::string_view path) {
  Place place{path, 0};
  return TakeHeader(&text, &place);
}

}  // namespace penstock
