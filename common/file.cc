#include "common/file.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <filesystem>
#include <memory>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"

namespace penstock {
namespace {

// How much one write or read call moves at most: the kernel's own bound is a little below 2 GiB.
constexpr size_t kMaxCallBytes = size_t{1} << 30;

absl::StatusCode CodeOf(int error) {
  switch (error) {
    case ENOENT:
    case ENOTDIR:
      return absl::StatusCode::kNotFound;
    case EEXIST:
      return absl::StatusCode::kAlreadyExists;
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
    case EMFILE:
    case ENFILE:
    case ENOMEM:
      return absl::StatusCode::kResourceExhausted;
    default:
      return absl::StatusCode::kUnavailable;
  }
}

int OpenRetrying(const std::string& path, int flags, mode_t mode = 0644) {
  int fd;
  do {
    fd = ::open(path.c_str(), flags | O_CLOEXEC, mode);
  } while (fd < 0 && errno == EINTR);
  return fd;
}

}  // namespace

std::string JoinPath(absl::string_view folder, absl::string_view name) {
  if (folder.empty() || (!name.empty() && name.front() == '/')) return std::string(name);
  return absl::StrCat(folder, folder.back() == '/' ? "" : "/", name);
}

std::string ParentPath(absl::string_view path) {
  while (path.size() > 1 && path.back() == '/') path.remove_suffix(1);
  const size_t slash = path.rfind('/');
  if (slash == absl::string_view::npos) return ".";
  return std::string(slash == 0 ? path.substr(0, 1) : path.substr(0, slash));
}

std::string BaseName(absl::string_view path) {
  while (path.size() > 1 && path.back() == '/') path.remove_suffix(1);
  const size_t slash = path.rfind('/');
  return std::string(slash == absl::string_view::npos ? path : path.substr(slash + 1));
}

bool IsPlainName(absl::string_view name) {
  return !name.empty() && name != "." && name != ".." && name.find('/') == absl::string_view::npos &&
         name.find('\0') == absl::string_view::npos;
}

absl::Status FileError(int error, absl::string_view path, absl::string_view does) {
  return absl::Status(CodeOf(error),
                      absl::StrCat(path, ": cannot ", does, ": ", std::generic_category().message(error)));
}

bool FileExists(const std::string& path) {
  struct stat info;
  return ::stat(path.c_str(), &info) == 0;
}

absl::StatusOr<std::string> ReadFile(const std::string& path, size_t max_bytes) {
  PENSTOCK_ASSIGN_OR_RETURN(const File file, File::OpenToRead(path));
  PENSTOCK_ASSIGN_OR_RETURN(const uint64_t bytes, file.Bytes());
  if (bytes > max_bytes) {
    return absl::ResourceExhaustedError(
        absl::StrCat(path, ": has ", bytes, " bytes; at most ", max_bytes, " are read"));
  }
  std::string contents(bytes, '\0');
  PENSTOCK_RETURN_IF_ERROR(file.ReadAt(0, contents.data(), bytes));
  return contents;
}

absl::Status WriteFileAtomically(const std::string& path, absl::string_view contents) {
  // Unique in this process and among those alive, so that two writers cannot meet in one temporary file.
  static std::atomic<uint64_t> counter{0};
  const std::string temporary = absl::StrCat(path, ".partial-", ::getpid(), "-", counter.fetch_add(1));
  ::unlink(temporary.c_str());  // of a process that had this id before
  const absl::Status written = [&]() -> absl::Status {
    PENSTOCK_ASSIGN_OR_RETURN(File file, File::CreateExclusive(temporary));
    PENSTOCK_RETURN_IF_ERROR(file.Write(contents.data(), contents.size()));
    PENSTOCK_RETURN_IF_ERROR(file.Sync());
    PENSTOCK_RETURN_IF_ERROR(file.Close());
    return RenameAndSync(temporary, path);
  }();
  if (!written.ok()) ::unlink(temporary.c_str());
  return written;
}

absl::Status MakeDirs(const std::string& path) {
  if (::mkdir(path.c_str(), 0755) == 0) return SyncDir(ParentPath(path));
  if (errno == EEXIST) {
    struct stat info;
    if (::stat(path.c_str(), &info) != 0) return FileError(errno, path, "create the folder");
    if (S_ISDIR(info.st_mode)) return absl::OkStatus();
    return absl::AlreadyExistsError(absl::StrCat(path, ": cannot create the folder: a file of this name is there"));
  }
  const std::string parent = ParentPath(path);
  if (errno != ENOENT || parent == path) return FileError(errno, path, "create the folder");
  PENSTOCK_RETURN_IF_ERROR(MakeDirs(parent));
  if (::mkdir(path.c_str(), 0755) != 0 && errno != EEXIST) return FileError(errno, path, "create the folder");
  return SyncDir(parent);
}

absl::StatusOr<std::vector<std::string>> ListDir(const std::string& path) {
  const std::unique_ptr<DIR, int (*)(DIR*)> dir(::opendir(path.c_str()), &::closedir);
  if (dir == nullptr) return FileError(errno, path, "list");
  std::vector<std::string> names;
  while (true) {
    errno = 0;
    const dirent* entry = ::readdir(dir.get());
    if (entry == nullptr) break;
    if (IsPlainName(entry->d_name)) names.emplace_back(entry->d_name);
  }
  if (errno != 0) return FileError(errno, path, "list");
  std::sort(names.begin(), names.end());
  return names;
}

absl::Status RemoveTree(const std::string& path) {
  std::error_code error;
  std::filesystem::remove_all(path, error);
  if (error) return FileError(error.value(), path, "remove");
  return absl::OkStatus();
}

absl::Status RenameAndSync(const std::string& from, const std::string& to) {
  if (::rename(from.c_str(), to.c_str()) != 0) return FileError(errno, to, "put in place");
  return SyncDir(ParentPath(to));
}

absl::Status SyncDir(const std::string& path) {
  const int fd = OpenRetrying(path, O_RDONLY | O_DIRECTORY);
  if (fd < 0) return FileError(errno, path, "open the folder");
  const int failed = ::fsync(fd) == 0 ? 0 : errno;
  ::close(fd);
  // EINVAL: this file system has nothing to sync for a folder.
  if (failed != 0 && failed != EINVAL) return FileError(failed, path, "sync the folder");
  return absl::OkStatus();
}

File::File(File&& other) noexcept : fd_(std::exchange(other.fd_, -1)), path_(std::move(other.path_)) {}

File& File::operator=(File&& other) noexcept {
  if (this != &other) {
    if (fd_ >= 0) ::close(fd_);
    fd_ = std::exchange(other.fd_, -1);
    path_ = std::move(other.path_);
  }
  return *this;
}

File::~File() {
  if (fd_ >= 0) ::close(fd_);
}

absl::StatusOr<File> File::OpenToRead(const std::string& path) {
  // Non-blocking, so that a named pipe is refused below instead of waited for; files do not care.
  const int fd = OpenRetrying(path, O_RDONLY | O_NONBLOCK);
  if (fd < 0) return FileError(errno, path, "open");
  File file(fd, path);
  struct stat info;
  if (::fstat(fd, &info) != 0) return FileError(errno, path, "inspect");
  if (!S_ISREG(info.st_mode)) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": ", S_ISDIR(info.st_mode) ? "is a folder" : "is not a file"));
  }
  return file;
}

absl::StatusOr<File> File::CreateExclusive(const std::string& path) {
  const int fd = OpenRetrying(path, O_WRONLY | O_CREAT | O_EXCL);
  if (fd < 0) return FileError(errno, path, "create");
  return File(fd, path);
}

absl::StatusOr<File> File::OpenToAppend(const std::string& path) {
  const int fd = OpenRetrying(path, O_WRONLY | O_CREAT | O_APPEND);
  if (fd < 0) return FileError(errno, path, "open");
  return File(fd, path);
}

absl::StatusOr<uint64_t> File::Bytes() const {
  struct stat info;
  if (::fstat(fd_, &info) != 0) return FileError(errno, path_, "inspect");
  return static_cast<uint64_t>(info.st_size);
}

absl::Status File::ReadAt(uint64_t offset, void* out, size_t bytes) const {
  char* to = static_cast<char*>(out);
  while (bytes > 0) {
    const ssize_t got = ::pread(fd_, to, std::min(bytes, kMaxCallBytes), static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return FileError(errno, path_, "read");
    if (got == 0) {
      return absl::DataLossError(absl::StrCat(path_, ": ends at byte ", offset, ", ", bytes, " bytes too early"));
    }
    to += got;
    offset += static_cast<uint64_t>(got);
    bytes -= static_cast<size_t>(got);
  }
  return absl::OkStatus();
}

absl::Status File::Write(const void* data, size_t bytes) {
  const char* from = static_cast<const char*>(data);
  while (bytes > 0) {
    const ssize_t put = ::write(fd_, from, std::min(bytes, kMaxCallBytes));
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return FileError(errno, path_, "write");
    from += put;
    bytes -= static_cast<size_t>(put);
  }
  return absl::OkStatus();
}

absl::Status File::Sync() {
  if (::fdatasync(fd_) != 0) return FileError(errno, path_, "sync");
  return absl::OkStatus();
}

absl::Status File::Close() {
  const int fd = std::exchange(fd_, -1);
  if (fd >= 0 && ::close(fd) != 0 && errno != EINTR) return FileError(errno, path_, "close");
  return absl::OkStatus();
}

absl::StatusOr<FileLock> FileLock::Acquire(const std::string& path) {
  const int fd = OpenRetrying(path, O_RDWR | O_CREAT);
  if (fd < 0) return FileError(errno, path, "open");
  return Take(File(fd, path));
}

absl::StatusOr<FileLock> FileLock::Inherit(const std::string& path, int fd) {
  struct stat there {};
  struct stat given {};
  if (::stat(path.c_str(), &there) != 0 || ::fstat(fd, &given) != 0 || there.st_dev != given.st_dev ||
      there.st_ino != given.st_ino) {
    return absl::InvalidArgumentError(absl::StrCat("descriptor ", fd, " is not ", path));
  }
  ::fcntl(fd, F_SETFD, FD_CLOEXEC);
  ::lseek(fd, 0, SEEK_SET);
  return Take(File(fd, path));
}

absl::StatusOr<FileLock> FileLock::Take(File file) {
  const int fd = file.fd_;
  const std::string& path = file.path_;
  // A lock belongs to what was opened, not to a process: one that was inherited is held already.
  if (::flock(fd, LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return FileError(errno, path, "lock");
    char owner[32] = "";
    const ssize_t got = ::pread(fd, owner, sizeof(owner) - 1, 0);
    const std::string who = got > 0 ? absl::StrCat("process ", owner) : std::string("another process");
    return absl::FailedPreconditionError(absl::StrCat(path, ": is held by ", who));
  }
  if (::ftruncate(fd, 0) != 0) return FileError(errno, path, "empty");
  const std::string pid = absl::StrCat(::getpid());
  PENSTOCK_RETURN_IF_ERROR(file.Write(pid.data(), pid.size()));
  return FileLock(std::move(file));
}

}  // namespace penstock
