// The facts of a cluster from what it publishes in its store.
#include "app/join/grant_facts.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include "core/store/drive.h"
#include "core/store/memory_kv.h"
#include "servicesync/cilium/cilium.h"
#include "servicesync/cilium/keys.h"

namespace tombolo {
namespace {

using Catch::Matchers::ContainsSubstring;

struct World {
  Drive drive;
  MemoryStore store{drive.executor()};
  MemoryKv kv{store};

  void put(const std::string& key, std::string value) {
    Put put{key, std::move(value), 0};
    REQUIRE(drive.run(kv.put(std::move(put))).has_value());
  }
  Result<JoinFacts> read() { return drive.run(read_store_facts(kv, "islands", "west")); }
  void put_config(std::uint32_t most) {
    cilium::ClusterConfig config;
    config.id = 2;
    config.max_clusters = most;
    put(cilium::keys::cluster_config("west"), cilium::encode(config));
  }
};

cilium::ClusterService service(const std::string& name, bool shared) {
  cilium::ClusterService result;
  result.cluster = "west";
  result.cluster_id = 2;
  result.name_space = "default";
  result.name = name;
  result.shared = shared;
  result.frontends[Ip::parse("10.2.0.1").value()]["http"] = {Protocol::kTcp, 80};
  return result;
}

TEST_CASE("what a cluster publishes becomes its facts") {
  World world;
  world.put_config(511);
  Plan plan;
  plan.fleet = "islands";
  plan.roots = {Prefix::parse("10.0.0.0/8").value()};
  PlannedCluster west{"west", 2, "sea", Cloud::kOnPrem, 2, 110, {}, {}};
  west.ranges.push_back({BlockUse::kPod, Prefix::parse("10.2.0.0/16").value(), 24, {}});
  plan.clusters.push_back(std::move(west));
  world.put("tombolo/v1/plan/current", to_json(plan_to_json(plan)));
  world.put("tombolo/v1/fleet/north", R"({"name": "north", "id": 3, "addresses": []})");
  for (bool shared : {true, false}) {
    auto record = service(shared ? "web" : "private", shared);
    world.put(cilium::keys::service("west", "default", record.name), cilium::encode(record));
  }
  auto facts = world.read();
  INFO((facts ? "" : facts.error().what));
  REQUIRE(facts.has_value());
  REQUIRE((facts->id == 2 && facts->identity_cluster_bits == 9 && facts->mtu == 0));
  REQUIRE((facts->joined.size() == 1 && facts->joined[0].id == 3));
  REQUIRE((facts->ranges.size() == 1 && facts->ranges[0].prefix.str() == "10.2.0.0/16"));
  REQUIRE((facts->services.size() == 1 && facts->services[0].name == "web"));
  REQUIRE(facts->services[0].ports == std::vector<std::string>{"http 80/TCP"});
}

TEST_CASE("a store of somebody else, and a record that is none, are named") {
  World world;
  REQUIRE(world.read().error().code == Code::kNotFound);
  world.put_config(255);
  REQUIRE(world.read().value().identity_cluster_bits == 8);
  world.put("tombolo/v1/plan/current", "{");
  REQUIRE_THAT(world.read().error().what, ContainsSubstring("tombolo/v1/plan/current: "));
}

}  // namespace
}  // namespace tombolo
