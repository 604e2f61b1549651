// From another cluster's node records to a report in the store, with a prober that the test plays.
#include "app/daemon/node_probes.h"

#include <catch2/catch_test_macros.hpp>
#include <set>

#include "core/records/records.h"
#include "core/store/drive.h"
#include "core/store/memory_kv.h"
#include "servicesync/cilium/cilium.h"

namespace tombolo {
namespace {

using namespace std::chrono_literals;

class PlayedProber final : public Prober {
 public:
  asio::awaitable<Result<bool>> answers(Ip ip, Duration) override {
    ++asked;
    co_return living.contains(ip.str());
  }
  std::set<std::string> living;
  int asked = 0;
};

struct World {
  Drive drive;
  MemoryStore store{drive.executor()};
  MemoryKv kv{store};
  RevisionCounter revisions;
  Table<ReconcileStatus> status{"status", revisions};
  Table<ReconcileStatus>::Writer status_writer = status.take_writer("test");
  std::unique_ptr<Clock> clock = make_system_clock();
  std::unique_ptr<Rng> rng = make_seeded_rng(1);
  TaskGroup tasks{drive.executor()};
  PlayedProber prober;
  Settling settling;
  std::unique_ptr<NodeProbes> probes;

  ~World() {
    tasks.cancel();
    drive.until([&] { return tasks.size() == 0; });
  }
  void put(const std::string& cluster, const std::string& name, const std::string& address) {
    Node node;
    node.cluster = cluster;
    node.cluster_id = 2;
    node.name = name;
    node.internal_ips = {*Ip::parse(address)};
    std::string key = fmt::format("cilium/cache/nodes/v1/{}/{}", cluster, name);
    REQUIRE(drive.run(kv.put({key, cilium::encode(cilium::node_record_of(node))})));
  }
  void start() {
    NodeProbeSettings settings;
    settings.node = "e1";
    settings.tick = 5ms;
    settings.limits.period = 10ms;
    settings.limits.silence = 60ms;
    RoleContext context{kv, tasks, *clock, *rng, Logger()};
    probes = std::make_unique<NodeProbes>(settings, prober, revisions, status_writer, context);
    probes->start(settling);
  }
  std::optional<KeyValue> stored(const std::string& cluster) {
    auto found = drive.run(kv.get("tombolo/v1/reach/e1/" + cluster));
    REQUIRE(found);
    return *found;
  }
  std::string said(const std::string& cluster) {
    auto kv_found = stored(cluster);
    if (!kv_found) return "nothing";
    auto reach = records::decode_reach(*kv_found);
    REQUIRE(reach);
    return fmt::format("{}/{}", reach->answered, reach->asked);
  }
  bool says(const std::string& cluster, const std::string& text) {
    return drive.until([&] { return said(cluster) == text; }, 10s);
  }
};

TEST_CASE("reports follow the nodes of other clusters, under a lease") {
  World world;
  world.put("west", "w1", "10.2.0.1");
  world.put("west", "w2", "10.2.0.2");
  world.put("north", "n1", "10.3.0.1");
  world.prober.living = {"10.2.0.1", "10.3.0.1"};
  world.start();
  REQUIRE(world.says("west", "1/2"));
  REQUIRE(world.says("north", "1/1"));
  REQUIRE(world.stored("west")->lease != 0);
  world.prober.living.clear();
  REQUIRE(world.says("west", "0/2"));
  REQUIRE(world.says("north", "0/1"));
  world.prober.living = {"10.2.0.2"};
  REQUIRE(world.says("west", "1/2"));
  REQUIRE(world.said("north") == "0/1");
  REQUIRE(world.drive.run(world.kv.erase({"cilium/cache/nodes/v1/west/w2", ""})));
  REQUIRE(world.says("west", "0/1"));
  REQUIRE(world.drive.run(world.kv.erase({"cilium/cache/nodes/v1/west/w1", ""})));
  REQUIRE(world.says("west", "nothing"));
}

TEST_CASE("a report is written when it changes, not with every question") {
  World world;
  world.put("west", "w1", "10.2.0.1");
  world.prober.living = {"10.2.0.1"};
  world.start();
  REQUIRE(world.says("west", "1/1"));
  std::int64_t revision = world.store.revision();
  int asked = world.prober.asked;
  REQUIRE(world.drive.until([&] { return world.prober.asked > asked + 20; }));
  REQUIRE(world.store.revision() == revision);
}

TEST_CASE("a report of an earlier life goes once this one has listened") {
  World world;
  REQUIRE(world.drive.run(
      world.kv.put({"tombolo/v1/reach/e1/gone", records::encode(NodeReach{"e1", "gone", 1, 1})})));
  world.start();
  REQUIRE(world.says("gone", "nothing"));
}

}  // namespace
}  // namespace tombolo
