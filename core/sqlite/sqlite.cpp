// Codes and migrations.
#include "core/sqlite/sqlite.h"

#include <sqlite3.h>

namespace tombolo::sqlite {

Code code_of(const SQLite::Exception& error) {
  switch (error.getErrorCode() & 0xff) {
    case SQLITE_FULL:
      return Code::kResourceExhausted;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return Code::kUnavailable;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return Code::kDataLoss;
    case SQLITE_PERM:
    case SQLITE_READONLY:
    case SQLITE_AUTH:
      return Code::kPermissionDenied;
    default:
      return Code::kInternal;
  }
}

Result<void> migrate(SQLite::Database& database, const std::string& file, const Schema& schema) {
  int version = database.execAndGet("PRAGMA user_version").getInt();
  int application = database.execAndGet("PRAGMA application_id").getInt();
  int objects = database.execAndGet("SELECT count(*) FROM sqlite_schema").getInt();
  if (application != schema.application_id && (application != 0 || version != 0 || objects != 0))
    return fail(Code::kFailedPrecondition, "{} is a database, but not of {}", file, schema.of);
  int newest = static_cast<int>(schema.migrations.size());
  if (version > newest)
    return fail(Code::kFailedPrecondition,
                "{} has schema {}; this program knows up to {}: a newer tombolod wrote it", file,
                version, newest);
  for (; version < newest; ++version) {
    SQLite::Transaction transaction(database);
    database.exec(schema.migrations[static_cast<std::size_t>(version)]);
    database.exec(fmt::format("PRAGMA application_id={}; PRAGMA user_version={}",
                              schema.application_id, version + 1));
    transaction.commit();
  }
  return {};
}

}  // namespace tombolo::sqlite
