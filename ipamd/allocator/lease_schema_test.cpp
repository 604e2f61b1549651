// Lease files of earlier programs, made here with the SQL of their time: what they hold is taken
// over once, whole, and a file with something unreadable is refused and left as it was.
#include <SQLiteCpp/SQLiteCpp.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include "ipamd/allocator/lease_book.h"
#include "ipamd/allocator/test_loop.h"

namespace tombolo {
namespace {

// Schema 1 as it was released: never changed.
constexpr const char* kSchema1 = R"(
  PRAGMA journal_mode=WAL;
  CREATE TABLE leases(
    sequence INTEGER PRIMARY KEY, state INTEGER NOT NULL, network TEXT NOT NULL,
    pool TEXT NOT NULL, reserved_unix_ms INTEGER NOT NULL, container_id TEXT NOT NULL,
    interface_name TEXT NOT NULL, name_space TEXT NOT NULL, pod_name TEXT NOT NULL,
    pod_uid TEXT NOT NULL, node TEXT NOT NULL, netns_path TEXT NOT NULL,
    host_interface TEXT NOT NULL, mac TEXT NOT NULL, ips TEXT NOT NULL) STRICT;
  CREATE TABLE freed(
    position INTEGER PRIMARY KEY,
    pool TEXT NOT NULL, ip TEXT NOT NULL,
    released_unix_ms INTEGER NOT NULL, UNIQUE(pool, ip)) STRICT;
  CREATE TABLE blocks(
    pool TEXT NOT NULL, prefix TEXT NOT NULL, PRIMARY KEY(pool, prefix)) STRICT;
  CREATE TABLE counters(name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT;
  PRAGMA application_id=0x746f6d31;
  PRAGMA user_version=1;)";

constexpr const char* kRows = R"(
  INSERT INTO counters VALUES('last_sequence', 9);
  INSERT INTO blocks VALUES('node', '10.0.0.0/29'), ('node', 'fd00::/64');
  INSERT INTO leases VALUES
    (4, 2, 'pods', 'node', 1790000000123, '3f1c0d9be27a4455c6d7e8f90a1b2c3d', 'eth0', 'shop',
     'cart-0', '0b1f6d0c-6c0e-4b7e-9d55-2f1f2b4f7a11', 'n1', '/var/run/netns/cni-0b1f', 'tbo01',
     '02:00:00:00:00:01', '10.0.0.3 fd00::3'),
    (7, 1, 'pods', 'node', 1790000000456, 'b', 'net1', '', '', '', 'n1', '', '', '', '10.0.0.5');
  INSERT INTO freed VALUES
    (1, 'node', '10.0.0.2', 1790000000001), (2, 'node', '10.0.0.1', 1790000000002),
    (3, 'node', '10.0.0.4', 1790000000003);)";

void make_file(const std::string& path, const std::string& more = "") {
  SQLite::Database database(path, SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE);
  database.exec(kSchema1);
  database.exec(kRows);
  database.exec(more);
}

Lease lease_of_first_row() {
  Lease lease;
  lease.sequence = 4;
  lease.state = LeaseState::kAttached;
  lease.network = "pods";
  lease.reserved_unix_ms = 1'790'000'000'123;
  lease.attachment.container_id = "3f1c0d9be27a4455c6d7e8f90a1b2c3d";
  lease.attachment.interface_name = "eth0";
  lease.attachment.name_space = "shop";
  lease.attachment.pod_name = "cart-0";
  lease.attachment.pod_uid = "0b1f6d0c-6c0e-4b7e-9d55-2f1f2b4f7a11";
  lease.attachment.node = "n1";
  lease.attachment.netns_path = "/var/run/netns/cni-0b1f";
  lease.attachment.host_interface = "tbo01";
  lease.attachment.mac = "02:00:00:00:00:01";
  lease.set_addresses(
      {{"node", Ip::parse("10.0.0.3").value()}, {"node", Ip::parse("fd00::3").value()}});
  return lease;
}

TEST_CASE("a file of schema 1 is taken over, once and whole") {
  Folder folder;
  std::string file = folder.file("leases.db");
  make_file(file);
  for (int life = 0; life < 2; ++life) {
    auto store = open_sqlite_lease_store(file).value();
    auto stored = store->load().value();
    REQUIRE(stored.last_sequence == 9);
    auto leases = stored.leases.all().value();
    REQUIRE(leases.size() == 2);
    REQUIRE(leases[0] == lease_of_first_row());
    REQUIRE(leases[1].sequence == 7);
    REQUIRE(leases[1].state == LeaseState::kReserved);
    REQUIRE(leases[1].key() == "b/net1");
    REQUIRE(leases[1].addresses() ==
            std::vector<PooledIp>{{"node", Ip::parse("10.0.0.5").value()}});
    std::vector<std::string> freed;
    for (const auto& one : stored.freed)
      freed.push_back(fmt::format("{} {} {}", one.pool, one.ip, one.released_unix_ms));
    REQUIRE(freed == std::vector<std::string>{"node 10.0.0.2 1790000000001",
                                              "node 10.0.0.1 1790000000002",
                                              "node 10.0.0.4 1790000000003"});
    REQUIRE(stored.blocks.size() == 1);
    REQUIRE(stored.blocks[0].blocks == std::vector<Prefix>{Prefix::parse("10.0.0.0/29").value(),
                                                           Prefix::parse("fd00::/64").value()});
  }
  SQLite::Database database(file, SQLite::OPEN_READONLY);
  REQUIRE(database.execAndGet("SELECT count(*) FROM leases").getInt() == 0);
}

TEST_CASE("a life goes on over a file of schema 1") {
  Folder folder;
  make_file(folder.file("leases.db"));
  Store store(folder.file("leases.db"));
  TestLoop loop;
  Worker worker;
  LeaseBook book(store, worker, loop.tasks(), loop.clock(), Logger());
  REQUIRE(loop.run(book.load()));
  std::vector<std::string> given;
  for (const char* container : {"x", "y", "z", "full"}) {
    Lease wanted;
    wanted.attachment.container_id = container;
    wanted.attachment.interface_name = "eth0";
    auto reserved = book.reserve(std::move(wanted), kNodePool, {Family::kV4});
    if (!reserved) continue;
    REQUIRE(loop.run(book.durable(reserved->ticket)));
    given.push_back(
        fmt::format("{} {}", reserved->lease.sequence, reserved->lease.attachment.ips.at(0)));
  }
  // Never used first, then longest free first; nothing that is held; numbers go on after the last.
  REQUIRE(given ==
          std::vector<std::string>{"10 10.0.0.6", "11 10.0.0.2", "12 10.0.0.1", "13 10.0.0.4"});
  loop.end();
}

TEST_CASE("a file of schema 1 with something unreadable is refused and stays as it was") {
  struct Case {
    const char* name;
    const char* sql;
    const char* error;
  };
  auto test = GENERATE(values<Case>({
      {"state", "UPDATE leases SET state=3 WHERE sequence=7", "lease 7 has the unknown state 3"},
      {"address", "UPDATE leases SET ips='10.0.0.5 what' WHERE sequence=7", "what"},
  }));
  INFO(test.name);
  Folder folder;
  std::string file = folder.file("leases.db");
  make_file(file, test.sql);
  for (int attempt = 0; attempt < 2; ++attempt) {
    auto store = open_sqlite_lease_store(file);
    REQUIRE(!store);
    INFO(store.error().what);
    REQUIRE(store.error().what.find(test.error) != std::string::npos);
  }
  SQLite::Database database(file, SQLite::OPEN_READONLY);
  REQUIRE(database.execAndGet("SELECT count(*) FROM leases").getInt() == 2);
}

}  // namespace
}  // namespace tombolo
