// Several nodes over one store: each address has one holder, who is replaced when its lease ends.
#include <algorithm>
#include <catch2/generators/catch_generators.hpp>

#include "core/store/memory_kv.h"
#include "ipamd/announce/test_nodes.h"

namespace tombolo::announce {
namespace {

struct World {
  Drive drive;
  std::unique_ptr<Clock> clock = make_system_clock();
  std::unique_ptr<Rng> rng = make_seeded_rng(1);
  MemoryStore store{drive.executor()};
  MemoryKv kv{store};
};

Settings quick(const std::string& name, bool stop_without_store) {
  Settings settings;
  settings.cluster = "east";
  settings.node = name;
  settings.lease_ttl = 1s;
  settings.tick = 5ms;
  settings.head_start = 20ms;
  settings.dispute = 50ms;
  settings.stop_without_store = stop_without_store;
  return settings;
}

struct Cluster {
  explicit Cluster(bool stop_without_store = false) {
    for (const char* name : {"n1", "n2", "n3"}) begin(name, stop_without_store);
  }
  ~Cluster() { lives.clear(); }
  World world;
  std::map<std::string, std::unique_ptr<Life>> lives;
  std::map<std::string, MemoryKv*> wires;

  Life& begin(const std::string& name, bool stop_without_store = false) {
    lives.erase(name);
    auto kv = std::make_unique<MemoryKv>(world.store);
    wires[name] = kv.get();
    lives[name] = std::make_unique<Life>(world.drive, *world.clock, *world.rng, std::move(kv),
                                         quick(name, stop_without_store));
    for (const char* other : {"n1", "n2", "n3"}) lives[name]->set(node(other));
    return *lives[name];
  }
  void start() {
    for (auto& [name, life] : lives) life->start();
  }
  void set(const Frontend& frontend) {
    for (auto& [name, life] : lives) life->set(frontend);
  }
  // The one that answers; "" for none, "several" for more.
  std::string holder(const std::string& text) {
    Ip ip = *Ip::parse(text);
    std::string found;
    for (auto& [name, life] : lives)
      if (life->link.answers(ip)) found = found.empty() ? name : "several";
    return found;
  }
  bool held(const std::string& ip) {
    return world.drive.until([&] { return lives.contains(holder(ip)); });
  }
  std::optional<Announcement> record(const std::string& ip) {
    auto kv = world.drive.run(world.kv.get(announcement_key(*Ip::parse(ip))));
    REQUIRE(kv);
    if (!*kv) return std::nullopt;
    return decode_announcement(**kv).value();
  }
};

TEST_CASE("every address has one holder, and many addresses several") {
  Cluster cluster;
  std::vector<std::string> ips;
  for (int i = 1; i <= 20; ++i) ips.push_back(fmt::format("203.0.113.{}", i));
  ips.push_back("2001:db8::7");
  cluster.set(web(ips));
  cluster.start();
  std::set<std::string> holders;
  for (const std::string& ip : ips) {
    INFO(ip);
    REQUIRE(cluster.held(ip));
    REQUIRE(cluster.record(ip)->node == cluster.holder(ip));
    REQUIRE(cluster.record(ip)->service == "shop/web");
    REQUIRE(cluster.record(ip)->lease != 0);
    REQUIRE(cluster.lives[cluster.holder(ip)]->answered().find(ip) != nullptr);
    holders.insert(cluster.holder(ip));
  }
  REQUIRE(holders.size() == 3);
  // The service goes: nobody answers, nothing is left.
  for (auto& [name, life] : cluster.lives) life->erase("shop/web");
  REQUIRE(cluster.world.drive.until([&] {
    return std::ranges::all_of(ips, [&](const std::string& ip) {
      return cluster.holder(ip).empty() && !cluster.record(ip);
    });
  }));
}

TEST_CASE("a node that is gone is replaced, and takes nothing back") {
  const std::string ip = "203.0.113.7";
  Cluster cluster;
  cluster.set(web({ip}));
  cluster.start();
  REQUIRE(cluster.held(ip));
  std::string first = cluster.holder(ip);
  std::int64_t lease = cluster.record(ip)->lease;
  cluster.lives.erase(first);
  REQUIRE(cluster.world.store.lease_revoke(lease));
  REQUIRE(cluster.held(ip));
  std::string second = cluster.holder(ip);
  REQUIRE(second != first);
  Life& again = cluster.begin(first);
  again.set(web({ip}));
  again.start();
  int turns = 0;
  REQUIRE(cluster.world.drive.until([&] { return ++turns > 200; }));
  REQUIRE(cluster.holder(ip) == second);
}

TEST_CASE("an agent that starts again goes on with what it held") {
  const std::string ip = "203.0.113.7";
  Cluster cluster;
  cluster.set(web({ip}));
  cluster.start();
  REQUIRE(cluster.held(ip));
  std::string holder = cluster.holder(ip);
  Announcement before = *cluster.record(ip);
  Life& again = cluster.begin(holder);
  again.set(web({ip}));
  again.start();
  REQUIRE(cluster.world.drive.until([&] { return again.link.sure(*Ip::parse(ip)); }));
  REQUIRE(cluster.holder(ip) == holder);
  Announcement after = *cluster.record(ip);
  REQUIRE(after.since_unix_s == before.since_unix_s);
  REQUIRE(after.lease != before.lease);
  // The end of the earlier life's lease takes nothing away.
  REQUIRE(cluster.world.store.lease_revoke(before.lease));
  REQUIRE(cluster.record(ip) == after);
}

TEST_CASE("with externalTrafficPolicy Local the address follows the backends") {
  const std::string ip = "203.0.113.7";
  Cluster cluster;
  Frontend service = web({ip}, {"n2"});
  service.external_traffic_local = true;
  cluster.set(service);
  cluster.start();
  REQUIRE(cluster.held(ip));
  REQUIRE(cluster.holder(ip) == "n2");
  service.backends.front().node = "n3";
  cluster.set(service);
  REQUIRE(cluster.world.drive.until([&] { return cluster.holder(ip) == "n3"; }));
  service.backends.front().state = BackendState::kTerminating;
  cluster.set(service);
  REQUIRE(cluster.world.drive.until([&] { return cluster.holder(ip).empty(); }));
}

TEST_CASE("without the store the holder answers on until it hears who took over") {
  const std::string ip = "203.0.113.7";
  const Ip address = *Ip::parse(ip);
  Cluster cluster;
  cluster.set(web({ip}));
  cluster.start();
  REQUIRE(cluster.held(ip));
  Life& old = *cluster.lives[cluster.holder(ip)];
  // The store is away for everybody: nothing changes, though nothing is announced anew.
  for (auto& [name, wire] : cluster.wires) wire->set_connected(false);
  REQUIRE(cluster.world.drive.until([&] { return !old.link.sure(address); }));
  REQUIRE(old.link.answers(address));
  for (auto& [name, wire] : cluster.wires) wire->set_connected(true);
  REQUIRE(cluster.world.drive.until([&] { return old.link.sure(address); }));
  // Away for this node alone: another takes over and is heard.
  std::string first = cluster.holder(ip);
  cluster.wires[cluster.holder(ip)]->set_connected(false);
  REQUIRE(cluster.world.drive.until([&] { return !old.link.sure(address); }));
  REQUIRE(cluster.world.store.lease_revoke(cluster.record(ip)->lease));
  REQUIRE(cluster.world.drive.until([&] { return cluster.holder(ip) == "several"; }));
  REQUIRE_FALSE(old.link.sure(address));
  old.link.hear(address);
  REQUIRE(cluster.held(ip));
  std::string second = cluster.holder(ip);
  REQUIRE(second != first);
  // Back with the store, it knows and stays silent.
  cluster.wires[first]->set_connected(true);
  int turns = 0;
  REQUIRE(cluster.world.drive.until([&] { return ++turns > 200; }));
  REQUIRE(cluster.holder(ip) == second);
}

TEST_CASE("stop_without_store: silent before the lease can end") {
  const std::string ip = "203.0.113.7";
  const Ip address = *Ip::parse(ip);
  Cluster cluster(true);
  cluster.set(web({ip}));
  cluster.start();
  REQUIRE(cluster.held(ip));
  Life& old = *cluster.lives[cluster.holder(ip)];
  std::int64_t lease = cluster.record(ip)->lease;
  MonotonicTime cut = cluster.world.clock->now();
  cluster.wires[cluster.holder(ip)]->set_connected(false);
  // Never promised for longer than a time to live after the last word of the store.
  REQUIRE(old.link.until() <= cut + 1s);
  REQUIRE(cluster.world.drive.until([&] { return !old.link.answers(address); }));
  REQUIRE(cluster.world.clock->now() < cut + 1s);
  REQUIRE(cluster.world.store.lease_revoke(lease));
  REQUIRE(cluster.held(ip));
  REQUIRE_FALSE(old.link.answers(address));
}

TEST_CASE("an intruder on the link is told, and does not get the address") {
  const std::string ip = "203.0.113.7";
  Cluster cluster;
  cluster.set(web({ip}));
  cluster.start();
  REQUIRE(cluster.held(ip));
  Life& life = *cluster.lives[cluster.holder(ip)];
  life.link.hear(*Ip::parse(ip));
  REQUIRE(life.status("announcements|203.0.113.7") == "02:00:00:00:00:99 answers for it, too");
  REQUIRE(life.link.sure(*Ip::parse(ip)));
  // Told for as long as it goes on.
  REQUIRE(
      cluster.world.drive.until([&] { return life.status("announcements|203.0.113.7").empty(); }));
}

}  // namespace
}  // namespace tombolo::announce
