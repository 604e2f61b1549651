// What every SQLite file of ours shares: exceptions become errors, and a file is brought to the
// newest schema or refused. For the .cpp files that hold a database; SQLiteCpp is seen nowhere
// else. Any thread, one at a time per database.
#pragma once

#include <SQLiteCpp/SQLiteCpp.h>

#include <span>
#include <string>
#include <string_view>

#include "core/error.h"

namespace tombolo::sqlite {

// kUnavailable: another process holds the file; kResourceExhausted: it or the disk is full;
// kDataLoss: damaged, or no database at all; kPermissionDenied; else kInternal.
Code code_of(const SQLite::Exception& error);

// The result of `work`, which returns Result<T>; SQLite's exceptions become errors that begin with
// `doing`.
template <class Work>
auto guarded(std::string_view doing, Work work) -> decltype(work()) {
  try {
    return work();
  } catch (const SQLite::Exception& error) {
    return fail(code_of(error), "{}: {}", doing, error.what());
  }
}

struct Schema {
  int application_id = 0;  // in the file's header: whose file it is
  std::string_view of;     // completes "a database, but not of …"
  // Step n brings a file from schema n to n + 1. One that was released never changes.
  std::span<const char* const> migrations;
};

// Each step in a transaction of its own. kFailedPrecondition: the file is somebody else's, or of a
// newer program. Throws SQLite::Exception: call it guarded.
Result<void> migrate(SQLite::Database& database, const std::string& file, const Schema& schema);

}  // namespace tombolo::sqlite
