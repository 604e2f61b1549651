// One link against a store that holds what Cilium wrote.
#include "servicesync/mesh/mesh.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include "core/json.h"
#include "core/store/drive.h"
#include "core/store/memory_kv.h"
#include "core/yaml.h"

namespace tombolo::mesh {
namespace {

using namespace std::chrono_literals;

struct World {
  Drive drive;
  MemoryStore own_store{drive.executor(), 1};
  MemoryStore remote_store{drive.executor(), 2};
  MemoryKv own{own_store};
  MemoryKv there{remote_store};  // a client beside the link
  MemoryKv* wire = nullptr;      // the link's connection
  RevisionCounter revisions;
  Table<RemoteCluster> rows{"remote_clusters", revisions};
  Table<ReconcileStatus> status{"status", revisions};
  Table<StoreRecord> configs{"configs", revisions};
  Table<StoreRecord> canaries{"canaries", revisions};
  std::unique_ptr<Clock> clock = make_system_clock();
  std::unique_ptr<Rng> rng = make_seeded_rng(1);
  TaskGroup tasks{drive.executor()};
  MeshContext context{own,
                      revisions,
                      rows.take_writer("test"),
                      status.take_writer("test"),
                      configs.take_writer("test"),
                      canaries.take_writer("test"),
                      *clock,
                      *rng,
                      Logger(),
                      tasks};
  std::unique_ptr<RemoteLink> link;

  ~World() { stop(); }
  void stop() {
    if (link == nullptr) return;
    drive.run(stopped());
    link.reset();
  }
  asio::awaitable<int> stopped() {
    co_await link->stop();
    co_return 0;
  }
  void start(std::uint32_t id = 2) {
    RemoteOptions options;
    options.own_cluster = "c1";
    options.own_id = 1;
    options.origin = {"c2", id, 8};
    options.check_interval = 2ms;
    options.silence = 200ms;
    options.retry_base = 1ms;
    options.retry_cap = 2ms;
    options.progress_interval = 2ms;
    auto connection = std::make_unique<MemoryKv>(remote_store);
    wire = connection.get();
    link = std::make_unique<RemoteLink>(options, std::move(connection), context);
    link->start();
  }
  // The key space of a running clustermesh-apiserver.
  void fill(const std::set<std::string>& without = {}) {
    auto text = read_file(TOMBOLO_TEST_DATA "/clustermesh/c2-clustermesh-apiserver.json");
    REQUIRE(text);
    auto dump = parse_json(*text);
    REQUIRE(dump);
    for (const json::value& entry : dump->as_array()) {
      std::string key(entry.at("key").as_string());
      if (!without.contains(key)) put(key, std::string(entry.at("value").as_string()));
    }
  }
  void put(const std::string& key, const std::string& value) {
    REQUIRE(drive.run(there.put({key, value})));
  }
  void erase(const std::string& key) { REQUIRE(drive.run(there.erase({key, ""}))); }
  std::string cached(const std::string& key) {
    auto found = drive.run(own.get(key));
    REQUIRE(found);
    return *found ? (*found)->value : "";
  }
  RemoteCluster row() const {
    const RemoteCluster* found = rows.find("c2");
    return found == nullptr ? RemoteCluster{} : *found;
  }
  bool becomes(const std::string& key, const std::string& value) {
    return drive.until([&] { return cached(key) == value; }, 5s);
  }
  bool synced() {
    return drive.until([&] { return row().synced && row().connected; }, 5s);
  }
};

const std::string kService = "cilium/cache/services/v1/c2/shop/web";

TEST_CASE("everything that Cilium published is copied as KVStoreMesh copies it") {
  World world;
  world.fill();
  world.start();
  REQUIRE(world.synced());
  REQUIRE(world.row().error.empty());
  auto text = read_file(TOMBOLO_TEST_DATA "/clustermesh/c1-kvstoremesh.json");
  auto dump = parse_json(*text);
  std::size_t compared = 0;
  for (const json::value& entry : dump->as_array()) {
    std::string key(entry.at("key").as_string());
    if (!key.starts_with("cilium/cache/")) continue;
    INFO(key);
    REQUIRE(world.becomes(key, std::string(entry.at("value").as_string())));
    ++compared;
  }
  REQUIRE(compared == 5);
  REQUIRE(world.configs.find("cilium/cluster-config/c2")->value ==
          R"({"id":2,"capabilities":{"syncedCanaries":true,"cached":true,)"
          R"("maxConnectedClusters":255,"serviceExportsEnabled":true}})");
  REQUIRE(world.drive.until(
      [&] { return world.canaries.find("cilium/synced/c2/cilium/cache/services/v1") != nullptr; }));
}

TEST_CASE("a KVStoreMesh is read from its cache") {
  World world;
  auto text = read_file(TOMBOLO_TEST_DATA "/clustermesh/c1-kvstoremesh.json");
  auto dump = parse_json(*text);
  for (const json::value& entry : dump->as_array())
    world.put(std::string(entry.at("key").as_string()), std::string(entry.at("value").as_string()));
  for (cilium::RecordKind kind : cilium::kRecordKinds)
    world.put(cilium::keys::synced_cache("c2", kind), "2026-11-20T22:02:33Z");
  world.start();
  REQUIRE(world.synced());
  REQUIRE(world.drive.until([&] { return world.cached(kService).contains("10.2.0.44"); }));
}

TEST_CASE("nothing is read before its canary") {
  World world;
  std::string canary = "cilium/synced/c2/cilium/state/services/v1";
  world.fill({canary});
  world.start();
  REQUIRE(
      world.drive.until([&] { return !world.cached("cilium/cache/nodes/v1/c2/node-b").empty(); }));
  REQUIRE_FALSE(world.row().synced);
  REQUIRE(
      world.drive.until([&] { return world.row().error == "its services are not complete yet"; }));
  REQUIRE(world.cached(kService).empty());
  world.put(canary, "2026-11-20T22:02:33Z");
  REQUIRE(world.synced());
  REQUIRE(world.drive.until([&] { return !world.cached(kService).empty(); }));
}

struct BadConfig {
  std::string name;
  std::string value;
  std::string error;
};

TEST_CASE("a configuration that does not fit is refused; nothing is copied") {
  auto c = GENERATE(values<BadConfig>({
      {"another id", R"({"id":3})", "cilium/cluster-config/c2: id 3 where the fleet says 2"},
      {"our id", R"({"id":1})", "cilium/cluster-config/c2: id 1 is this cluster's own"},
      {"garbage", "x", "cilium/cluster-config/c2: not valid JSON: syntax error"},
  }));
  INFO(c.name);
  World world;
  world.fill();
  world.put("cilium/cluster-config/c2", c.value);
  world.start();
  REQUIRE(world.drive.until([&] { return world.row().error == c.error; }));
  REQUIRE_FALSE(world.row().synced);
  REQUIRE(world.cached(kService).empty());
  world.put("cilium/cluster-config/c2", R"({"id":2})");
  REQUIRE(world.synced());
}

TEST_CASE("a malformed record is refused by its key; the last good one stays") {
  World world;
  world.fill();
  world.start();
  REQUIRE(world.synced());
  REQUIRE(world.drive.until([&] { return !world.cached(kService).empty(); }));
  std::string good = world.cached(kService);
  world.put("cilium/state/services/v1/c2/shop/web", R"({"cluster":"c1"})");
  REQUIRE(world.drive.until([&] { return !world.row().error.empty(); }));
  REQUIRE(world.row().error ==
          "refused invalid argument: cilium/state/services/v1/c2/shop/web: cluster: 'c1' where "
          "'c2' must stand");
  REQUIRE(world.cached(kService) == good);
  // An address of ours with an identity of ours.
  world.put("cilium/state/ip/v1/default/10.1.0.1", R"({"IP":"10.1.0.1","ID":70000})");
  REQUIRE(world.drive.until([&] { return world.row().error.contains("(2 records refused)"); }));
  REQUIRE(world.cached("cilium/cache/ip/v1/c2/10.1.0.1").empty());
  world.erase("cilium/state/services/v1/c2/shop/web");
  REQUIRE(world.becomes(kService, ""));
}

TEST_CASE("an absent cluster keeps its records; what changed meanwhile comes at its return") {
  World world;
  world.fill();
  world.start();
  REQUIRE(world.synced());
  REQUIRE(world.drive.until([&] { return !world.cached(kService).empty(); }));
  WallTime heard = world.row().last_heard;
  world.wire->set_connected(false);
  REQUIRE(world.drive.until([&] { return !world.row().connected; }));
  REQUIRE(world.row().last_heard >= heard);
  REQUIRE_FALSE(world.row().error.empty());
  world.erase("cilium/state/services/v1/c2/shop/web");
  REQUIRE_FALSE(world.cached(kService).empty());
  world.wire->set_connected(true);
  REQUIRE(world.becomes(kService, ""));
  REQUIRE(world.synced());
}

TEST_CASE("a restart while the other cluster is away removes nothing; a return prunes") {
  World world;
  REQUIRE(world.drive.run(world.own.put({kService, "old"})));
  REQUIRE(world.drive.run(world.own.put({"cilium/cache/services/v1/c2/shop/gone", "old"})));
  world.fill();
  world.start();
  world.wire->set_connected(false);
  REQUIRE(world.drive.until([&] { return !world.row().error.empty(); }));
  REQUIRE(world.cached(kService) == "old");
  world.wire->set_connected(true);
  REQUIRE(world.synced());
  REQUIRE(world.becomes("cilium/cache/services/v1/c2/shop/gone", ""));
  REQUIRE(world.cached(kService).contains("10.2.0.44"));
}

TEST_CASE("a cluster that left for good leaves nothing behind") {
  World world;
  world.fill();
  world.start();
  REQUIRE(world.synced());
  REQUIRE(world.drive.until([&] { return !world.cached(kService).empty(); }));
  world.drive.run(world.stopped());
  REQUIRE(world.drive.run(world.link->forget()));
  auto left = world.drive.run(world.own.range({"cilium/", prefix_end("cilium/")}));
  REQUIRE(left->kvs.empty());
  REQUIRE(world.rows.size() == 0);
  world.link.reset();
}

}  // namespace
}  // namespace tombolo::mesh
