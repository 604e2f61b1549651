// What the agent reads for policies: whose records count, and what a restart without a store has.
#include "app/daemon/policy_inputs.h"

#include <catch2/catch_test_macros.hpp>

#include "core/records/records.h"
#include "core/store/drive.h"
#include "core/store/memory_kv.h"

namespace tombolo {
namespace {

using namespace std::chrono_literals;

// Keeps what it was told, as the file does.
class KnownInMemory final : public LastKnown {
 public:
  KnownPrefix load(const std::string& prefix) override {
    KnownPrefix known;
    known.complete = complete.contains(prefix);
    for (const auto& [key, value] : kvs)
      if (key.starts_with(prefix)) known.kvs.push_back({key, value});
    return known;
  }
  void put(const std::string& key, const std::string& value) override { kvs[key] = value; }
  void erase(const std::string& key) override { kvs.erase(key); }
  void listed(const std::string& prefix) override { complete.insert(prefix); }
  std::map<std::string, std::string> kvs;
  std::set<std::string> complete;
};

struct Store {
  Drive drive;
  MemoryStore store{drive.executor()};
  MemoryKv kv{store};
  KnownInMemory known;
  config::v1::DaemonConfig config;

  Store() {
    config.mutable_cluster()->set_name("east");
    config.mutable_cluster()->set_id(1);
    config.mutable_cluster()->set_identity_cluster_bits(8);
  }
  void put(const std::string& key, const std::string& value) {
    REQUIRE(drive.run(kv.put({key, value})));
  }
  void erase(const std::string& key) { REQUIRE(drive.run(kv.erase({key, ""}))); }
  void put_ip(const std::string& prefix, const std::string& ip, std::uint32_t identity) {
    cilium::IpRecord record;
    record.ip = Ip::parse(ip).value();
    record.identity = identity;
    record.name_space = "shop";
    record.pod_name = "web";
    put(prefix + ip, cilium::encode(record));
  }
};

struct Life {
  Store& store;
  MemoryKv kv{store.store};
  std::unique_ptr<Clock> clock = make_system_clock();
  std::unique_ptr<Rng> rng = make_seeded_rng(1);
  TaskGroup tasks{store.drive.executor()};
  AgentTables tables;
  Settling settling;
  PolicyInputs inputs;

  Life(Store& the_store, bool connected)
      : store(the_store),
        inputs(the_store.config, tables, &the_store.known,
               RoleContext{kv, tasks, *clock, *rng, Logger()}) {
    kv.set_connected(connected);
    inputs.restore();
    inputs.start(settling);
  }
  ~Life() {
    tasks.cancel();
    store.drive.until([&] { return tasks.size() == 0; });
  }
  bool until(const std::function<bool()>& holds) { return store.drive.until(holds, 10s); }
  std::uint32_t owner(const std::string& ip) const {
    const IpOwner* row = tables.ip_owners.find(ip);
    return row == nullptr ? 0 : row->identity;
  }
};

const std::string kOwn = "cilium/state/ip/v1/default/";
const std::string kWest = "cilium/cache/ip/v1/west/";

std::string labels(const std::string& cluster) {
  return fmt::format("k8s:io.cilium.k8s.policy.cluster={};k8s:io.kubernetes.pod.namespace=shop;",
                     cluster);
}

TEST_CASE("identities and addresses of every cluster; the own word on an address comes first") {
  Store store;
  store.put("cilium/state/identities/v1/id/65792", labels("east"));
  store.put("cilium/cache/identities/v1/west/id/131328", labels("west"));
  store.put_ip(kOwn, "10.1.0.1", 65792);
  store.put_ip(kWest, "10.2.0.1", 131328);
  store.put_ip(kWest, "10.1.0.1", 131328);  // not theirs to say
  Life life(store, true);
  REQUIRE(life.until([&] { return life.inputs.filled() && life.tables.ip_owners.synced(); }));
  REQUIRE(life.tables.identities.synced());
  REQUIRE(life.tables.identities.find("65792")->cluster == "east");
  REQUIRE(life.tables.identities.find("131328")->cluster == "west");
  REQUIRE(life.owner("10.1.0.1") == 65792);
  REQUIRE(life.owner("10.2.0.1") == 131328);
  REQUIRE(life.tables.ip_owners.find("10.2.0.1")->cluster == "west");
  // When we no longer say anything, the other word counts; when both are silent, nobody's does.
  store.erase(kOwn + "10.1.0.1");
  REQUIRE(life.until([&] { return life.owner("10.1.0.1") == 131328; }));
  store.erase(kWest + "10.1.0.1");
  REQUIRE(life.until([&] { return life.tables.ip_owners.find("10.1.0.1") == nullptr; }));
}

TEST_CASE("a copy that passes for one of our own records is refused") {
  Store store;
  store.put("cilium/cache/identities/v1/west/id/65800", labels("west"));
  store.put("cilium/cache/identities/v1/east/id/131400", labels("east"));
  store.put_ip(kWest, "10.2.0.9", 65792);
  store.put_ip("cilium/cache/ip/v1/east/", "10.2.0.8", 131328);
  store.put_ip(kWest, "10.2.0.1", 131328);
  Life life(store, true);
  REQUIRE(life.until([&] { return life.inputs.filled() && life.tables.ip_owners.synced(); }));
  REQUIRE(life.tables.identities.size() == 0);
  REQUIRE(life.tables.ip_owners.size() == 1);
}

TEST_CASE("a restart without a store has what was last known, and is corrected by the first list") {
  Store store;
  Policy policy;
  policy.name_space = "shop";
  policy.name = "p";
  store.put(records::policy_key(policy), records::encode(policy));
  store.put("cilium/state/identities/v1/id/65792", labels("east"));
  store.put_ip(kOwn, "10.1.0.1", 65792);
  store.put_ip(kWest, "10.2.0.1", 131328);
  {
    Life first(store, true);
    REQUIRE(first.until([&] { return first.inputs.filled() && first.tables.ip_owners.synced(); }));
  }
  store.erase(kWest + "10.2.0.1");
  store.erase(records::policy_key(policy));
  Life second(store, false);
  REQUIRE(second.inputs.filled());
  REQUIRE(second.tables.policies.find(policy.key()) != nullptr);
  REQUIRE(second.tables.identities.size() == 1);
  REQUIRE(second.owner("10.1.0.1") == 65792);
  REQUIRE(second.owner("10.2.0.1") == 131328);
  REQUIRE_FALSE(second.tables.policies.synced());
  REQUIRE_FALSE(second.tables.ip_owners.synced());
  REQUIRE_FALSE(second.settling.unlisted().empty());
  second.kv.set_connected(true);
  REQUIRE(second.until([&] { return second.tables.ip_owners.synced(); }));
  REQUIRE(second.until([&] { return second.tables.policies.size() == 0; }));
  REQUIRE(second.owner("10.2.0.1") == 0);
  REQUIRE(second.owner("10.1.0.1") == 65792);
}

}  // namespace
}  // namespace tombolo
