// Files that are read one after the other as if they were one, and the files that a path of a job names. Everything is
// read with pread, not mapped: a file that shrinks under a running job is an error to report, not a signal.
// FileRun is thread-safe once built.
#ifndef PENSTOCK_COMMON_DATA_FILE_RUN_H_
#define PENSTOCK_COMMON_DATA_FILE_RUN_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/file.h"

namespace penstock {

// The files that `path` names: itself, or, where no such file is there and it holds one of *?[, what matches it, in the
// order of their bytes (so that shards have the same order on every machine).
// Errors: NotFound: nothing matches. Unavailable: a folder on the way cannot be read.
absl::StatusOr<std::vector<std::string>> FilesNamed(const std::string& path);

// A place in one of the files.
struct FilePlace {
  std::string path;
  uint64_t byte = 0;  // from the start of that file
};

class FileRun {
 public:
  // Appends bytes [begin, begin + bytes) of a file. REQUIRES: it has so many, bytes >= 1.
  void Append(File file, uint64_t begin, uint64_t bytes);

  uint64_t bytes() const { return parts_.empty() ? 0 : parts_.back().start + parts_.back().bytes; }
  size_t files() const { return parts_.size(); }

  // Copies bytes [offset, offset + bytes) of the run to `out`; they may lie in several files.
  // REQUIRES: offset + bytes <= bytes().
  // Errors:   DataLoss: a file has become shorter. Unavailable: I/O error.
  absl::Status ReadAt(uint64_t offset, void* out, size_t bytes) const;

  // Where a byte of the run lies. REQUIRES: offset < bytes().
  FilePlace PlaceOf(uint64_t offset) const;

 private:
  struct Stretch {
    File file;
    uint64_t begin;  // in the file
    uint64_t bytes;
    uint64_t start;  // in the run
  };
  // The stretch that holds the byte.
  size_t Find(uint64_t offset) const;

  std::vector<Stretch> parts_;
};

}  // namespace penstock

#endif  // PENSTOCK_COMMON_DATA_FILE_RUN_H_
