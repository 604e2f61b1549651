// The tables of a lease file, and how files of earlier schemas come to the newest one. For
// sqlite_lease_store.cpp alone. Worker thread.
#pragma once

#include "core/sqlite/sqlite.h"

namespace tombolo {

const sqlite::Schema& lease_schema();

// Schema 1 had a column per field. Its leases become packed records, in one transaction; nothing
// happens when there are none. kDataLoss when one cannot be read. Throws SQLite::Exception.
Result<void> pack_leases_of_schema_1(SQLite::Database& database);

}  // namespace tombolo
