// What only the in-memory store has: cuts, compaction and restores on demand. The semantics that it
// shares with the real stores are in kv_suite_test.cpp.
#include "core/store/memory_kv.h"

#include <catch2/catch_test_macros.hpp>

#include "core/store/drive.h"

namespace tombolo {
namespace {

WatchRequest prefix_watch(std::string prefix, std::int64_t start) {
  WatchRequest request;
  request.key = prefix;
  request.range_end = prefix_end(prefix);
  request.start_revision = start;
  return request;
}

TEST_CASE("a cut ends watches and refuses requests until it is mended") {
  Drive drive;
  MemoryStore store(drive.executor());
  MemoryKv kv(store);
  MemoryKv other(store);
  auto watch = drive.run(kv.watch(prefix_watch("a", 0)));
  REQUIRE(watch);
  kv.set_connected(false);
  REQUIRE(drive.run(kv.get("a")).error().code == Code::kUnavailable);
  REQUIRE(drive.run(other.put({"a", "1"})) == 2);
  kv.set_connected(true);
  // The old watch stays dead although the connection is back.
  REQUIRE(drive.run((*watch)->next()).error().code == Code::kUnavailable);
  auto again = drive.run(kv.watch(prefix_watch("a", 2)));
  auto batch = drive.run((*again)->next());
  REQUIRE(batch);
  REQUIRE(batch->events.size() == 1);
  REQUIRE(batch->events[0].kv.value == "1");
}

TEST_CASE("compaction forgets what was superseded and nothing else") {
  Drive drive;
  MemoryStore store(drive.executor());
  MemoryKv kv(store);
  REQUIRE(drive.run(kv.put({"a", "1"})) == 2);
  REQUIRE(drive.run(kv.put({"a", "2"})) == 3);
  REQUIRE(drive.run(kv.put({"b", "1"})) == 4);
  REQUIRE(drive.run(kv.erase({"b", ""})) == 5);
  REQUIRE(store.compact(4));
  RangeRequest past{.key = "b", .revision = 4};
  REQUIRE(drive.run(kv.range(past))->kvs.size() == 1);
  past.revision = 3;
  REQUIRE(drive.run(kv.range(past)).error().code == Code::kOutOfRange);
  REQUIRE(drive.run(kv.watch(prefix_watch("", 3))).error().code == Code::kOutOfRange);
  REQUIRE(drive.run(kv.watch(prefix_watch("b", 4))));
  REQUIRE(drive.run(kv.get("a"))->value().version == 2);
}

TEST_CASE("a backup puts back the data of its time, with leases that hold keys") {
  Drive drive;
  MemoryStore store(drive.executor(), 1);
  MemoryKv kv(store);
  std::int64_t lease = drive.run(kv.lease_grant(std::chrono::seconds(5))).value();
  REQUIRE(drive.run(kv.put({"leased", "1", lease})));
  REQUIRE(drive.run(kv.put({"kept", "old", 0})));
  MemoryStore::Backup backup = store.backup();
  REQUIRE(drive.run(kv.put({"kept", "new", 0})));
  REQUIRE(drive.run(kv.put({"later", "1", 0})));
  REQUIRE(drive.run(kv.lease_revoke(lease)));
  store.restore(backup, 2);
  REQUIRE(store.revision() == backup.revision);
  REQUIRE(drive.run(kv.get("kept")).value()->value == "old");
  REQUIRE(drive.run(kv.get("leased")).value().has_value());
  REQUIRE_FALSE(drive.run(kv.get("later")).value().has_value());
  REQUIRE(drive.run(kv.lease_keep_alive(lease)));
  REQUIRE(drive.run(kv.range({"kept"})).value().cluster_id == 2);
  RangeRequest past{"kept", "", backup.revision - 1};
  REQUIRE(drive.run(kv.range(past)).error().code == Code::kOutOfRange);
}

TEST_CASE("a restored store ends watches and says that it is another one") {
  Drive drive;
  MemoryStore store(drive.executor(), 7);
  MemoryKv kv(store);
  WatchRequest request = prefix_watch("a", 0);
  request.cluster_id = drive.run(kv.range({.key = "a"}))->cluster_id;
  REQUIRE(request.cluster_id == 7);
  auto watch = drive.run(kv.watch(request));
  store.restore_as(8);
  REQUIRE(drive.run((*watch)->next()).error().code == Code::kAborted);
  REQUIRE(drive.run(kv.watch(request)).error().code == Code::kAborted);
}

}  // namespace
}  // namespace tombolo
