#include "coordinator/launch/last_words.h"

#include <algorithm>
#include <cstddef>

#include "absl/strings/ascii.h"

namespace penstock {
namespace {

// A stack trace's upper part, or a chain of errors.
constexpr size_t kMostErrors = 8;
// What the process did at the end, errors or not.
constexpr size_t kLastLines = 3;

// Whether the line tells of trouble: an error of the log ("E0131 10:11:12.345678 77 file.cc:12] text"; F is fatal), or
// one that is none of the log's lines.
bool TellsOfTrouble(const std::string& line) {
  const bool logged = line.size() > 5 && std::string("IWEF").find(line[0]) != std::string::npos &&
                      std::all_of(line.begin() + 1, line.begin() + 5,
                                  [](char c) { return absl::ascii_isdigit(static_cast<unsigned char>(c)); });
  return !logged || line[0] == 'E' || line[0] == 'F';
}

}  // namespace

std::vector<std::string> LastWords(const std::vector<std::string>& lines) {
  std::vector<bool> shown(lines.size(), false);
  size_t errors = 0;
  for (size_t i = lines.size(); i-- > 0;) {
    const bool last = lines.size() - i <= kLastLines;
    const bool error = errors < kMostErrors && TellsOfTrouble(lines[i]);
    errors += error;
    shown[i] = last || error;
  }
  std::vector<std::string> words;
  for (size_t i = 0; i < lines.size(); ++i) {
    if (shown[i]) words.push_back(lines[i]);
  }
  return words;
}

}  // namespace penstock
