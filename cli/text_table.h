// Columns of text that fit a terminal. Pure.
#ifndef PENSTOCK_CLI_TEXT_TABLE_H_
#define PENSTOCK_CLI_TEXT_TABLE_H_

#include <string>
#include <vector>

namespace penstock {

struct TableColumn {
  std::string title;
  enum class Align { kLeft, kRight };
  Align align = Align::kLeft;
  bool may_shrink = false;  // its texts may be cut, with an ellipsis, for the table to fit
};

class TextTable {
 public:
  explicit TextTable(std::vector<TableColumn> columns) : columns_(std::move(columns)) {}

  // REQUIRES: as many cells as columns.
  void AddRow(std::vector<std::string> cells);

  // The table with its titles; lines have no trailing blanks, each ends with a newline.
  // Args: width: columns of the terminal; 0: as wide as the texts.
  // Columns that may shrink do so, widest first; if that is not enough, lines are cut at `width`.
  std::string Render(int width) const;

 private:
  std::vector<int> Widths(int width) const;

  std::vector<TableColumn> columns_;
  std::vector<std::vector<std::string>> rows_;
};

// Characters (code points) of UTF-8 text.
int TextWidth(const std::string& text);

// The text, cut to at most `width` characters, the last of them an ellipsis if it was cut. REQUIRES: width >= 1.
std::string CutText(const std::string& text, int width);

}  // namespace penstock

#endif  // PENSTOCK_CLI_TEXT_TABLE_H_
