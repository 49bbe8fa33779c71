// A csv file of numbers under one header line. Pure.
// Source: docs/training.md, "Batches".
#ifndef PENSTOCK_COMMON_CSV_FILE_H_
#define PENSTOCK_COMMON_CSV_FILE_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace penstock {

// Of a line. A million numbers are shorter; a file without line ends must not be held whole for its first line.
inline constexpr size_t kMaxCsvLineBytes = size_t{16} << 20;

struct CsvTable {
  std::vector<std::string> columns;
  std::vector<double> cells;  // row by row
  std::vector<int> lines;     // of each row in the file, from 1

  size_t rows() const { return lines.size(); }
};

// Cells are separated by commas, may be surrounded by spaces and stand in double quotes; lines end in "\n" or "\r\n";
// blank lines are skipped.
// Args:    path: for errors.
// Errors:  InvalidArgument: no header, no row, a name twice, a row of another length, a cell that is not a finite
//          number, a line that is too long; "PATH:LINE:COLUMN: error: ...", where COLUMN counts bytes from 1.
absl::StatusOr<CsvTable> ParseCsv(absl::string_view text, absl::string_view path);

// Counts the lines that are not blank, of a text that comes in pieces. Thread-compatible.
class CsvLineCounter {
 public:
  void Add(absl::string_view piece);
  // Those that have begun.
  int64_t lines() const { return lines_; }

 private:
  int64_t lines_ = 0;
  bool blank_ = true;  // the line that has begun, as far as it is known
};

// The columns alone.
// Args:    text: the front of the file, with a header that is whole or too long.
// Errors:  as ParseCsv, of blank lines and the header.
absl::StatusOr<std::vector<std::string>> ParseCsvHeader(absl::string_view text, absl::string_view path);

}  // namespace penstock

#endif  // PENSTOCK_COMMON_CSV_FILE_H_
