// Columns of text that fit a terminal. Pure.
#ifndef PENSTOCK_CLI_TEXT_TABLE_H_
#define PENSTOCK_CLI_TEXT_TABLE_H_

#include <cstddef>
#include <string>
#include <vector>

namespace penstock {

struct TableColumn {
  std::string title;
  enum class Align { kLeft, kRight };
  Align align = Align::kLeft;
  // What may happen to its texts for the table to fit: nothing; an ellipsis in the middle, for names whose end tells
  // them apart; several lines, for sentences.
  enum class Fit { kWhole, kCut, kWrap };
  Fit fit = Fit::kWhole;
};

class TextTable {
 public:
  explicit TextTable(std::vector<TableColumn> columns) : columns_(std::move(columns)) {}

  // REQUIRES: as many cells as columns.
  void AddRow(std::vector<std::string> cells);

  // The table with its titles; lines have no trailing blanks, each ends with a newline.
  // Args: width: columns of the terminal; 0: as wide as the texts.
  // Columns that may become narrower do so, widest first; if that is not enough, lines are cut at `width`.
  std::string Render(int width) const;

 private:
  std::vector<int> Widths(int width) const;
  std::vector<std::string> CellLines(size_t column, const std::string& text, int width) const;

  std::vector<TableColumn> columns_;
  std::vector<std::vector<std::string>> rows_;
};

// Characters (code points) of UTF-8 text.
int TextWidth(const std::string& text);

// The text, cut to at most `width` characters, the last of them an ellipsis if it was cut. REQUIRES: width >= 1.
std::string CutText(const std::string& text, int width);

// The same with the ellipsis in the middle.
std::string CutMiddle(const std::string& text, int width);

// The text in lines of at most `width` characters, broken at blanks where there are some; at most `most` lines, the
// last one cut. REQUIRES: width >= 1, most >= 1.
std::vector<std::string> WrapText(const std::string& text, int width, int most);

}  // namespace penstock

#endif  // PENSTOCK_CLI_TEXT_TABLE_H_
