#include "cli/text_table.h"

#include <algorithm>
#include <utility>

#include "common/logging.h"

namespace penstock {
namespace {

constexpr int kGap = 2;
// A column is not made narrower than this: less says nothing.
constexpr int kMinWidth = 8;
// A cell is not made higher: `status JOB` shows a reason whole.
constexpr int kMostLines = 4;
constexpr char kEllipsis[] = "\xe2\x80\xa6";

bool StartsCharacter(char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }

}  // namespace

int TextWidth(const std::string& text) {
  return static_cast<int>(std::count_if(text.begin(), text.end(), StartsCharacter));
}

std::string CutText(const std::string& text, int width) {
  if (TextWidth(text) <= width) return text;
  size_t end = 0;
  for (int characters = 0; end < text.size(); ++end) {
    if (StartsCharacter(text[end]) && characters++ == width - 1) break;
  }
  return text.substr(0, end) + kEllipsis;
}

std::string CutMiddle(const std::string& text, int width) {
  const int characters = TextWidth(text);
  if (characters <= width) return text;
  const int head = (width - 1) / 2, tail = width - 1 - head;
  size_t head_end = 0, tail_begin = 0;
  int seen = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    if (!StartsCharacter(text[i])) continue;
    if (seen == head) head_end = i;
    if (seen == characters - tail) tail_begin = i;
    ++seen;
  }
  return text.substr(0, head_end) + kEllipsis + (tail > 0 ? text.substr(tail_begin) : "");
}

std::vector<std::string> WrapText(const std::string& text, int width, int most) {
  std::vector<std::string> lines;
  std::string rest = text;
  while (TextWidth(rest) > width && static_cast<int>(lines.size()) + 1 < most) {
    // The end of what fits, and the last blank before it or just behind it.
    size_t end = 0, blank = std::string::npos;
    for (int characters = 0; end < rest.size(); ++end) {
      if (rest[end] == ' ' && end > 0) blank = end;
      if (StartsCharacter(rest[end]) && characters++ == width) break;
    }
    const size_t cut = blank != std::string::npos ? blank : end;
    lines.push_back(rest.substr(0, cut));
    rest.erase(0, cut + (blank != std::string::npos ? 1 : 0));
  }
  lines.push_back(CutText(rest, width));
  return lines;
}

void TextTable::AddRow(std::vector<std::string> cells) {
  CHECK_EQ(cells.size(), columns_.size());
  rows_.push_back(std::move(cells));
}

std::vector<int> TextTable::Widths(int width) const {
  std::vector<int> widths;
  int total = -kGap;
  for (size_t c = 0; c < columns_.size(); ++c) {
    int widest = TextWidth(columns_[c].title);
    for (const auto& row : rows_) widest = std::max(widest, TextWidth(row[c]));
    widths.push_back(widest);
    total += widest + kGap;
  }
  for (int excess = width > 0 ? total - width : 0; excess > 0; --excess) {
    int* widest = nullptr;
    for (size_t c = 0; c < columns_.size(); ++c) {
      if (columns_[c].fit != TableColumn::Fit::kWhole && widths[c] > kMinWidth &&
          (widest == nullptr || widths[c] > *widest)) {
        widest = &widths[c];
      }
    }
    if (widest == nullptr) break;
    --*widest;
  }
  return widths;
}

std::vector<std::string> TextTable::CellLines(size_t column, const std::string& text, int width) const {
  if (columns_[column].fit == TableColumn::Fit::kWrap) return WrapText(text, width, kMostLines);
  return {CutMiddle(text, width)};
}

std::string TextTable::Render(int width) const {
  const std::vector<int> widths = Widths(width);
  std::string text;
  const auto add_line = [&](const std::vector<std::string>& cells) {
    std::string line;
    for (size_t c = 0; c < columns_.size(); ++c) {
      const std::string pad(std::max(0, widths[c] - TextWidth(cells[c])), ' ');
      line += columns_[c].align == TableColumn::Align::kRight ? pad + cells[c] : cells[c] + pad;
      if (c + 1 < columns_.size()) line += std::string(kGap, ' ');
    }
    if (width > 0) line = CutText(line, width);
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + "\n";
  };
  std::vector<std::string> cells;
  for (const TableColumn& column : columns_) cells.push_back(column.title);
  add_line(cells);
  for (const auto& row : rows_) {
    std::vector<std::vector<std::string>> lines;
    size_t height = 1;
    for (size_t c = 0; c < columns_.size(); ++c) {
      lines.push_back(CellLines(c, row[c], std::max(1, widths[c])));
      height = std::max(height, lines.back().size());
    }
    for (size_t i = 0; i < height; ++i) {
      for (size_t c = 0; c < columns_.size(); ++c) cells[c] = i < lines[c].size() ? lines[c][i] : "";
      add_line(cells);
    }
  }
  return text;
}

}  // namespace penstock
