// One log that grows, is rotated, and is read by position while it grows. Functions are thread-safe: writers of one
// log, even in two processes, take turns by a lock on the file.
#ifndef PENSTOCK_COORDINATOR_RECORDS_LOG_FILE_H_
#define PENSTOCK_COORDINATOR_RECORDS_LOG_FILE_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace penstock {

// Positions count the bytes that were ever written to the log. The file itself begins at the position that "PATH.base"
// states (0 without it); "PATH.1" holds what was before that.

// Appends whole lines (ending in '\n'). A file that has rotate_bytes by then becomes "PATH.1", over an older one.
// Errors: common/file.h's.
absl::Status AppendToLog(const std::string& path, absl::string_view lines, size_t rotate_bytes);

struct LogPiece {
  std::vector<std::string> lines;
  uint64_t next = 0;
};

// Whole lines after position `from`, at most max_bytes of them (but at least one); `next` is where to go on. Positions
// that rotation has taken away are skipped; a log that does not exist yet is empty.
absl::StatusOr<LogPiece> ReadLogPiece(const std::string& path, uint64_t from, size_t max_bytes);

// The last `count` lines.
std::vector<std::string> LastLines(const std::string& path, int count);

}  // namespace penstock

#endif  // PENSTOCK_COORDINATOR_RECORDS_LOG_FILE_H_
