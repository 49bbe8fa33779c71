// A csv file of numbers under one header line. Pure.
// Source: docs/training.md, "Batches".
#ifndef PENSTOCK_COMMON_CSV_FILE_H_
#define PENSTOCK_COMMON_CSV_FILE_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace penstock {

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
//          number; "PATH:LINE:COLUMN: error: ...", where COLUMN counts bytes from 1.
absl::StatusOr<CsvTable> ParseCsv(absl::string_view text, absl::string_view path);

}  // namespace penstock

#endif  // PENSTOCK_COMMON_CSV_FILE_H_
