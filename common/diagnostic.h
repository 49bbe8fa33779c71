// Errors of a user's file: where, what, and the line itself with a caret. Thread-compatible.
#ifndef PENSTOCK_COMMON_DIAGNOSTIC_H_
#define PENSTOCK_COMMON_DIAGNOSTIC_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "proto/model.pb.h"

namespace penstock {

// Collects the errors of a run over one or several files, so that the user sees all of them at once.
class Diagnostics {
 public:
  // Whether ToStatus may open the files that errors name, to show their lines: not when the places came over the wire.
  enum class Source { kShown, kHidden };
  explicit Diagnostics(Source source = Source::kShown) : source_(source) {}

  // Adds an error. `length` is how many characters the caret underlines.
  void Error(const v1::SourceLocation& at, absl::string_view message, int length = 1);

  // Takes back an error that another one explains.
  void Withdraw(const v1::SourceLocation& at, absl::string_view message);

  bool ok() const { return errors_.empty(); }
  int count() const { return static_cast<int>(errors_.size()); }

  // InvalidArgument with every error as "file:line:column: error: message", the source line and a caret, in the
  // order of their places, at most limits::kMaxFileErrors and a count of the rest; OK when there are none.
  // Reads the files again for the source lines; a file that cannot be read has none.
  absl::Status ToStatus() const;

 private:
  struct Entry {
    v1::SourceLocation at;
    std::string message;
    int length;
  };
  Source source_;
  std::vector<Entry> errors_;
};

// The candidate nearest to `word` by edit distance, or "" when none is near enough to be meant.
std::string NearestWord(absl::string_view word, const std::vector<std::string>& candidates);

}  // namespace penstock

#endif  // PENSTOCK_COMMON_DIAGNOSTIC_H_
