#include "common/data/file_run.h"

#include <glob.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "common/logging.h"
#include "common/status_macros.h"

namespace penstock {

absl::StatusOr<std::vector<std::string>> FilesNamed(const std::string& path) {
  if (FileExists(path) || path.find_first_of("*?[") == std::string::npos) return std::vector<std::string>{path};
  glob_t found = {};
  const auto release = absl::MakeCleanup([&found] { ::globfree(&found); });
  errno = 0;
  const int failed = ::glob(path.c_str(), GLOB_NOSORT | GLOB_ERR, nullptr, &found);
  if (failed == GLOB_NOMATCH) {
    return absl::NotFoundError(absl::StrCat(path, ": no file matches: check the folder and the pattern"));
  }
  if (failed != 0) return FileError(errno == 0 ? EIO : errno, path, "look for files");
  std::vector<std::string> names(found.gl_pathv, found.gl_pathv + found.gl_pathc);
  std::sort(names.begin(), names.end());
  return names;
}

void FileRun::Append(File file, uint64_t begin, uint64_t bytes) {
  CHECK_GE(bytes, 1u);
  const uint64_t start = this->bytes();
  parts_.push_back({std::move(file), begin, bytes, start});
}

size_t FileRun::Find(uint64_t offset) const {
  const auto after = std::upper_bound(parts_.begin(), parts_.end(), offset,
                                      [](uint64_t at, const Stretch& part) { return at < part.start; });
  return static_cast<size_t>(after - parts_.begin()) - 1;
}

absl::Status FileRun::ReadAt(uint64_t offset, void* out, size_t bytes) const {
  CHECK(offset <= this->bytes() && bytes <= this->bytes() - offset);
  char* to = static_cast<char*>(out);
  for (size_t i = bytes == 0 ? 0 : Find(offset); bytes > 0; ++i) {
    const Stretch& part = parts_[i];
    const uint64_t within = offset - part.start;
    const size_t piece = static_cast<size_t>(std::min<uint64_t>(bytes, part.bytes - within));
    PENSTOCK_RETURN_IF_ERROR(part.file.ReadAt(part.begin + within, to, piece));
    to += piece;
    offset += piece;
    bytes -= piece;
  }
  return absl::OkStatus();
}

FilePlace FileRun::PlaceOf(uint64_t offset) const {
  CHECK_LT(offset, bytes());
  const Stretch& part = parts_[Find(offset)];
  return {part.file.path(), part.begin + (offset - part.start)};
}

}  // namespace penstock
