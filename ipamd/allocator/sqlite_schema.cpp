// Schema 1 is read here only.
#include "ipamd/allocator/sqlite_schema.h"

#include <array>
#include <boost/algorithm/string/classification.hpp>
#include <boost/algorithm/string/split.hpp>

#include "ipamd/allocator/lease_codec.h"

namespace tombolo {
namespace {

// Step n brings a file from schema n to n + 1. Never change one that was released.
constexpr std::array<const char*, 2> kMigrations{
    R"(CREATE TABLE leases(
         sequence INTEGER PRIMARY KEY, state INTEGER NOT NULL, network TEXT NOT NULL,
         pool TEXT NOT NULL, reserved_unix_ms INTEGER NOT NULL, container_id TEXT NOT NULL,
         interface_name TEXT NOT NULL, name_space TEXT NOT NULL, pod_name TEXT NOT NULL,
         pod_uid TEXT NOT NULL, node TEXT NOT NULL, netns_path TEXT NOT NULL,
         host_interface TEXT NOT NULL, mac TEXT NOT NULL, ips TEXT NOT NULL) STRICT;
       CREATE TABLE freed(
         position INTEGER PRIMARY KEY, -- grows: the order of release
         pool TEXT NOT NULL, ip TEXT NOT NULL,
         released_unix_ms INTEGER NOT NULL, UNIQUE(pool, ip)) STRICT;
       CREATE TABLE blocks(
         pool TEXT NOT NULL, prefix TEXT NOT NULL, PRIMARY KEY(pool, prefix)) STRICT;
       CREATE TABLE counters(name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT;
       INSERT INTO counters VALUES('last_sequence', 0);)",
    // Records are packed (lease_codec.h); `leases` is empty from here on. `released` is `freed`
    // with one tree instead of two.
    R"(CREATE TABLE records(
         sequence INTEGER PRIMARY KEY, state INTEGER NOT NULL, record BLOB NOT NULL) STRICT;
       CREATE TABLE released(
         pool TEXT NOT NULL, ip TEXT NOT NULL,
         position INTEGER NOT NULL, -- grows: the order of release
         released_unix_ms INTEGER NOT NULL, PRIMARY KEY(pool, ip)) STRICT, WITHOUT ROWID;
       INSERT INTO released SELECT pool, ip, position, released_unix_ms FROM freed;
       DROP TABLE freed;)",
};

Result<Lease> read_lease(SQLite::Statement& row) {
  Lease lease;
  int index = 0;
  auto number = [&] { return row.getColumn(index++).getInt64(); };
  auto text = [&] { return row.getColumn(index++).getString(); };
  lease.sequence = static_cast<std::uint64_t>(number());
  auto state = number();
  if (state != 1 && state != 2)
    return fail(Code::kDataLoss, "lease {} has the unknown state {}", lease.sequence, state);
  lease.state = static_cast<LeaseState>(state);
  lease.network = text();
  std::string pool = text();
  lease.reserved_unix_ms = number();
  Attachment& attachment = lease.attachment;
  for (std::string* field :
       {&attachment.container_id, &attachment.interface_name, &attachment.name_space,
        &attachment.pod_name, &attachment.pod_uid, &attachment.node, &attachment.netns_path,
        &attachment.host_interface, &attachment.mac})
    *field = text();
  std::string ips = text();
  std::vector<std::string> parts;
  if (!ips.empty()) boost::split(parts, ips, boost::is_any_of(" "));
  for (const auto& part : parts) {
    TRY(ip, Ip::parse(part));
    attachment.ips.push_back(ip);
    lease.pools.push_back(pool);
  }
  return lease;
}

}  // namespace

const sqlite::Schema& lease_schema() {
  // "tom1" in the file's header.
  static constexpr sqlite::Schema kSchema{0x746f6d31, "leases", kMigrations};
  return kSchema;
}

Result<void> pack_leases_of_schema_1(SQLite::Database& database) {
  SQLite::Transaction transaction(database);
  SQLite::Statement rows(database, "SELECT * FROM leases ORDER BY sequence");
  SQLite::Statement put(database, "INSERT INTO records VALUES(?,?,?)");
  bool any = false;
  while (rows.executeStep()) {
    any = true;
    TRY(lease, read_lease(rows));
    std::string packed = pack_lease(lease);
    put.bind(1, static_cast<std::int64_t>(lease.sequence));
    put.bind(2, static_cast<int>(lease.state));
    put.bind(3, packed.data(), static_cast<int>(packed.size()));
    put.exec();
    put.reset();
  }
  if (!any) return {};
  rows.reset();
  database.exec("DELETE FROM leases");
  transaction.commit();
  return {};
}

}  // namespace tombolo
