// A thin cover over SQLite's own interface that answers with absl::Status and throws nothing. Thread-compatible.
#ifndef PENSTOCK_COMMON_SQLITE_H_
#define PENSTOCK_COMMON_SQLITE_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

struct sqlite3;
struct sqlite3_stmt;

namespace penstock {

// One prepared statement. Parameters count from 1, columns from 0, as in SQLite.
class SqliteStatement {
 public:
  explicit SqliteStatement(sqlite3_stmt* statement) : statement_(statement, &Finalize) {}

  SqliteStatement& Bind(int index, int64_t value);
  SqliteStatement& BindText(int index, absl::string_view value);
  SqliteStatement& BindBlob(int index, absl::string_view value);

  // Goes to the next row. Returns whether there is one. Errors: as SqliteDatabase::Exec.
  absl::StatusOr<bool> Step();
  // Runs a statement that has no rows. Errors: as SqliteDatabase::Exec.
  absl::Status Run();

  int64_t Int(int column) const;
  std::string Text(int column) const;  // of text or of a blob

 private:
  static void Finalize(sqlite3_stmt* statement);
  std::unique_ptr<sqlite3_stmt, void (*)(sqlite3_stmt*)> statement_;
};

class SqliteDatabase {
 public:
  // Opens or creates the file. Errors: Unavailable: the file cannot be opened; names it.
  static absl::StatusOr<SqliteDatabase> Open(const std::string& path);

  // Runs statements that take nothing and give nothing.
  // Errors: ResourceExhausted: the disk is full. DataLoss: not a database, or damaged. Unavailable: I/O.
  //         AlreadyExists: a value that must be unique is there. Internal: the statement.
  absl::Status Exec(const std::string& sql);
  // Errors: as Exec.
  absl::StatusOr<SqliteStatement> Prepare(absl::string_view sql);
  // rowid of the latest insert.
  int64_t LastRow() const;

 private:
  explicit SqliteDatabase(sqlite3* database) : database_(database, &Close) {}
  static void Close(sqlite3* database);
  std::unique_ptr<sqlite3, void (*)(sqlite3*)> database_;
};

// BEGIN IMMEDIATE now; ROLLBACK at the end of its life unless Commit succeeded.
class SqliteTransaction {
 public:
  static absl::StatusOr<std::unique_ptr<SqliteTransaction>> Begin(SqliteDatabase* database);
  ~SqliteTransaction();
  absl::Status Commit();

 private:
  explicit SqliteTransaction(SqliteDatabase* database) : database_(database) {}
  SqliteDatabase* const database_;
  bool open_ = true;
};

}  // namespace penstock

#endif  // PENSTOCK_COMMON_SQLITE_H_
