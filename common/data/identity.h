// Which data a job was trained on: kept in every checkpoint, so that training does not go on unnoticed over files that
// have changed.
// Source: docs/recovery.md, "The data".
#ifndef PENSTOCK_COMMON_DATA_IDENTITY_H_
#define PENSTOCK_COMMON_DATA_IDENTITY_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "proto/job.pb.h"

namespace penstock {

// Every file that the training data are read from, in the order in which they are read: the dataset's, then, where it
// makes the tokens, the tokenizer's. Errors: as opening them.
absl::StatusOr<std::vector<std::string>> DataPathsOf(const v1::Data& data);

// Name, length and digest of each of these files; `samples` is left to the caller. The digest is the SHA-256 of at most
// 256 blocks of 64 KiB, shared out over the files (each has 2 at least) and spread evenly over a file from its first
// byte to its last: up to 16 MiB a single file is read whole.
// Errors: NotFound. DataLoss: a file has become shorter. Unavailable: I/O error.
absl::StatusOr<v1::DataIdentity> IdentityOf(const v1::Data& data);

// What a job was trained on: its data section, and the files as they were.
struct TrainedOn {
  const v1::Data& data;
  const v1::DataIdentity& identity;
};

// Whether a job may go on from a checkpoint. Files are compared by length and digest, not by name or date.
// Returns: empty: the data are the same, or the checkpoint does not say. A sentence for the log: the job now names
//          other data, which is taken as meant.
// Errors:  InvalidArgument: the job names the same data as before, and they have changed; says which file.
absl::StatusOr<std::string> CompareData(const TrainedOn& before, const TrainedOn& now);

}  // namespace penstock

#endif  // PENSTOCK_COMMON_DATA_IDENTITY_H_
