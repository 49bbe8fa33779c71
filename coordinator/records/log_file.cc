#include "coordinator/records/log_file.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <iterator>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/file.h"
#include "common/status_macros.h"

namespace penstock {
namespace {

// How far back the last lines are looked for.
constexpr uint64_t kTailBytes = uint64_t{64} << 10;

// A descriptor that is closed, and its lock given back, at the end of the scope.
class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }

 private:
  const int fd_;
};

std::string BasePath(const std::string& path) { return path + ".base"; }
std::string RotatedPath(const std::string& path) { return path + ".1"; }

// The position of the file's first byte.
uint64_t BaseOf(const std::string& path) {
  const absl::StatusOr<std::string> text = ReadFile(BasePath(path), 64);
  uint64_t base = 0;
  return text.ok() && absl::SimpleAtoi(*text, &base) ? base : 0;
}

uint64_t BytesOf(const std::string& path) {
  struct stat info;
  return ::stat(path.c_str(), &info) == 0 ? static_cast<uint64_t>(info.st_size) : 0;
}

absl::Status WriteAll(int fd, absl::string_view text, const std::string& path) {
  while (!text.empty()) {
    const ssize_t put = ::write(fd, text.data(), text.size());
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return FileError(errno, path, "write");
    text.remove_prefix(static_cast<size_t>(put));
  }
  return absl::OkStatus();
}

// Whether `path` still leads to the file that is open, or another writer has rotated it meanwhile.
bool StillCurrent(int fd, const std::string& path) {
  struct stat open, there;
  return ::fstat(fd, &open) == 0 && ::stat(path.c_str(), &there) == 0 && open.st_ino == there.st_ino &&
         open.st_dev == there.st_dev;
}

absl::Status Rotate(const std::string& path, uint64_t bytes) {
  // The base first: whoever opens the next file finds it right. Readers are kept out by the lock on this one.
  PENSTOCK_RETURN_IF_ERROR(WriteFileAtomically(BasePath(path), absl::StrCat(BaseOf(path) + bytes)));
  if (::rename(path.c_str(), RotatedPath(path).c_str()) != 0) return FileError(errno, path, "rotate");
  return absl::OkStatus();
}

// What of `path` lies at [from, from + max_bytes), where the file's first byte is position `base`.
absl::StatusOr<std::string> ReadRange(const std::string& path, uint64_t base, uint64_t from, uint64_t max_bytes) {
  const absl::StatusOr<File> file = File::OpenToRead(path);
  if (absl::IsNotFound(file.status())) return std::string();
  if (!file.ok()) return file.status();
  PENSTOCK_ASSIGN_OR_RETURN(const uint64_t bytes, file->Bytes());
  const uint64_t offset = std::max(from, base) - base;
  if (offset >= bytes) return std::string();
  std::string text(std::min(max_bytes, bytes - offset), '\0');
  PENSTOCK_RETURN_IF_ERROR(file->ReadAt(offset, text.data(), text.size()));
  return text;
}

// Cuts after the last whole line; a piece that holds none is one line.
std::vector<std::string> TakeLines(std::string* text, bool full) {
  const size_t end = text->rfind('\n');
  if (end == std::string::npos && !full) text->clear();
  if (end != std::string::npos) text->resize(end + 1);
  if (text->empty()) return {};
  std::vector<std::string> lines = absl::StrSplit(*text, '\n');
  if (lines.back().empty()) lines.pop_back();
  return lines;
}

// REQUIRES: nobody rotates meanwhile.
absl::StatusOr<LogPiece> ReadFrom(const std::string& path, uint64_t base, uint64_t from, size_t max_bytes) {
  const uint64_t rotated_bytes = std::min(base, BytesOf(RotatedPath(path)));
  LogPiece piece;
  piece.next = std::max(from, base - rotated_bytes);
  const bool older = piece.next < base;
  PENSTOCK_ASSIGN_OR_RETURN(std::string text,
                            older ? ReadRange(RotatedPath(path), base - rotated_bytes, piece.next, max_bytes)
                                  : ReadRange(path, base, piece.next, max_bytes));
  piece.lines = TakeLines(&text, text.size() == max_bytes);
  piece.next += text.size();
  return piece;
}

}  // namespace

absl::Status AppendToLog(const std::string& path, absl::string_view lines, size_t rotate_bytes) {
  while (true) {
    const Descriptor log(::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644));
    if (log.get() < 0) return FileError(errno, path, "open");
    if (::flock(log.get(), LOCK_EX) != 0) return FileError(errno, path, "lock");
    if (!StillCurrent(log.get(), path)) continue;
    PENSTOCK_RETURN_IF_ERROR(WriteAll(log.get(), lines, path));
    const uint64_t bytes = BytesOf(path);
    return bytes >= rotate_bytes ? Rotate(path, bytes) : absl::OkStatus();
  }
}

absl::StatusOr<LogPiece> ReadLogPiece(const std::string& path, uint64_t from, size_t max_bytes) {
  while (true) {
    const Descriptor log(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (log.get() < 0 && errno != ENOENT) return FileError(errno, path, "open");
    // While this lock is held nobody rotates. Just after a rotation there is nothing to lock: see below.
    const bool missing = log.get() < 0;
    if (!missing && ::flock(log.get(), LOCK_SH) != 0) return FileError(errno, path, "lock");
    if (!missing && !StillCurrent(log.get(), path)) continue;
    const uint64_t base = BaseOf(path);
    PENSTOCK_ASSIGN_OR_RETURN(LogPiece piece, ReadFrom(path, base, from, max_bytes));
    if (missing && (FileExists(path) || BaseOf(path) != base)) continue;
    return piece;
  }
}

std::vector<std::string> LastLines(const std::string& path, int count) {
  const uint64_t end = BaseOf(path) + BytesOf(path);
  std::vector<std::string> lines;
  uint64_t at = end > kTailBytes ? end - kTailBytes : 0;
  const bool cut = at > 0;
  while (at < end) {
    absl::StatusOr<LogPiece> piece = ReadLogPiece(path, at, kTailBytes);
    if (!piece.ok() || piece->next <= at) break;
    at = piece->next;
    std::move(piece->lines.begin(), piece->lines.end(), std::back_inserter(lines));
  }
  // The first is most likely the end of a line only.
  if (cut && lines.size() > 1) lines.erase(lines.begin());
  if (lines.size() > static_cast<size_t>(std::max(count, 0))) lines.erase(lines.begin(), lines.end() - count);
  return lines;
}

}  // namespace penstock
