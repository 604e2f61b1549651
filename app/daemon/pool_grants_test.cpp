// Clusters that share a pool, each with its store, its controller's half and a node: through cuts,
// restores and the end of a cluster no address is two pods'.
#include "app/daemon/pool_grants.h"

#include <boost/algorithm/string/join.hpp>

#include "core/records/records.h"
#include "core/store/etcd_client.h"
#include "core/store/memory_kv.h"
#include "core/store/mirror.h"
#include "core/store/test_stores.h"
#include "ipamd/claims/test_nodes.h"

namespace tombolo {
namespace {

using namespace claims_test;

// 10.9.0.1 to 10.9.0.30, in four parts.
SharedPool campus() {
  SharedPool pool;
  pool.name = "campus";
  pool.sharing = {"east", {"east", "west"}, 29};
  pool.addresses = {{Ip::parse("10.9.0.1").value(), Ip::parse("10.9.0.30").value()}};
  return pool;
}

MirrorOptions mirror_options() {
  MirrorOptions options;
  options.follow.name = "claims";
  options.follow.prefix = records::kClaimsPrefix;
  options.follow.retry_cap = 200ms;
  return options;
}

PoolGrants::Options quick() {
  PoolGrants::Options options;
  options.tick = 10ms;
  options.settle = 0ms;
  options.follow_retry_cap = 100ms;
  return options;
}

ClaimsOptions node_options() {
  ClaimsOptions options;
  options.settle = 0ms;
  return options;
}

// A cluster over a store that hands out connections.
struct Cluster {
  using Connect = std::function<std::unique_ptr<Kv>()>;
  std::string name;
  Drive& drive;
  std::unique_ptr<Kv> kv;
  std::unique_ptr<Clock> clock = make_system_clock();
  std::unique_ptr<Rng> rng = make_system_rng();
  TaskGroup tasks;
  ControllerTables tables;
  KvMirror<AddressClaim> mirror;
  PoolGrants grants;
  TestNode node;
  std::map<std::string, AddressClaim> pods;  // the truth

  Cluster(std::string own, Drive& in, const Connect& connect)
      : name(std::move(own)),
        drive(in),
        kv(connect()),
        tasks(drive.executor()),
        mirror(mirror_options(), *kv, tables.claims.take_writer("store"), records::decode_claim,
               tasks, *clock, *rng, Logger()),
        grants(quick(), name, tables.claims, [] { return std::vector{campus()}; },
               tables.status.take_writer("grants"), {*kv, tasks, *clock, *rng, Logger()}),
        node(name + "-1", drive, connect(), node_options()) {
    tasks.spawn("mirror", mirror.run());
    grants.start();
    node.wait_synced();
    node.set_pools({{"campus", {range("10.9.0.1", "10.9.0.30")}, 0, {0, 0}, true}});
  }
  ~Cluster() {
    tasks.cancel();
    drive.until([&] { return tasks.size() == 0; });
  }
  void hears(const std::string& other, std::unique_ptr<Kv> store) {
    drive.run(add(other, std::move(store)));
  }
  asio::awaitable<Result<void>> add(std::string other, std::unique_ptr<Kv> store) {
    co_await grants.add_remote(std::move(other), std::move(store));
    co_return Result<void>{};
  }
  bool start_pod(const std::string& pod) {
    auto taken = node.take(wanted(pod));
    if (taken) pods[pod] = taken->at(0);
    return taken.has_value();
  }
  // As kubelet, which tries again.
  void must_start(const std::string& pod) {
    INFO(name << " " << pod);
    REQUIRE(drive.until([&] { return start_pod(pod); }));
  }
  void end_pod(const std::string& pod) {
    pods.erase(pod);
    REQUIRE(node.release(pod));
  }
  std::vector<ClaimedLease> leases() const {
    std::vector<ClaimedLease> leases;
    for (const auto& [pod, claim] : pods) leases.push_back(lease_of(claim));
    return leases;
  }
  void reconcile() {
    REQUIRE(drive.until([&] { return node.reconcile(leases()).has_value(); }));
  }
  // When the store has other claims than the node: which is so once the node knows of the restore.
  void reconcile_restored() {
    REQUIRE(drive.until([&] {
      auto done = node.reconcile(leases());
      return done && done->freed + done->taken_back > 0;
    }));
  }
  std::size_t held() const {
    auto at = grants.standing().find("campus");
    if (at == grants.standing().end() || !at->second.parts) return 0;
    return static_cast<std::size_t>(std::ranges::count(
        at->second.parts->parts, grants::PartState::kHeld, &grants::Part::state));
  }
  std::string problem() const {
    auto at = grants.standing().find("campus");
    if (at == grants.standing().end() || at->second.problems.empty()) return {};
    return boost::join(at->second.problems, "; ");
  }
};

std::size_t distinct(const Cluster& a, const Cluster& b) {
  std::set<Ip> ips;
  for (const Cluster* cluster : {&a, &b})
    for (const auto& [pod, claim] : cluster->pods) ips.insert(claim.ip);
  return ips.size();
}

struct World {
  Drive drive;
  MemoryStore east_store{drive.executor(), 1};
  MemoryStore west_store{drive.executor(), 2};
  MemoryKv* east_to_west = nullptr;
  MemoryKv* west_to_east = nullptr;
  Cluster east{"east", drive, [this] { return std::make_unique<MemoryKv>(east_store); }};
  Cluster west{"west", drive, [this] { return std::make_unique<MemoryKv>(west_store); }};

  World() {
    auto to_west = std::make_unique<MemoryKv>(west_store);
    auto to_east = std::make_unique<MemoryKv>(east_store);
    east_to_west = to_west.get();
    west_to_east = to_east.get();
    east.hears("west", std::move(to_west));
    west.hears("east", std::move(to_east));
    REQUIRE(drive.until([&] { return east.held() == 1 && west.held() == 1; }));
  }
  void link(bool up) const {
    east_to_west->set_connected(up);
    west_to_east->set_connected(up);
  }
  std::size_t all() const { return east.pods.size() + west.pods.size(); }
};

TEST_CASE("pool of two clusters: each its parts, more when needed, and back when the other needs") {
  World world;
  for (int i = 0; i < 20; ++i) world.west.must_start(fmt::format("w{}", i));
  REQUIRE(world.west.held() == 3);
  world.east.must_start("e0");
  REQUIRE(distinct(world.east, world.west) == 21);
  for (int i = 4; i < 20; ++i) world.west.end_pod(fmt::format("w{}", i));
  // East needs a second part: one of west's, when it is empty.
  for (int i = 1; i < 12; ++i) world.east.must_start(fmt::format("e{}", i));
  REQUIRE(distinct(world.east, world.west) == world.all());
  REQUIRE(world.east.held() >= 2);
}

TEST_CASE("pool of two clusters: cut off, each goes on in what it has and no further") {
  World world;
  world.link(false);
  int west = 0;
  while (west < 30 && world.west.start_pod(fmt::format("w{}", west))) ++west;
  REQUIRE(west >= 6);
  REQUIRE(west <= 8);
  int east = 0;
  while (east < 9) world.east.must_start(fmt::format("e{}", east++));
  REQUIRE(distinct(world.east, world.west) == world.all());
  world.link(true);
  world.west.must_start("more");
  REQUIRE(distinct(world.east, world.west) == world.all());
}

TEST_CASE("pool of two clusters: the home's store is put back, and what it forgot is not given") {
  World world;
  MemoryStore::Backup backup = world.east_store.backup();
  for (int i = 0; i < 10; ++i) world.west.must_start(fmt::format("w{}", i));
  REQUIRE(world.west.held() == 2);
  world.link(false);
  world.east_store.restore(backup, 11);
  world.east.reconcile();
  // The home asks west first, and west cannot be asked.
  REQUIRE(world.drive.until(
      [&] { return world.east.problem().find("what west has is known") != std::string::npos; }));
  REQUIRE_FALSE(world.east.start_pod("early"));
  world.link(true);
  int east = 0;
  while (east < 12) world.east.must_start(fmt::format("e{}", east++));
  REQUIRE(distinct(world.east, world.west) == world.all());
  // West's two parts are not east's, however much it wants.
  for (; east < 30 && world.east.start_pod(fmt::format("e{}", east)); ++east) continue;
  REQUIRE(distinct(world.east, world.west) == world.all());
}

TEST_CASE("pool of two clusters: a grantee's store is put back, and what it forgot is still its") {
  World world;
  MemoryStore::Backup backup = world.west_store.backup();
  for (int i = 0; i < 10; ++i) world.west.must_start(fmt::format("w{}", i));
  REQUIRE(world.west.held() == 2);
  world.link(false);
  world.west_store.restore(backup, 12);
  world.west.reconcile_restored();
  // Before the home has answered nothing new is claimed there.
  REQUIRE_FALSE(world.west.start_pod("early"));
  for (int i = 0; i < 9; ++i) world.east.must_start(fmt::format("e{}", i));
  world.link(true);
  for (int i = 10; i < 15; ++i) world.west.must_start(fmt::format("w{}", i));
  REQUIRE(distinct(world.east, world.west) == world.all());
}

TEST_CASE("pool of two clusters: a grantee's store is put back to parts that it has returned") {
  World world;
  for (int i = 0; i < 20; ++i) world.west.must_start(fmt::format("w{}", i));
  REQUIRE(world.west.held() == 3);
  MemoryStore::Backup backup = world.west_store.backup();
  for (int i = 4; i < 20; ++i) world.west.end_pod(fmt::format("w{}", i));
  for (int i = 0; i < 12; ++i) world.east.must_start(fmt::format("e{}", i));
  REQUIRE(world.east.held() >= 2);
  world.link(false);
  world.west_store.restore(backup, 12);
  world.west.reconcile_restored();
  REQUIRE_FALSE(world.west.start_pod("early"));
  world.link(true);
  for (int i = 4; i < 8; ++i) world.west.must_start(fmt::format("w{}", i));
  REQUIRE(distinct(world.east, world.west) == world.all());
}

TEST_CASE("pool of two clusters: one is gone for ever, and an operator says so") {
  World world;
  for (int i = 0; i < 20; ++i) world.west.must_start(fmt::format("w{}", i));
  world.link(false);
  REQUIRE(world.drive.run(world.west.grants.reclaim("campus", "east")).error().code ==
          Code::kFailedPrecondition);
  REQUIRE(world.drive.run(world.east.grants.reclaim("campus", "north")).error().code ==
          Code::kNotFound);
  REQUIRE(world.drive.run(world.east.grants.reclaim("campus", "west")));
  for (int i = 0; i < 20; ++i) world.east.must_start(fmt::format("e{}", i));
  // It was not: from the first word of the home on it takes no new address of those parts.
  world.link(true);
  REQUIRE(world.drive.until([&] {
    return world.west.problem().find("in use in another cluster too") != std::string::npos;
  }));
  REQUIRE(world.drive.until([&] { return world.west.held() <= 1; }));
}

TEST_CASE("pool of two clusters on real stores: one is stopped and started again") {
  Drive drive;
  EmbeddedStore east_store;
  EmbeddedStore west_store;
  auto to = [&drive](const EmbeddedStore& store) {
    EtcdClientOptions options;
    options.endpoints = store.endpoints();
    auto client = make_etcd_client(std::move(options), drive.executor());
    REQUIRE(client);
    return std::move(*client);
  };
  Cluster east("east", drive, [&] { return to(east_store); });
  Cluster west("west", drive, [&] { return to(west_store); });
  east.hears("west", to(west_store));
  west.hears("east", to(east_store));
  REQUIRE(drive.until([&] { return east.held() == 1 && west.held() == 1; }));
  for (int i = 0; i < 4; ++i) {
    east.must_start(fmt::format("e{}", i));
    west.must_start(fmt::format("w{}", i));
  }
  east_store.stop();
  for (int i = 4; i < 6; ++i) west.must_start(fmt::format("w{}", i));
  REQUIRE_FALSE(east.start_pod("away"));
  east_store.start();
  for (int i = 6; i < 11; ++i) west.must_start(fmt::format("w{}", i));
  for (int i = 4; i < 10; ++i) east.must_start(fmt::format("e{}", i));
  REQUIRE(distinct(east, west) == 21);
}

}  // namespace
}  // namespace tombolo
