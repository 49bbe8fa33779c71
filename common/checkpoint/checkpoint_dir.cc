#include "common/checkpoint/checkpoint_dir.h"

#include <fcntl.h>
#include <stdio.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <set>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "common/checkpoint/checkpoint_reader.h"
#include "common/file.h"
#include "common/logging.h"
#include "common/process.h"
#include "common/status_macros.h"

namespace penstock {
namespace {

constexpr char kPrefix[] = "step-";
constexpr char kTemporaryMark[] = ".tmp-";

// What a checkpoint is renamed to before it is taken apart, so that half of one is never seen as a checkpoint.
constexpr char kRemovedEnding[] = ".tmp-removed";

// Recovery needs the one before the newest, should the newest be damaged.
constexpr int kMinKeep = 2;

// A manifest lists some hundred bytes a tensor; this is a network of a hundred thousand tensors.
constexpr size_t kMaxManifestBytes = size_t{64} << 20;

struct StepFolder {
  uint64_t step;
  bool temporary;
};

// Reads "step-12" or "step-12.tmp-3"; anything else is not ours.
std::optional<StepFolder> ParseName(absl::string_view name) {
  if (!absl::ConsumePrefix(&name, kPrefix)) return std::nullopt;
  StepFolder folder{0, false};
  const size_t mark = name.find(kTemporaryMark);
  folder.temporary = mark != absl::string_view::npos;
  const absl::string_view digits = name.substr(0, mark);
  if (!absl::SimpleAtoi(digits, &folder.step) || absl::StrCat(folder.step) != digits) return std::nullopt;
  return folder;
}

// Names in `dir` that are checkpoints or temporary folders; none if there is no such folder.
absl::StatusOr<std::vector<std::pair<std::string, StepFolder>>> StepFolders(const std::string& dir) {
  std::vector<std::pair<std::string, StepFolder>> folders;
  absl::StatusOr<std::vector<std::string>> names = ListDir(dir);
  if (absl::IsNotFound(names.status())) return folders;
  if (!names.ok()) return names.status();
  for (std::string& name : *names) {
    if (const auto parsed = ParseName(name)) folders.emplace_back(std::move(name), *parsed);
  }
  return folders;
}

// Every file of the manifest is in the folder with its size.
absl::Status CheckSizes(const std::string& folder, const Manifest& manifest) {
  for (const CheckpointFile& expected : manifest.files) {
    const std::string path = JoinPath(folder, expected.name);
    const absl::StatusOr<File> file = File::OpenToRead(path);
    if (absl::IsNotFound(file.status())) return absl::DataLossError(absl::StrCat(path, ": is missing"));
    if (!file.ok()) return file.status();
    PENSTOCK_ASSIGN_OR_RETURN(const uint64_t bytes, file->Bytes());
    if (bytes == expected.bytes) continue;
    return absl::DataLossError(absl::StrCat(path, ": has ", bytes, " bytes; ", expected.bytes, " were written"));
  }
  return absl::OkStatus();
}

// CheckSizes, and nothing else lies there that would be published with them.
absl::Status CheckFiles(const std::string& folder, const Manifest& manifest) {
  const absl::Status sizes = CheckSizes(folder, manifest);
  if (absl::IsDataLoss(sizes)) return absl::FailedPreconditionError(sizes.message());
  if (!sizes.ok()) return sizes;
  std::set<std::string> expected = {kManifestName};
  for (const CheckpointFile& file : manifest.files) expected.insert(file.name);
  PENSTOCK_ASSIGN_OR_RETURN(const std::vector<std::string> names, ListDir(folder));
  for (const std::string& name : names) {
    if (expected.count(name) > 0) continue;
    return absl::FailedPreconditionError(
        absl::StrCat(JoinPath(folder, name), ": does not belong to the checkpoint that is being committed"));
  }
  return absl::OkStatus();
}

// Renames a checkpoint out of sight, then takes it apart.
absl::Status RemoveCheckpoint(const std::string& path) {
  const std::string removed = absl::StrCat(path, kRemovedEnding);
  PENSTOCK_RETURN_IF_ERROR(RemoveTree(removed));
  PENSTOCK_RETURN_IF_ERROR(RenameAndSync(path, removed));
  return RemoveTree(removed);
}

// Removes what a checkpoint has replaced. The new one is complete: what cannot be removed is not its failure, and goes
// with the temporary folders when a job next starts here.
void RemoveReplaced(const std::string& path) {
  const absl::Status removed = RemoveTree(path);
  if (!removed.ok()) LOG(WARNING) << "a checkpoint that was replaced stays: " << removed;
}

// Gives the temporary folder its final name, durably. A checkpoint of the same step that is there changes places with
// it in one move, and is removed afterwards; where the file system cannot do that, it is moved away first.
absl::Status Publish(const std::string& temporary, const std::string& final) {
  if (::rename(temporary.c_str(), final.c_str()) == 0) return SyncDir(ParentPath(final));
  if (errno != ENOTEMPTY && errno != EEXIST) return FileError(errno, final, "put in place");
  if (::renameat2(AT_FDCWD, temporary.c_str(), AT_FDCWD, final.c_str(), RENAME_EXCHANGE) == 0) {
    PENSTOCK_RETURN_IF_ERROR(SyncDir(ParentPath(final)));
    RemoveReplaced(temporary);
    return absl::OkStatus();
  }
  if (errno != EINVAL && errno != ENOSYS) return FileError(errno, final, "replace");
  const std::string removed = absl::StrCat(final, kRemovedEnding);
  PENSTOCK_RETURN_IF_ERROR(RemoveTree(removed));
  PENSTOCK_RETURN_IF_ERROR(RenameAndSync(final, removed));
  PENSTOCK_RETURN_IF_ERROR(RenameAndSync(temporary, final));
  RemoveReplaced(removed);
  return absl::OkStatus();
}

v1::CheckpointInfo InfoOf(const std::string& path, const Manifest& manifest) {
  v1::CheckpointInfo info;
  info.set_path(path);
  info.set_step(manifest.step);
  info.set_sha256(manifest.sha256);
  info.set_bytes(manifest.Bytes());
  info.set_unix_ms(manifest.unix_ms);
  return info;
}

CheckpointEntry EntryOf(const std::string& path, uint64_t step) {
  CheckpointEntry entry;
  entry.info.set_path(path);
  entry.info.set_step(step);
  const absl::StatusOr<Manifest> manifest = ReadManifest(path);
  entry.status = manifest.status();
  if (!manifest.ok()) return entry;
  entry.info = InfoOf(path, *manifest);
  entry.job = manifest->job;
  entry.status = CheckSizes(path, *manifest);
  if (entry.status.ok() && manifest->step != step) {
    entry.status = absl::DataLossError(absl::StrCat(path, ": its manifest is of step ", manifest->step));
    entry.info.set_step(step);
  }
  return entry;
}

}  // namespace

std::string CheckpointPath(const std::string& dir, uint64_t step) { return JoinPath(dir, absl::StrCat(kPrefix, step)); }

std::string TemporaryCheckpointPath(const std::string& dir, uint64_t step, uint64_t plan_epoch) {
  return JoinPath(dir, absl::StrCat(kPrefix, step, kTemporaryMark, plan_epoch));
}

absl::StatusOr<v1::CheckpointInfo> CommitCheckpoint(const std::string& temporary, const Manifest& manifest) {
  const auto folder = ParseName(BaseName(temporary));
  if (!folder.has_value() || !folder->temporary || folder->step != manifest.step) {
    return absl::InvalidArgumentError(
        absl::StrCat(temporary, ": is not the temporary folder of a checkpoint of step ", manifest.step));
  }
  PENSTOCK_RETURN_IF_ERROR(CheckFiles(temporary, manifest));
  const std::string text = ManifestToJson(manifest);
  // What was written must be what a reader accepts: found here, nothing is lost yet.
  const absl::StatusOr<Manifest> read_back = ManifestFromJson(text);
  if (!read_back.ok()) return Annotate(absl::InvalidArgumentError(read_back.status().message()), temporary);
  PENSTOCK_RETURN_IF_ERROR(WriteFileAtomically(JoinPath(temporary, kManifestName), text));
  const std::string final = CheckpointPath(ParentPath(temporary), manifest.step);
  PENSTOCK_RETURN_IF_ERROR(Publish(temporary, final));
  return InfoOf(final, *read_back);
}

absl::StatusOr<std::vector<CheckpointEntry>> ListCheckpoints(const std::string& dir) {
  PENSTOCK_ASSIGN_OR_RETURN(const auto folders, StepFolders(dir));
  std::vector<CheckpointEntry> entries;
  for (const auto& [name, folder] : folders) {
    if (!folder.temporary) entries.push_back(EntryOf(JoinPath(dir, name), folder.step));
  }
  std::sort(entries.begin(), entries.end(),
            [](const CheckpointEntry& a, const CheckpointEntry& b) { return a.info.step() > b.info.step(); });
  return entries;
}

absl::StatusOr<Manifest> ReadManifest(const std::string& checkpoint) {
  const std::string path = JoinPath(checkpoint, kManifestName);
  PENSTOCK_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kMaxManifestBytes));
  absl::StatusOr<Manifest> manifest = ManifestFromJson(text);
  if (!manifest.ok()) return Annotate(manifest.status(), path);
  return manifest;
}

absl::StatusOr<Manifest> VerifyCheckpoint(const std::string& checkpoint) {
  PENSTOCK_ASSIGN_OR_RETURN(const CheckpointReader reader, CheckpointReader::Open(checkpoint));
  PENSTOCK_RETURN_IF_ERROR(reader.Verify());
  return reader.manifest();
}

absl::StatusOr<FoundCheckpoint> NewestComplete(const std::string& dir) {
  PENSTOCK_ASSIGN_OR_RETURN(const std::vector<CheckpointEntry> entries, ListCheckpoints(dir));
  FoundCheckpoint found;
  for (const CheckpointEntry& entry : entries) {
    absl::Status status = entry.status;
    if (status.ok()) {
      absl::StatusOr<Manifest> manifest = VerifyCheckpoint(entry.info.path());
      if (manifest.ok()) {
        found.path = entry.info.path();
        found.manifest = *std::move(manifest);
        return found;
      }
      status = manifest.status();
    }
    found.skipped.push_back(std::string(status.message()));
  }
  if (found.skipped.empty()) return absl::NotFoundError(absl::StrCat(dir, ": holds no checkpoint"));
  return absl::NotFoundError(
      absl::StrCat(dir, ": holds no undamaged checkpoint: ", absl::StrJoin(found.skipped, "; ")));
}

absl::StatusOr<std::vector<std::string>> PruneCheckpoints(const std::string& dir, int keep) {
  const size_t kept = static_cast<size_t>(std::max(keep, kMinKeep));
  PENSTOCK_ASSIGN_OR_RETURN(const std::vector<CheckpointEntry> entries, ListCheckpoints(dir));
  if (entries.size() <= kept) return std::vector<std::string>();
  std::vector<std::string> old;
  absl::Status damage;
  size_t whole = 0;
  for (const CheckpointEntry& entry : entries) {
    if (whole == kept) {
      old.push_back(entry.info.path());
      continue;
    }
    absl::Status status = entry.status;
    // Those before it were read when they were the newest.
    if (status.ok() && whole == 0) status = VerifyCheckpoint(entry.info.path()).status();
    if (status.ok()) ++whole;
    if (damage.ok()) damage = status;
  }
  if (whole == 0) return absl::DataLossError(damage.message());
  for (const std::string& path : old) PENSTOCK_RETURN_IF_ERROR(RemoveCheckpoint(path));
  return old;
}

absl::StatusOr<std::vector<std::string>> CleanTemporary(const std::string& dir) {
  PENSTOCK_ASSIGN_OR_RETURN(const auto folders, StepFolders(dir));
  std::vector<std::string> removed;
  for (const auto& [name, folder] : folders) {
    if (!folder.temporary) continue;
    removed.push_back(JoinPath(dir, name));
    PENSTOCK_RETURN_IF_ERROR(RemoveTree(removed.back()));
  }
  return removed;
}

absl::Status CheckFolderTakesFiles(const std::string& dir) {
  std::string above = dir;
  while (!FileExists(above) && ParentPath(above) != above) above = ParentPath(above);
  const std::string probe = JoinPath(above, absl::StrCat(".probe-", RandomId()));
  const auto write = [&]() -> absl::Status {
    PENSTOCK_RETURN_IF_ERROR(MakeDirs(probe));
    PENSTOCK_ASSIGN_OR_RETURN(File file, File::CreateExclusive(JoinPath(probe, "file")));
    PENSTOCK_RETURN_IF_ERROR(file.Write("probe", 5));
    return file.Close();
  };
  const absl::Status written = write();
  const absl::Status removed = FileExists(probe) ? RemoveTree(probe) : absl::OkStatus();
  const absl::Status& status = written.ok() ? removed : written;
  if (status.ok()) return status;
  const std::string text = absl::StrCat("no checkpoint can be written to ", dir, ": ", status.message(),
                                        ": give checkpoint.dir a folder that this user may write to");
  return absl::IsResourceExhausted(status) ? absl::ResourceExhaustedError(text) : absl::InvalidArgumentError(text);
}

}  // namespace penstock
