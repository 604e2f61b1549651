// Clusters that share a pool, in one process: each with its store, its controller's half and a
// node. Test code only.
#pragma once

#include <boost/algorithm/string/join.hpp>

#include "app/daemon/pool_grants.h"
#include "core/records/records.h"
#include "core/store/memory_kv.h"
#include "core/store/mirror.h"
#include "ipamd/claims/test_nodes.h"

namespace tombolo::sharing_test {

using namespace claims_test;

// 10.9.0.1 to 10.9.0.30, in four parts.
inline SharedPool campus() {
  SharedPool pool;
  pool.name = "campus";
  pool.sharing = {"east", {"east", "west"}, 29};
  pool.addresses = {{Ip::parse("10.9.0.1").value(), Ip::parse("10.9.0.30").value()}};
  return pool;
}

inline MirrorOptions mirror_options() {
  MirrorOptions options;
  options.follow.name = "claims";
  options.follow.prefix = records::kClaimsPrefix;
  options.follow.retry_cap = 200ms;
  return options;
}

inline PoolGrants::Options quick() {
  PoolGrants::Options options;
  options.tick = 10ms;
  options.settle = 0ms;
  options.follow_retry_cap = 100ms;
  return options;
}

inline ClaimsOptions node_options() {
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
  std::vector<SharedPool> pools{campus()};
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
        grants(quick(), name, tables.claims, [this] { return pools; },
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

inline std::size_t distinct(const Cluster& a, const Cluster& b) {
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

}  // namespace tombolo::sharing_test
