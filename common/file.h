// Files and folders, with every error as a Status that names the path and the system's reason:
// NotFound where nothing is there, ResourceExhausted on a full disk (or a limit), AlreadyExists where an exclusive
// creation met something, Unavailable for any other I/O error. Functions are thread-safe; objects are
// thread-compatible.
#ifndef PENSTOCK_COMMON_FILE_H_
#define PENSTOCK_COMMON_FILE_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace penstock {

// "a/b" of "a" and "b"; `name` as it is if it is absolute or `folder` is empty.
std::string JoinPath(absl::string_view folder, absl::string_view name);
// "a/b" of "a/b/c"; "." of "c"; "/" of "/c".
std::string ParentPath(absl::string_view path);
// "c" of "a/b/c".
std::string BaseName(absl::string_view path);
// Whether `name` is a plain name inside a folder: not empty, no '/', no NUL, not "." or "..".
bool IsPlainName(absl::string_view name);

// The Status of a failed system call: "PATH: cannot DO: REASON".
// Args:    error: errno of the call; does: "open", "write", …
absl::Status FileError(int error, absl::string_view path, absl::string_view does);

bool FileExists(const std::string& path);

// Reads a whole regular file. Errors: ResourceExhausted: it has more than max_bytes. InvalidArgument: not a file.
absl::StatusOr<std::string> ReadFile(const std::string& path, size_t max_bytes);

// Replaces or creates `path` so that, whenever power fails, it holds the old contents or the new, whole: exclusive
// temporary file beside it, fdatasync, rename, fsync of the folder. The folder must exist.
absl::Status WriteFileAtomically(const std::string& path, absl::string_view contents);

// Creates the folder and those above it that are missing, durably. OK if it is there.
absl::Status MakeDirs(const std::string& path);

// Names in a folder, sorted, without "." and "..".
absl::StatusOr<std::vector<std::string>> ListDir(const std::string& path);

// Removes a file, or a folder with all it holds; follows no links. OK if there is none.
absl::Status RemoveTree(const std::string& path);

// Renames inside one folder, over what may be there, and returns when that is durable.
absl::Status RenameAndSync(const std::string& from, const std::string& to);

// Makes what was created, renamed or removed in the folder durable.
absl::Status SyncDir(const std::string& path);

// An open file; closed with the object.
class File {
 public:
  File() = default;
  File(File&& other) noexcept;
  File& operator=(File&& other) noexcept;
  ~File();

  static absl::StatusOr<File> OpenToRead(const std::string& path);
  // Errors: AlreadyExists: there is something at `path`, even a dangling link.
  static absl::StatusOr<File> CreateExclusive(const std::string& path);
  // Created if absent; every Write goes to the end.
  static absl::StatusOr<File> OpenToAppend(const std::string& path);

  const std::string& path() const { return path_; }
  absl::StatusOr<uint64_t> Bytes() const;

  // Reads exactly `bytes` from `offset`. Thread-safe. Errors: DataLoss: the file ends before.
  absl::Status ReadAt(uint64_t offset, void* out, size_t bytes) const;
  absl::Status Write(const void* data, size_t bytes);
  // Returns when the contents are on disk.
  absl::Status Sync();
  // Closes and reports what only closing reveals. The destructor closes silently.
  absl::Status Close();

 private:
  friend class FileLock;
  File(int fd, std::string path) : fd_(fd), path_(std::move(path)) {}

  int fd_ = -1;
  std::string path_;
};

// A file that one process at a time holds, until the object or the process ends, however it ends.
class FileLock {
 public:
  FileLock() = default;
  FileLock(FileLock&&) noexcept = default;
  FileLock& operator=(FileLock&&) noexcept = default;

  // Takes the lock, or answers at once that it cannot. The file is created and holds the owner's process id.
  // Errors: FailedPrecondition: another process (or object) holds it; names its process id.
  static absl::StatusOr<FileLock> Acquire(const std::string& path);

  // Takes over a lock that the parent process acquired and left to this one, under the descriptor `fd`. The file holds
  // this process's id from now on.
  // Errors: InvalidArgument: `fd` is not the file at `path`. FailedPrecondition: as Acquire.
  static absl::StatusOr<FileLock> Inherit(const std::string& path, int fd);

  // What a child process is to inherit for Inherit; of no other use.
  int descriptor() const { return file_.fd_; }

 private:
  static absl::StatusOr<FileLock> Take(File file);
  explicit FileLock(File file) : file_(std::move(file)) {}
  File file_;
};

}  // namespace penstock

#endif  // PENSTOCK_COMMON_FILE_H_
