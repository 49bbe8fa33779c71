// Every job and every worker's incarnation, in STATE_DIR/jobs.db: SQLite, write-ahead log, synchronous=FULL. What a
// method has answered OK for is there after a power cut. Thread-safe; calls block for the disk, so never make them
// under another lock.
// Source: docs/recovery.md, "The store".
#ifndef PENSTOCK_COORDINATOR_JOBS_JOB_STORE_H_
#define PENSTOCK_COORDINATOR_JOBS_JOB_STORE_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/file.h"
#include "common/sqlite.h"
#include "proto/coordinator.pb.h"

namespace penstock {

// What Submit puts into the store.
struct NewJob {
  std::string request_id;
  v1::JobSpec spec;
  v1::Plan plan;
  std::string yaml;
  bool resume = false;
  std::string resume_from;   // the checkpoint's folder; empty: from the start
  uint64_t resume_step = 0;  // completed updates in it
};

struct StoredJob {
  std::string id;  // NAME-N
  v1::JobSpec spec;
  v1::Plan plan;
  std::string yaml;
  std::string resume_from;
  uint64_t epoch = 0;
  v1::JobStatus status;  // as of the last Update
};

class JobStore {
 public:
  // Takes the state folder for this process and opens its store, creating both where they are missing. Jobs that had
  // not ended when the last coordinator did are marked FAILED (those that were running) and stay PENDING (the others).
  // Args:   folder: the state folder, where this process has it already.
  // Errors: FailedPrecondition: another coordinator has the folder, names its pid; or the store is of a newer version.
  //         DataLoss: the store is damaged. Unavailable: the file system's.
  static absl::StatusOr<std::unique_ptr<JobStore>> Open(const std::string& state_dir, absl::Time now,
                                                        std::optional<FileLock> folder = std::nullopt);

  // Opens the store of a folder that a coordinator may have at the moment, for reading: REQUIRES that nothing but
  // Resolve, Get, WithName, List and Pending is called. Errors: NotFound: no coordinator has kept anything there.
  // FailedPrecondition: the store is of another version.
  static absl::StatusOr<std::unique_ptr<JobStore>> OpenToRead(const std::string& state_dir);

  // The job that a request id belongs to. Errors: AlreadyExists: it was given for another spec.
  absl::StatusOr<std::optional<std::string>> FindRequest(const NewJob& job);

  // Stores a job as PENDING and gives it its id; the same request again gets the same id.
  // Errors: AlreadyExists: the request id belongs to another spec. ResourceExhausted: the disk is full.
  absl::StatusOr<std::string> Insert(const NewJob& job, absl::Time now);

  // Stores state, reason and the rest of the status. Errors: NotFound: no such job.
  absl::Status Update(const v1::JobStatus& status, uint64_t epoch);

  // The job that a person means: an id, a name (its latest job), a unique prefix of an id, or "@last".
  // Errors: NotFound: names the latest jobs there are. InvalidArgument: fits several; names them.
  absl::StatusOr<std::string> Resolve(const std::string& text);

  // Errors: NotFound.
  absl::StatusOr<StoredJob> Get(const std::string& id);
  // The ids of all jobs with this name, newest first.
  absl::StatusOr<std::vector<std::string>> WithName(const std::string& name);
  // Newest first, without their specs.
  absl::StatusOr<std::vector<v1::JobStatus>> List(int limit);
  // Those that wait, oldest first.
  absl::StatusOr<std::vector<StoredJob>> Pending();

  // A number larger than every one that was given for this worker id.
  absl::StatusOr<uint64_t> NextIncarnation(const std::string& worker);

 private:
  JobStore(std::optional<FileLock> lock, SqliteDatabase database)
      : lock_(std::move(lock)), database_(std::move(database)) {}
  absl::Status Prepare(absl::Time now);
  absl::StatusOr<int64_t> Version() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::Status FailInterrupted(absl::Time now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::StatusOr<std::optional<std::string>> FindRequestLocked(const NewJob& job) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::Status UpdateLocked(const v1::JobStatus& status, uint64_t epoch) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::StatusOr<std::vector<std::string>> Ids(absl::string_view sql, absl::string_view argument)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::StatusOr<std::vector<StoredJob>> Read(absl::string_view where, absl::string_view argument)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const std::optional<FileLock> lock_;  // absent: to read only
  absl::Mutex mu_;
  SqliteDatabase database_ ABSL_GUARDED_BY(mu_);
};

}  // namespace penstock

#endif  // PENSTOCK_COORDINATOR_JOBS_JOB_STORE_H_
