#include "coordinator/jobs/job_store.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/logging.h"
#include "common/state_folder.h"
#include "common/status_macros.h"

namespace penstock {
namespace {

constexpr int kSchemaVersion = 1;

constexpr char kSchema[] = R"sql(
  CREATE TABLE jobs(
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT UNIQUE,
    name TEXT NOT NULL,
    request_id TEXT UNIQUE NOT NULL,
    state INTEGER NOT NULL,
    reason TEXT NOT NULL DEFAULT '',
    step INTEGER NOT NULL DEFAULT 0,
    epoch INTEGER NOT NULL DEFAULT 0,
    checkpoint TEXT NOT NULL DEFAULT '',
    submitted_unix_ms INTEGER NOT NULL,
    ended_unix_ms INTEGER NOT NULL DEFAULT 0,
    resume INTEGER NOT NULL,
    resume_from TEXT NOT NULL,
    spec BLOB NOT NULL,
    plan BLOB NOT NULL,
    yaml TEXT NOT NULL,
    status BLOB NOT NULL);
  CREATE INDEX jobs_by_name ON jobs(name, number);
  CREATE INDEX jobs_by_state ON jobs(state, number);
  CREATE TABLE workers(id TEXT PRIMARY KEY, incarnation INTEGER NOT NULL);
)sql";

// Names shown in an error; more would bury it.
constexpr int kNamesShown = 10;

template <typename Message>
absl::Status Parse(const std::string& bytes, const std::string& job, Message* message) {
  if (message->ParseFromString(bytes)) return absl::OkStatus();
  return absl::DataLossError(absl::StrCat("job store: the record of job ", job, " is damaged"));
}

}  // namespace

absl::StatusOr<std::unique_ptr<JobStore>> JobStore::Open(const std::string& state_dir, absl::Time now,
                                                         std::optional<FileLock> folder) {
  if (!folder.has_value()) {
    absl::StatusOr<FileLock> taken = TakeStateFolder(state_dir);
    if (absl::IsFailedPrecondition(taken.status())) {
      return absl::FailedPreconditionError(
          absl::StrCat(taken.status().message(), "; stop it, or give this one another coordinator.state_dir"));
    }
    if (!taken.ok()) return taken.status();
    folder = *std::move(taken);
  }
  PENSTOCK_ASSIGN_OR_RETURN(SqliteDatabase database, SqliteDatabase::Open(JoinPath(state_dir, "jobs.db")));
  std::unique_ptr<JobStore> store(new JobStore(std::move(folder), std::move(database)));
  PENSTOCK_RETURN_IF_ERROR(Annotate(store->Prepare(now), JoinPath(state_dir, "jobs.db")));
  return store;
}

absl::StatusOr<std::unique_ptr<JobStore>> JobStore::OpenToRead(const std::string& state_dir) {
  const std::string path = JoinPath(state_dir, "jobs.db");
  if (!FileExists(path)) return absl::NotFoundError(absl::StrCat("there is no store of jobs: ", path));
  PENSTOCK_ASSIGN_OR_RETURN(SqliteDatabase database, SqliteDatabase::Open(path));
  std::unique_ptr<JobStore> store(new JobStore(std::nullopt, std::move(database)));
  absl::MutexLock lock(&store->mu_);
  PENSTOCK_ASSIGN_OR_RETURN(const int64_t version, store->Version());
  if (version == kSchemaVersion) return store;
  return absl::FailedPreconditionError(
      absl::StrCat(path, ": its version is ", version, ", this Penstock reads ", kSchemaVersion));
}

absl::StatusOr<int64_t> JobStore::Version() {
  PENSTOCK_ASSIGN_OR_RETURN(SqliteStatement read, database_.Prepare("PRAGMA user_version"));
  PENSTOCK_ASSIGN_OR_RETURN(const bool row, read.Step());
  return row ? read.Int(0) : 0;
}

absl::Status JobStore::Prepare(absl::Time now) {
  absl::MutexLock lock(&mu_);
  PENSTOCK_RETURN_IF_ERROR(database_.Exec("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"));
  PENSTOCK_ASSIGN_OR_RETURN(const int64_t version, Version());
  if (version > kSchemaVersion) {
    return absl::FailedPreconditionError(absl::StrCat("job store: its version is ", version,
                                                      ", this Penstock reads up to ", kSchemaVersion,
                                                      ": start the newer Penstock that wrote it"));
  }
  if (version == 0) {
    PENSTOCK_ASSIGN_OR_RETURN(const auto transaction, SqliteTransaction::Begin(&database_));
    PENSTOCK_RETURN_IF_ERROR(database_.Exec(kSchema));
    PENSTOCK_RETURN_IF_ERROR(database_.Exec(absl::StrCat("PRAGMA user_version=", kSchemaVersion)));
    PENSTOCK_RETURN_IF_ERROR(transaction->Commit());
  }
  return FailInterrupted(now);
}

absl::Status JobStore::FailInterrupted(absl::Time now) {
  PENSTOCK_ASSIGN_OR_RETURN(const std::vector<StoredJob> running,
                            Read(absl::StrCat("state IN (", v1::STARTING, ",", v1::RUNNING, ",", v1::CHECKPOINTING, ",",
                                              v1::RESTARTING, ",", v1::STOPPING, ") AND ?1 = ''"),
                                 ""));
  for (const StoredJob& job : running) {
    v1::JobStatus status = job.status;
    status.set_state(v1::FAILED);
    status.set_reason(absl::StrCat("the coordinator ended while the job ran; submit it again with --resume to go on ",
                                   status.checkpoint().empty() ? "from its newest checkpoint, if it has one"
                                                               : absl::StrCat("from ", status.checkpoint())));
    status.clear_failure();
    status.add_failure(status.reason());
    status.set_ended_unix_ms(absl::ToUnixMillis(now));
    PENSTOCK_RETURN_IF_ERROR(UpdateLocked(status, job.epoch));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::optional<std::string>> JobStore::FindRequest(const NewJob& job) {
  absl::MutexLock lock(&mu_);
  return FindRequestLocked(job);
}

absl::StatusOr<std::optional<std::string>> JobStore::FindRequestLocked(const NewJob& job) {
  PENSTOCK_ASSIGN_OR_RETURN(SqliteStatement read,
                            database_.Prepare("SELECT id, spec, resume FROM jobs WHERE request_id = ?1"));
  read.BindText(1, job.request_id);
  PENSTOCK_ASSIGN_OR_RETURN(const bool row, read.Step());
  if (!row) return std::nullopt;
  if (read.Text(1) == job.spec.SerializeAsString() && (read.Int(2) != 0) == job.resume) return read.Text(0);
  return absl::AlreadyExistsError(absl::StrCat("request id ", job.request_id, " belongs to job ", read.Text(0),
                                               ", which has another spec: draw a new request id"));
}

absl::StatusOr<std::string> JobStore::Insert(const NewJob& job, absl::Time now) {
  absl::MutexLock lock(&mu_);
  PENSTOCK_ASSIGN_OR_RETURN(const auto transaction, SqliteTransaction::Begin(&database_));
  PENSTOCK_ASSIGN_OR_RETURN(const std::optional<std::string> known, FindRequestLocked(job));
  if (known.has_value()) return *known;
  const int64_t now_ms = absl::ToUnixMillis(now);
  PENSTOCK_ASSIGN_OR_RETURN(
      SqliteStatement insert,
      database_.Prepare("INSERT INTO jobs(name, request_id, state, submitted_unix_ms, resume, resume_from, spec, "
                        "plan, yaml, status) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, x'')"));
  insert.BindText(1, job.spec.name()).BindText(2, job.request_id).Bind(3, v1::PENDING).Bind(4, now_ms);
  insert.Bind(5, job.resume ? 1 : 0).BindText(6, job.resume_from).BindBlob(7, job.spec.SerializeAsString());
  insert.BindBlob(8, job.plan.SerializeAsString()).BindText(9, job.yaml);
  PENSTOCK_RETURN_IF_ERROR(insert.Run());
  const int64_t number = database_.LastRow();
  v1::JobStatus status;
  status.set_job(absl::StrCat(job.spec.name(), "-", number));
  status.set_name(job.spec.name());
  status.set_state(v1::PENDING);
  status.set_steps(job.spec.train().steps());
  status.set_submitted_unix_ms(now_ms);
  status.set_step(job.resume_step);
  status.set_resumed_from(job.resume_from);
  status.set_resumed_step(job.resume_step);
  PENSTOCK_ASSIGN_OR_RETURN(SqliteStatement name, database_.Prepare("UPDATE jobs SET id = ?1 WHERE number = ?2"));
  PENSTOCK_RETURN_IF_ERROR(name.BindText(1, status.job()).Bind(2, number).Run());
  PENSTOCK_RETURN_IF_ERROR(UpdateLocked(status, 0));
  PENSTOCK_RETURN_IF_ERROR(transaction->Commit());
  return status.job();
}

absl::Status JobStore::Update(const v1::JobStatus& status, uint64_t epoch) {
  absl::MutexLock lock(&mu_);
  return UpdateLocked(status, epoch);
}

absl::Status JobStore::UpdateLocked(const v1::JobStatus& status, uint64_t epoch) {
  PENSTOCK_ASSIGN_OR_RETURN(
      SqliteStatement update,
      database_.Prepare("UPDATE jobs SET state = ?2, reason = ?3, step = ?4, epoch = ?5, checkpoint = ?6, "
                        "ended_unix_ms = ?7, status = ?8 WHERE id = ?1 RETURNING number"));
  update.BindText(1, status.job()).Bind(2, status.state()).BindText(3, status.reason());
  update.Bind(4, static_cast<int64_t>(status.step())).Bind(5, static_cast<int64_t>(epoch));
  update.BindText(6, status.checkpoint()).Bind(7, status.ended_unix_ms()).BindBlob(8, status.SerializeAsString());
  PENSTOCK_ASSIGN_OR_RETURN(const bool found, update.Step());
  if (!found) return absl::NotFoundError(absl::StrCat("there is no job ", status.job()));
  return update.Step().status();
}

absl::StatusOr<std::vector<std::string>> JobStore::Ids(absl::string_view sql, absl::string_view argument) {
  PENSTOCK_ASSIGN_OR_RETURN(SqliteStatement read, database_.Prepare(sql));
  read.BindText(1, argument);
  std::vector<std::string> ids;
  while (true) {
    PENSTOCK_ASSIGN_OR_RETURN(const bool row, read.Step());
    if (!row) return ids;
    ids.push_back(read.Text(0));
  }
}

absl::StatusOr<std::string> JobStore::Resolve(const std::string& text) {
  absl::MutexLock lock(&mu_);
  // An id or a name says exactly what is meant, so they go before prefixes; of a name's jobs the latest is meant.
  for (const absl::string_view sql :
       {"SELECT id FROM jobs WHERE id = ?1", "SELECT id FROM jobs WHERE name = ?1 ORDER BY number DESC LIMIT 1",
        "SELECT id FROM jobs WHERE ?1 = '@last' ORDER BY number DESC LIMIT 1"}) {
    PENSTOCK_ASSIGN_OR_RETURN(const std::vector<std::string> ids, Ids(sql, text));
    if (!ids.empty()) return ids.front();
  }
  std::vector<std::string> fits;
  if (!text.empty()) {
    PENSTOCK_ASSIGN_OR_RETURN(fits, Ids("SELECT id FROM jobs WHERE substr(id, 1, length(?1)) = ?1 ORDER BY number "
                                        "DESC LIMIT 10",
                                        text));
  }
  if (fits.size() == 1) return fits.front();
  if (fits.size() > 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("'", text, "' fits several jobs: ", absl::StrJoin(fits, ", "), "; write more of it"));
  }
  PENSTOCK_ASSIGN_OR_RETURN(
      const std::vector<std::string> known,
      Ids(absl::StrCat("SELECT id FROM jobs WHERE ?1 = ?1 ORDER BY number DESC LIMIT ", kNamesShown), ""));
  if (known.empty()) return absl::NotFoundError(absl::StrCat("there is no job '", text, "'; none was submitted yet"));
  return absl::NotFoundError(absl::StrCat("there is no job '", text, "'; the latest are ", absl::StrJoin(known, ", ")));
}

absl::StatusOr<std::vector<StoredJob>> JobStore::Read(absl::string_view where, absl::string_view argument) {
  PENSTOCK_ASSIGN_OR_RETURN(
      SqliteStatement read,
      database_.Prepare(absl::StrCat("SELECT id, spec, plan, yaml, resume_from, epoch, status FROM jobs WHERE ", where,
                                     " ORDER BY number")));
  read.BindText(1, argument);
  std::vector<StoredJob> jobs;
  while (true) {
    PENSTOCK_ASSIGN_OR_RETURN(const bool row, read.Step());
    if (!row) return jobs;
    StoredJob& job = jobs.emplace_back();
    job.id = read.Text(0);
    PENSTOCK_RETURN_IF_ERROR(Parse(read.Text(1), job.id, &job.spec));
    PENSTOCK_RETURN_IF_ERROR(Parse(read.Text(2), job.id, &job.plan));
    job.yaml = read.Text(3);
    job.resume_from = read.Text(4);
    job.epoch = static_cast<uint64_t>(read.Int(5));
    PENSTOCK_RETURN_IF_ERROR(Parse(read.Text(6), job.id, &job.status));
  }
}

absl::StatusOr<StoredJob> JobStore::Get(const std::string& id) {
  absl::MutexLock lock(&mu_);
  PENSTOCK_ASSIGN_OR_RETURN(std::vector<StoredJob> jobs, Read("id = ?1", id));
  if (jobs.empty()) return absl::NotFoundError(absl::StrCat("there is no job ", id));
  return std::move(jobs.front());
}

absl::StatusOr<std::vector<std::string>> JobStore::WithName(const std::string& name) {
  absl::MutexLock lock(&mu_);
  return Ids("SELECT id FROM jobs WHERE name = ?1 ORDER BY number DESC", name);
}

absl::StatusOr<std::vector<v1::JobStatus>> JobStore::List(int limit) {
  absl::MutexLock lock(&mu_);
  PENSTOCK_ASSIGN_OR_RETURN(SqliteStatement read,
                            database_.Prepare("SELECT id, status FROM jobs ORDER BY number DESC LIMIT ?1"));
  read.Bind(1, limit);
  std::vector<v1::JobStatus> list;
  while (true) {
    PENSTOCK_ASSIGN_OR_RETURN(const bool row, read.Step());
    if (!row) return list;
    PENSTOCK_RETURN_IF_ERROR(Parse(read.Text(1), read.Text(0), &list.emplace_back()));
  }
}

absl::StatusOr<std::vector<StoredJob>> JobStore::Pending() {
  absl::MutexLock lock(&mu_);
  return Read(absl::StrCat("state = ", v1::PENDING, " AND ?1 = ''"), "");
}

absl::StatusOr<uint64_t> JobStore::NextIncarnation(const std::string& worker) {
  absl::MutexLock lock(&mu_);
  PENSTOCK_ASSIGN_OR_RETURN(
      SqliteStatement next,
      database_.Prepare("INSERT INTO workers(id, incarnation) VALUES(?1, 1) ON CONFLICT(id) DO UPDATE SET "
                        "incarnation = incarnation + 1 RETURNING incarnation"));
  next.BindText(1, worker);
  PENSTOCK_ASSIGN_OR_RETURN(const bool row, next.Step());
  CHECK(row);
  const uint64_t incarnation = static_cast<uint64_t>(next.Int(0));
  PENSTOCK_RETURN_IF_ERROR(next.Step().status());
  return incarnation;
}

}  // namespace penstock
