// What survives a restart of the controller, and what its store holds for others.
#include <stdlib.h>

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <filesystem>
#include <fstream>

#include "servicesync/cilium/cilium.h"
#include "servicesync/controller/world_fixture.h"

namespace tombolo::controller {
namespace {

TEST_CASE("a restart while the other cluster is away changes nothing in the store") {
  Pair pair;
  pair.start();
  for (Cluster* cluster : {&pair.east, &pair.west}) {
    cluster->life->apply("base.yaml", deployment(1));
    cluster->life->apply("service.yaml", service(kGlobal));
  }
  REQUIRE(pair.east.becomes(kBase, "10.1.0.1 10.2.0.1"));
  REQUIRE(pair.fleet.drive.until([&] {
    const Frontend* row = pair.east.life->frontend(kBase);
    return row->cluster_ips.size() == 1 && row->clusterset_ips.size() == 1 &&
           pair.east.backends(kBase) != "not yet";
  }));
  Frontend before = *pair.east.life->frontend(kBase);
  std::string key = fmt::format("{}{}", records::kFrontendsPrefix, kBase);
  std::string value = pair.east.value(key);
  std::int64_t revision = pair.east.store.revision();

  Life& life = pair.east.born();
  life.apply("base.yaml", deployment(1));
  life.apply("service.yaml", service(kGlobal));
  life.link("west", 2, pair.west.store, false);
  life.attach("rebel-base-1", "e1", {ip_of("10.1.0.1")});
  pair.east.start();
  REQUIRE(pair.fleet.drive.until([&] {
    return life.tables.frontends.synced() && life.sync.idle() &&
           std::ranges::all_of(life.sync.reconcilers(),
                               [](const ReconcilerView* view) { return view->settled(); });
  }));
  REQUIRE(*life.frontend(kBase) == before);
  // Written again or not, it never said anything else.
  for (const WatchEvent& event : pair.east.store.events_after(revision, key, key + '\0')) {
    REQUIRE(event.kind == WatchEvent::Kind::kPut);
    REQUIRE(event.kv.value == value);
  }
  REQUIRE_FALSE(life.tables.remote_clusters.find("west")->connected);
  // Back, without a hand.
  life.wires["west"]->set_connected(true);
  pair.west.life->apply("base.yaml", deployment(0));
  REQUIRE(pair.east.becomes(kBase, "10.1.0.1"));
}

TEST_CASE("a restart while every remote is away keeps every copy") {
  Pair pair;
  pair.start();
  for (Cluster* cluster : {&pair.east, &pair.west}) {
    cluster->life->apply("base.yaml", deployment(1));
    cluster->life->apply("service.yaml", service(kGlobal));
  }
  cilium::IpRecord record;
  record.ip = ip_of("10.2.0.1");
  record.identity = 2 << 16 | 256;
  Cluster& east = pair.east;
  REQUIRE(pair.fleet.drive.run(
      pair.west.kv.put({cilium::keys::ip(record.ip), cilium::encode(record)})));
  const std::set<std::string> wanted{"cilium/cache/identities/v1/west/id/131328",
                                     "cilium/cache/ip/v1/west/10.2.0.1",
                                     "cilium/cache/serviceexports/v1/west/default/rebel-base",
                                     "cilium/cache/services/v1/west/default/rebel-base"};
  auto copies = [&] {
    RangeRequest request;
    request.key = "cilium/cache/";
    request.range_end = prefix_end(request.key);
    std::map<std::string, std::int64_t> found;
    auto answer = pair.fleet.drive.run(east.kv.range(request));
    for (const KeyValue& kv : answer->kvs) found[kv.key] = kv.mod_revision;
    return found;
  };
  auto keys = [&] {
    std::set<std::string> found;
    for (const auto& [key, revision] : copies()) found.insert(key);
    return found;
  };
  REQUIRE(pair.fleet.drive.until([&] { return keys() == wanted; }));
  auto before = copies();

  Life& life = east.born();
  life.apply("base.yaml", deployment(1));
  life.apply("service.yaml", service(kGlobal));
  life.link("west", 2, pair.west.store, false);
  life.attach("rebel-base-1", "e1", {ip_of("10.1.0.1")});
  east.start();
  REQUIRE(pair.fleet.drive.run(life.sync.forget_unknown_remotes())->empty());
  REQUIRE(pair.fleet.drive.until([&] {
    return life.tables.frontends.synced() && life.sync.idle() &&
           std::ranges::all_of(life.sync.reconcilers(),
                               [](const ReconcilerView* view) { return view->settled(); });
  }));
  REQUIRE(copies() == before);  // not even written again
}

TEST_CASE("addresses of a remote that the plan gives to others are refused until it says so") {
  Pair pair;
  auto block = [](const std::string& cluster, const std::string& prefix) {
    return PlanBlock{cluster, BlockUse::kPod, *Prefix::parse(prefix), 24};
  };
  for (Cluster* cluster : {&pair.east, &pair.west}) cluster->born();
  Life& east = *pair.east.life;
  east.link("west", 2, pair.west.store);
  east.set_plan(
      {block("west", "10.2.0.0/16"), block("east", "10.1.0.0/16"), block("south", "10.3.0.0/16")});
  // The plan knows nothing of 172.18.0.0/16: an address of a pool.
  for (const char* ip : {"10.2.0.1", "10.1.0.9", "10.3.0.1", "172.18.0.1"}) {
    cilium::IpRecord record;
    record.ip = ip_of(ip);
    record.identity = 2 << 16 | 256;
    REQUIRE(pair.fleet.drive.run(
        pair.west.kv.put({cilium::keys::ip(record.ip), cilium::encode(record)})));
  }
  pair.west.start();
  pair.east.start();
  auto copied = [&](const std::string& ip) {
    return !pair.east.value("cilium/cache/ip/v1/west/" + ip).empty();
  };
  REQUIRE(pair.fleet.drive.until([&] { return copied("10.2.0.1") && copied("172.18.0.1"); }));
  REQUIRE(pair.fleet.drive.until([&] {
    return east.tables.remote_clusters.find("west")->error ==
           "refused failed precondition: cilium/state/ip/v1/default/10.1.0.9: the plan gives "
           "10.1.0.9 to others than west (2 records refused)";
  }));
  REQUIRE_FALSE(copied("10.1.0.9"));
  east.drop_from_plan(block("south", "10.3.0.0/16"));
  REQUIRE(pair.fleet.drive.until([&] { return copied("10.3.0.1"); }));
  REQUIRE_FALSE(copied("10.1.0.9"));
}

TEST_CASE("nothing is derived before every source has been listed") {
  Pair pair;
  Cluster& east = pair.east;
  std::string key = fmt::format("{}{}", records::kFrontendsPrefix, kBase);
  REQUIRE(pair.fleet.drive.run(east.kv.put({key, "of an earlier life"})));
  Life& life = east.born();
  life.apply("base.yaml", deployment(1));
  life.apply("service.yaml", service(kGlobal));
  life.set_plan(east.plan());
  life.sync.start();
  // The attachments are not synced: every other source is, and has been for many turns.
  int turns = 0;
  REQUIRE(pair.fleet.drive.until([&] { return ++turns > 50; }));
  REQUIRE_FALSE(life.sync.idle());
  REQUIRE(life.tables.frontends.size() == 0);
  REQUIRE(east.value(key) == "of an earlier life");
  life.attach("rebel-base-1", "e1", {ip_of("10.1.0.1")});
  life.attachments_synced();
  REQUIRE(east.becomes(kBase, "10.1.0.1"));
}

TEST_CASE("a bad file at the start keeps what the store has") {
  Pair pair;
  Cluster& east = pair.east;
  std::string key = fmt::format("{}default/other", records::kFrontendsPrefix);
  REQUIRE(pair.fleet.drive.run(east.kv.put({key, "of an earlier life"})));
  Life& life = east.born();
  life.apply("base.yaml", deployment(1));
  life.apply("service.yaml", service(kGlobal));
  life.sync.set_objects("bad.yaml", manifests::decode_objects("kind: [", "bad.yaml"));
  life.attach("rebel-base-1", "e1", {ip_of("10.1.0.1")});
  east.start();
  REQUIRE(east.becomes(kBase, "10.1.0.1"));
  REQUIRE_FALSE(life.tables.frontends.synced());
  REQUIRE(east.value(key) == "of an earlier life");
  REQUIRE(east.status("manifests|bad.yaml").starts_with("bad.yaml:1: not valid YAML"));
  life.apply("bad.yaml", "");
  REQUIRE(pair.fleet.drive.until([&] { return east.value(key).empty(); }));
}

TEST_CASE("identities keep their numbers; agents are told of their pods") {
  Pair pair;
  Cluster& east = pair.east;
  const std::string record = "tombolo/v1/workloads/e1/default/rebel-base-1";
  std::uint32_t number = 0;
  for (int round = 0; round < 2; ++round) {
    Life& life = east.born();
    life.apply("base.yaml", deployment(1));
    life.attach("rebel-base-1", "e1", {ip_of("10.1.0.1")});
    life.attach("rebel-base-2", "e1", {ip_of("10.1.0.2")});
    east.start();
    REQUIRE(pair.fleet.drive.until([&] {
      const Workload* one = life.tables.workloads.find("default/rebel-base-1");
      const Workload* two = life.tables.workloads.find("default/rebel-base-2");
      return one != nullptr && two != nullptr && one->identity != 0 &&
             one->identity == two->identity;
    }));
    std::uint32_t now = life.tables.workloads.find("default/rebel-base-1")->identity;
    if (round == 1) REQUIRE(now == number);
    number = now;
    REQUIRE(number == 65536 + 256);
    REQUIRE(east.value(cilium::keys::identity(number)) ==
            "k8s:io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name=default;"
            "k8s:io.cilium.k8s.policy.cluster=east;k8s:io.cilium.k8s.policy.serviceaccount="
            "default;k8s:io.kubernetes.pod.namespace=default;k8s:name=rebel-base;");
    REQUIRE(pair.fleet.drive.until([&] {
      auto told = cilium::decode_workload_record(record, east.value(record));
      return told && told->identity == number;
    }));
    REQUIRE(cilium::decode_workload_record(record, east.value(record))->named_ports ==
            std::vector<NamedPort>{{"http", Protocol::kTcp, 80}});
    // Moved to another node.
    life.attach("rebel-base-1", "e2", {ip_of("10.1.1.1")});
    REQUIRE(pair.fleet.drive.until([&] {
      return east.value(record).empty() &&
             !east.value("tombolo/v1/workloads/e2/default/rebel-base-1").empty();
    }));
  }
}

TEST_CASE("what other clusters read: configuration, canaries, heartbeat, records, one lease") {
  Pair pair;
  Cluster& east = pair.east;
  Life& life = east.born();
  life.apply("base.yaml", deployment(1));
  life.apply("service.yaml", service(kGlobal));
  life.attach("rebel-base-1", "e1", {ip_of("10.1.0.1")});
  east.start();
  std::vector<std::string> keys{"cilium/.heartbeat", "cilium/cluster-config/east",
                                "cilium/state/services/v1/east/default/rebel-base",
                                "cilium/state/serviceexports/v1/east/default/rebel-base"};
  for (cilium::RecordKind kind : cilium::kRecordKinds)
    keys.push_back(cilium::keys::synced("east", kind));
  for (const std::string& key : keys) {
    INFO(key);
    REQUIRE(pair.fleet.drive.until([&] { return !east.value(key).empty(); }));
    REQUIRE((*pair.fleet.drive.run(east.kv.get(key)))->lease != 0);
  }
  REQUIRE(east.value("cilium/cluster-config/east") ==
          R"({"id":1,"capabilities":{"syncedCanaries":true,"maxConnectedClusters":255,)"
          R"("serviceExportsEnabled":true}})");
  std::string key = "cilium/state/services/v1/east/default/rebel-base";
  REQUIRE(pair.fleet.drive.until([&] {
    auto service = cilium::decode_service(key, kBase, east.value(key), {"east", 1, 8});
    return service && service->frontends.size() == 1 && service->backends.size() == 1 &&
           service->extras->clusterset_ips.size() == 1 && service->extras->created_unix_s > 0;
  }));
}

TEST_CASE("the manifest folder feeds the same flow") {
  std::string folder = "/tmp/tombolo-sync-test-XXXXXX";
  REQUIRE(mkdtemp(folder.data()) != nullptr);
  {
    Pair pair;
    Cluster& east = pair.east;
    ControllerSettings settings = east.settings();
    settings.manifests = folder;
    settings.rescan = 20ms;
    auto write = [&](const std::string& name, const std::string& text) {
      std::ofstream(folder + "/." + name) << text;
      std::filesystem::rename(folder + "/." + name, folder + "/" + name);
    };
    write("base.yaml", deployment(1));
    write("service.yaml", service(kGlobal));
    east.life = std::make_unique<Life>(pair.fleet, settings, east.store);
    east.life->attach("rebel-base-1", "e1", {ip_of("10.1.0.1")});
    east.start();
    REQUIRE(east.becomes(kBase, "10.1.0.1"));
    write("base.yaml", deployment(0));
    REQUIRE(east.becomes(kBase, ""));
  }
  std::filesystem::remove_all(folder);
}

asio::awaitable<void> pass_time() {
  co_await asio::this_coro::reset_cancellation_state(asio::disable_cancellation());
  for (int i = 0; i < 50; ++i) co_await asio::post(asio::use_awaitable);
}

// Its calls end in their own time, cancelled or not, as those over a network do.
class LateKv : public MemoryKv {
 public:
  using MemoryKv::MemoryKv;
  asio::awaitable<Result<RangeResult>> range(RangeRequest request) override {
    auto executor = co_await asio::this_coro::executor;
    co_await asio::co_spawn(executor, pass_time(), asio::use_awaitable);
    co_return co_await MemoryKv::range(std::move(request));
  }
};

asio::awaitable<void> link_anew(ControllerSync& sync, std::unique_ptr<Kv> wire) {
  auto done = co_await sync.replace_remote("west", 2, std::move(wire));
  if (!done) REQUIRE(done.error().code == Code::kCancelled);
}

TEST_CASE("a controller that stops while a link is being replaced ends in good order") {
  int handlers = GENERATE(0, 1, 2, 3, 5, 8, 40);
  Pair pair;
  pair.start();
  ControllerSync& sync = pair.east.life->sync;
  auto late = [&] { return std::make_unique<LateKv>(pair.west.store); };
  REQUIRE(pair.fleet.drive.run(sync.replace_remote("west", 2, late())));
  pair.fleet.drive.settle_some(10);
  pair.east.life->spawn("replace", link_anew(sync, late()));
  pair.fleet.drive.settle_some(handlers);
  pair.east.life.reset();
}

}  // namespace
}  // namespace tombolo::controller
