// The client when stores go away: restarts, another store at the same address, a member of a real
// cluster that dies, and a mirror over all of that.
#include "core/store/etcd_client.h"

#include <catch2/catch_test_macros.hpp>

#include "core/store/drive.h"
#include "core/store/mirror.h"
#include "core/store/test_stores.h"

namespace tombolo {
namespace {

using namespace std::chrono_literals;

std::unique_ptr<Kv> connect(Drive& drive, std::vector<std::string> endpoints,
                            std::chrono::milliseconds timeout = 5000ms) {
  EtcdClientOptions options;
  options.endpoints = std::move(endpoints);
  options.request_timeout = timeout;
  auto client = make_etcd_client(options, drive.executor());
  REQUIRE(client);
  return std::move(*client);
}

// A write that may be asked for several times while the store comes back.
bool put_until_done(Drive& drive, Kv& kv, const Put& put) {
  for (int i = 0; i < 200; ++i) {
    if (drive.run(kv.put(put))) return true;
    drive.until([] { return false; }, 50ms);
  }
  return false;
}

struct Row {
  std::string name;
  std::string value;
  std::string key() const { return name; }
  bool operator==(const Row&) const = default;
};

TEST_CASE("client: endpoints are checked when it is made") {
  Drive drive;
  auto error = [&](std::vector<std::string> endpoints) {
    EtcdClientOptions options;
    options.endpoints = std::move(endpoints);
    return make_etcd_client(options, drive.executor()).error();
  };
  REQUIRE(error({}).what == "no endpoint of a store");
  REQUIRE(error({"host"}).what == "store endpoint 'host' is not [http[s]://]HOST:PORT");
  REQUIRE(error({"http://h:1/path"}).what.contains("is not [http[s]://]HOST:PORT"));
  REQUIRE(error({"https://h:1"}).what == "store endpoint 'https://h:1' needs certificates");
  EtcdClientOptions options;
  options.endpoints = {"https://h:1"};
  options.tls = TlsFiles{"/nonexistent.pem", "/nonexistent.key", "/nonexistent.ca"};
  auto missing = make_etcd_client(options, drive.executor());
  REQUIRE(missing.error().code == Code::kNotFound);
  REQUIRE(missing.error().text().contains("/nonexistent.pem"));
}

TEST_CASE("client: nobody there is an error in time, never a hang") {
  Drive drive;
  auto kv = connect(drive, {fmt::format("127.0.0.1:{}", free_port())}, 500ms);
  Code code = drive.run(kv->get("a")).error().code;
  REQUIRE((code == Code::kUnavailable || code == Code::kDeadlineExceeded));
  code = drive.run(kv->watch({.key = "a"})).error().code;
  REQUIRE((code == Code::kUnavailable || code == Code::kDeadlineExceeded));
  code = drive.run(kv->lease_keep_alive(1)).error().code;
  REQUIRE((code == Code::kUnavailable || code == Code::kDeadlineExceeded));
}

TEST_CASE("client: another store at the same address is noticed") {
  Drive drive;
  EmbeddedStore store;
  auto kv = connect(drive, store.endpoints());
  std::uint64_t before = drive.run(kv->range({.key = "a"}))->cluster_id;
  store.stop();
  REQUIRE(give_new_cluster_id(store.file()));
  store.start();
  Code code = Code::kUnavailable;
  for (int i = 0; i < 100 && code == Code::kUnavailable; ++i) {
    auto got = drive.run(kv->get("a"));
    code = got ? Code::kInternal : got.error().code;
  }
  REQUIRE(code == Code::kAborted);
  auto after = drive.run(kv->range({.key = "a"}));
  REQUIRE(after);
  REQUIRE(after->cluster_id != before);
  REQUIRE(drive.run(kv->watch({.key = "a", .cluster_id = before})).error().code == Code::kAborted);
}

TEST_CASE("client: a mirror survives restarts and a restored store") {
  Drive drive;
  EmbeddedStore store;
  auto kv = connect(drive, store.endpoints());
  auto writer = connect(drive, store.endpoints());
  RevisionCounter revisions;
  Table<Row> table("rows", revisions);
  auto clock = make_system_clock();
  auto rng = make_seeded_rng(1);
  TaskGroup tasks(drive.executor());
  MirrorOptions options;
  options.follow.name = "test";
  options.follow.prefix = "p/";
  options.follow.retry_base = 10ms;
  options.follow.retry_cap = 100ms;
  options.follow.progress_interval = 100ms;
  auto decode = [](const KeyValue& pair) -> Result<Row> { return Row{pair.key, pair.value}; };
  KvMirror<Row> mirror(options, *kv, table.take_writer("mirror"), decode, tasks, *clock, *rng,
                       Logger());
  tasks.spawn("mirror", mirror.run());
  auto value = [&](const std::string& key) {
    const Row* row = table.find(key);
    return row == nullptr ? "" : row->value;
  };
  REQUIRE(put_until_done(drive, *writer, {"p/a", "1"}));
  REQUIRE(drive.until([&] { return value("p/a") == "1"; }));
  MonotonicTime heard = mirror.last_heard();
  REQUIRE(drive.until([&] { return mirror.last_heard() > heard + 200ms; }));
  store.restart();
  REQUIRE(put_until_done(drive, *writer, {"p/a", "2"}));
  REQUIRE(drive.until([&] { return value("p/a") == "2"; }));
  REQUIRE(mirror.follower().lists() == 1);
  store.stop();
  REQUIRE(give_new_cluster_id(store.file()));
  store.start();
  REQUIRE(put_until_done(drive, *writer, {"p/a", "3"}));
  REQUIRE(drive.until([&] { return value("p/a") == "3"; }));
  REQUIRE(mirror.follower().lists() == 2);
  tasks.cancel();
  REQUIRE(drive.until([&] { return tasks.size() == 0; }));
}

TEST_CASE("client: a cluster of three loses a member, its clients lose nothing") {
  auto store = EtcdStore::start(3);
  if (store == nullptr) SKIP("etcd is not installed (Debian package etcd-server)");
  Drive drive;
  auto kv = connect(drive, store->endpoints());
  auto watch = drive.run(kv->watch({.key = "a", .range_end = "b"}));
  REQUIRE(watch);
  std::int64_t start = *drive.run(kv->put({"a", "1"}));
  auto lease = drive.run(kv->lease_grant(60s));
  REQUIRE(lease);
  REQUIRE(drive.run((*watch)->next())->events.size() == 1);
  // The member that the client talks to.
  store->kill_member(0);
  REQUIRE(put_until_done(drive, *kv, {"a", "2", *lease}));
  REQUIRE(drive.run(kv->lease_keep_alive(*lease)));
  REQUIRE(drive.run((*watch)->next()).error().code == Code::kUnavailable);
  auto again = drive.run(kv->watch({.key = "a", .range_end = "b", .start_revision = start + 1}));
  REQUIRE(again);
  auto batch = drive.run((*again)->next());
  REQUIRE(batch);
  REQUIRE(batch->events.at(0).kv.value == "2");
  // Without a majority nothing is written, and reads say so in time.
  store->kill_member(1);
  auto refused = drive.run(kv->put({"a", "3"}));
  REQUIRE_FALSE(refused);
}

}  // namespace
}  // namespace tombolo
