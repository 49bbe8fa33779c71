#include "cli/text_table.h"

#include <algorithm>
#include <utility>

#include "common/logging.h"

namespace penstock {
namespace {

constexpr int kGap = 2;
// A column is not cut below this: less says nothing.
constexpr int kMinWidth = 8;
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
      if (columns_[c].may_shrink && widths[c] > kMinWidth && (widest == nullptr || widths[c] > *widest)) {
        widest = &widths[c];
      }
    }
    if (widest == nullptr) break;
    --*widest;
  }
  return widths;
}

std::string TextTable::Render(int width) const {
  const std::vector<int> widths = Widths(width);
  std::string text;
  const auto add_line = [&](auto&& cell) {
    std::string line;
    for (size_t c = 0; c < columns_.size(); ++c) {
      const std::string shown = CutText(cell(c), std::max(1, widths[c]));
      const std::string pad(std::max(0, widths[c] - TextWidth(shown)), ' ');
      line += columns_[c].align == TableColumn::Align::kRight ? pad + shown : shown + pad;
      if (c + 1 < columns_.size()) line += std::string(kGap, ' ');
    }
    if (width > 0) line = CutText(line, width);
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + "\n";
  };
  add_line([&](size_t c) { return columns_[c].title; });
  for (const auto& row : rows_) add_line([&](size_t c) { return row[c]; });
  return text;
}

}  // namespace penstock
