#include "cli/checkpoint_argument.h"

#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "cli/client.h"
#include "common/channel.h"
#include "common/checkpoint/checkpoint_dir.h"
#include "common/file.h"
#include "common/status_macros.h"

namespace penstock {
namespace {

std::string Absolute(const std::string& path) {
  std::error_code error;
  const std::filesystem::path absolute = std::filesystem::absolute(path, error).lexically_normal();
  if (error) return path;
  std::string text = absolute.string();
  if (text.size() > 1 && text.back() == '/') text.pop_back();
  return text;
}

}  // namespace

bool NamesFolder(const std::string& argument) {
  std::error_code error;
  return argument.find('/') != std::string::npos || std::filesystem::is_directory(argument, error);
}

absl::StatusOr<CheckpointArgument> FindCheckpoint(const std::string& folder) {
  const std::string path = Absolute(folder);
  std::error_code error;
  if (!std::filesystem::is_directory(path, error)) {
    return absl::NotFoundError(absl::StrCat(path, ": no such folder"));
  }
  if (FileExists(JoinPath(path, kManifestName))) return CheckpointArgument{.path = path};
  PENSTOCK_ASSIGN_OR_RETURN(FoundCheckpoint found, NewestComplete(path));
  return CheckpointArgument{.path = found.path, .skipped = std::move(found.skipped)};
}

absl::StatusOr<CheckpointArgument> FindJobCheckpoint(const std::string& job, const std::string& address) {
  PENSTOCK_RETURN_IF_ERROR(CheckLoopback(address));
  PENSTOCK_ASSIGN_OR_RETURN(const v1::GetReply reply, Client(address).Get(job));
  if (reply.status().checkpoint().empty()) {
    return absl::NotFoundError(absl::StrCat("job ", reply.status().job(), " has no checkpoint yet"));
  }
  return CheckpointArgument{.path = reply.status().checkpoint()};
}

}  // namespace penstock
