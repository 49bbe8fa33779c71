#include "common/sqlite.h"

#include <sqlite3.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/logging.h"
#include "common/status_macros.h"

namespace penstock {
namespace {

absl::Status Error(int code, sqlite3* database) {
  const std::string text = absl::StrCat("SQLite: ", sqlite3_errmsg(database));
  switch (code & 0xff) {
    case SQLITE_FULL:
      return absl::ResourceExhaustedError(text);
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return absl::DataLossError(text);
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN:
    case SQLITE_READONLY:
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return absl::UnavailableError(text);
    case SQLITE_CONSTRAINT:
      return absl::AlreadyExistsError(text);
    default:
      return absl::InternalError(text);
  }
}

}  // namespace

void SqliteStatement::Finalize(sqlite3_stmt* statement) { sqlite3_finalize(statement); }

SqliteStatement& SqliteStatement::Bind(int index, int64_t value) {
  CHECK_EQ(sqlite3_bind_int64(statement_.get(), index, value), SQLITE_OK);
  return *this;
}

SqliteStatement& SqliteStatement::BindText(int index, absl::string_view value) {
  CHECK_EQ(sqlite3_bind_text64(statement_.get(), index, value.data() == nullptr ? "" : value.data(), value.size(),
                               SQLITE_TRANSIENT, SQLITE_UTF8),
           SQLITE_OK);
  return *this;
}

SqliteStatement& SqliteStatement::BindBlob(int index, absl::string_view value) {
  CHECK_EQ(sqlite3_bind_blob64(statement_.get(), index, value.data() == nullptr ? "" : value.data(), value.size(),
                               SQLITE_TRANSIENT),
           SQLITE_OK);
  return *this;
}

absl::StatusOr<bool> SqliteStatement::Step() {
  const int code = sqlite3_step(statement_.get());
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) return false;
  return Error(code, sqlite3_db_handle(statement_.get()));
}

absl::Status SqliteStatement::Run() {
  PENSTOCK_ASSIGN_OR_RETURN(const bool row, Step());
  CHECK(!row) << sqlite3_sql(statement_.get());
  return absl::OkStatus();
}

int64_t SqliteStatement::Int(int column) const { return sqlite3_column_int64(statement_.get(), column); }

std::string SqliteStatement::Text(int column) const {
  const void* data = sqlite3_column_blob(statement_.get(), column);
  const int bytes = sqlite3_column_bytes(statement_.get(), column);
  return data == nullptr ? std::string() : std::string(static_cast<const char*>(data), bytes);
}

absl::StatusOr<SqliteDatabase> SqliteDatabase::Open(const std::string& path) {
  sqlite3* raw = nullptr;
  const int code =
      sqlite3_open_v2(path.c_str(), &raw, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, nullptr);
  SqliteDatabase database(raw);
  if (code == SQLITE_OK) return database;
  return absl::UnavailableError(absl::StrCat(path, ": ", raw == nullptr ? sqlite3_errstr(code) : sqlite3_errmsg(raw)));
}

void SqliteDatabase::Close(sqlite3* database) { sqlite3_close_v2(database); }

absl::Status SqliteDatabase::Exec(const std::string& sql) {
  const int code = sqlite3_exec(database_.get(), sql.c_str(), nullptr, nullptr, nullptr);
  return code == SQLITE_OK ? absl::OkStatus() : Error(code, database_.get());
}

absl::StatusOr<SqliteStatement> SqliteDatabase::Prepare(absl::string_view sql) {
  sqlite3_stmt* statement = nullptr;
  const int code = sqlite3_prepare_v2(database_.get(), sql.data(), static_cast<int>(sql.size()), &statement, nullptr);
  if (code != SQLITE_OK) return Error(code, database_.get());
  return SqliteStatement(statement);
}

int64_t SqliteDatabase::LastRow() const { return sqlite3_last_insert_rowid(database_.get()); }

absl::StatusOr<std::unique_ptr<SqliteTransaction>> SqliteTransaction::Begin(SqliteDatabase* database) {
  PENSTOCK_RETURN_IF_ERROR(database->Exec("BEGIN IMMEDIATE"));
  return std::unique_ptr<SqliteTransaction>(new SqliteTransaction(database));
}

SqliteTransaction::~SqliteTransaction() {
  if (!open_) return;
  const absl::Status status = database_->Exec("ROLLBACK");
  if (!status.ok()) LOG(ERROR) << status;
}

absl::Status SqliteTransaction::Commit() {
  PENSTOCK_RETURN_IF_ERROR(database_->Exec("COMMIT"));
  open_ = false;
  return absl::OkStatus();
}

}  // namespace penstock
