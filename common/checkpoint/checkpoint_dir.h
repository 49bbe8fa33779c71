// The folder of a job's checkpoints: DIR/step-N is a checkpoint, DIR/step-N.tmp-EPOCH is one being written (or what an
// interruption left of it). Functions are thread-safe for readers; one process at a time may write.
// Source: docs/recovery.md, "Committing".
#ifndef PENSTOCK_COMMON_CHECKPOINT_CHECKPOINT_DIR_H_
#define PENSTOCK_COMMON_CHECKPOINT_CHECKPOINT_DIR_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/checkpoint/manifest.h"
#include "proto/coordinator.pb.h"

namespace penstock {

// DIR/step-N.
std::string CheckpointPath(const std::string& dir, uint64_t step);
// DIR/step-N.tmp-EPOCH: where the ranks write before the commit.
std::string TemporaryCheckpointPath(const std::string& dir, uint64_t step, uint64_t plan_epoch);

// Turns a temporary folder, into which every rank has written its file, into a checkpoint:
//   1. its files are there with the sizes that the manifest states, and nothing else is      (CheckFiles)
//   2. MANIFEST.json is written and the folder synced                                        (WriteFileAtomically)
//   3. the folder is renamed; an older checkpoint of the same step gives way                 (Publish)
//   4. the folder above is synced
// An interruption before 3 leaves a temporary folder, after it a checkpoint; never half of one.
// Returns: the checkpoint's path, hash and size.
// Errors:  FailedPrecondition: a file is missing or has another size. InvalidArgument: `temporary` is not such a
// folder,
//          or of another step than the manifest's. File errors: common/file.h.
absl::StatusOr<v1::CheckpointInfo> CommitCheckpoint(const std::string& temporary, const Manifest& manifest);

struct CheckpointEntry {
  v1::CheckpointInfo info;  // path and step; the rest from the manifest, where it could be read
  std::string job;
  absl::Status status;  // the manifest is well formed and every file has its size; contents are not read
};

// The checkpoints of a folder, newest first. A folder that does not exist holds none.
absl::StatusOr<std::vector<CheckpointEntry>> ListCheckpoints(const std::string& dir);

// Reads MANIFEST.json. Errors: NotFound: no such folder, or no manifest in it. As ManifestFromJson.
absl::StatusOr<Manifest> ReadManifest(const std::string& checkpoint);

// Reads every byte of a checkpoint and compares every tensor with its hash.
// Errors: as ReadManifest. DataLoss: names the file and the tensor that is not what was written.
absl::StatusOr<Manifest> VerifyCheckpoint(const std::string& checkpoint);

struct FoundCheckpoint {
  std::string path;
  Manifest manifest;
  std::vector<std::string> skipped;  // newer ones that are damaged: "PATH: what is wrong"
};

// The newest checkpoint whose every hash holds. Errors: NotFound: there is none; says what is wrong with those there
// are.
absl::StatusOr<FoundCheckpoint> NewestComplete(const std::string& dir);

// Removes the checkpoints that are older than the `keep` newest whole ones (at least 2 are kept). The newest of them is
// read again first, every byte; damaged ones do not count.
// Returns: the paths removed. Errors: DataLoss: none is whole; nothing was removed.
absl::StatusOr<std::vector<std::string>> PruneCheckpoints(const std::string& dir, int keep);

// Removes temporary folders. Call when nothing is being written. Returns the paths removed.
absl::StatusOr<std::vector<std::string>> CleanTemporary(const std::string& dir);

// Whether checkpoints can be written to the folder: makes a folder with a file there, or in the nearest one above that
// exists, and removes it again.
// Errors: InvalidArgument: names the folder and why not. ResourceExhausted: the disk is full.
absl::Status CheckFolderTakesFiles(const std::string& dir);

}  // namespace penstock

#endif  // PENSTOCK_COMMON_CHECKPOINT_CHECKPOINT_DIR_H_
