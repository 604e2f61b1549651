// Room to double: who has it, what is nobody's room, and that a join that fails leaves it as it
// was.
#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include "ipamd/plan/test_fleets.h"

namespace tombolo {
namespace {

using Catch::Generators::values;

FleetCluster cluster_like(const FleetCluster& first, unsigned number) {
  FleetCluster cluster = first;
  cluster.name = fmt::format("c{}", number);
  cluster.id = number;
  return cluster;
}

// Clusters of one region, one after the other, each planned beside those before.
struct Grown {
  Fleet fleet;
  Plan plan;
};
Grown joined_one_by_one(const std::string& root, const std::string& reserved, unsigned clusters) {
  std::string text = small_fleet(
      root, "  - {name: c1, id: 1, region: r, nodes: 6, pods_per_node: 30, services: 100}\n");
  if (!reserved.empty()) text += "reserved: [{cidr: " + reserved + "}]\n";
  Grown grown{fleet_of_text(text), {}};
  grown.plan = plan_of(grown.fleet);
  for (unsigned number = 2; number <= clusters; ++number) {
    grown.fleet.clusters.push_back(cluster_like(grown.fleet.clusters.front(), number));
    grown.plan = plan_of(grown.fleet, &grown.plan);
  }
  return grown;
}

bool stays(const Plan& before, const Plan& after, const std::string& name) {
  const PlannedCluster* old = find_cluster(before, name);
  const PlannedCluster* now = find_cluster(after, name);
  return std::ranges::all_of(old->ranges, [&](const PlannedRange& range) {
    const PlannedRange* same = find_range(*now, range.use, range.prefix.family());
    return same != nullptr && same->prefix.contains(range.prefix);
  });
}

TEST_CASE("clusters that joined one by one double in place while there is space") {
  struct Case {
    std::string name;
    std::string root;
    std::string reserved;
  };
  auto c =
      GENERATE(values<Case>({{"all of it", "10.0.0.0/19", ""},
                             {"the other half is reserved", "10.0.0.0/18", "10.0.0.0/19"},
                             {"the first quarter is reserved", "10.0.0.0/18", "10.0.0.0/20"}}));
  INFO(c.name);
  Grown grown = joined_one_by_one(c.root, c.reserved, 4);
  for (FleetCluster& cluster : grown.fleet.clusters) {
    INFO(cluster.name);
    cluster.nodes *= 2;
    cluster.services *= 2;
    Plan next = plan_of(grown.fleet, &grown.plan);
    REQUIRE(stays(grown.plan, next, cluster.name));
    grown.plan = std::move(next);
  }
}

TEST_CASE("a join that fails leaves everybody's room as it was") {
  Grown grown = joined_one_by_one("10.0.0.0/19", "", 3);
  auto never = FleetPlanner::start(grown.fleet, &grown.plan).value();
  auto once = FleetPlanner::start(grown.fleet, &grown.plan).value();
  for (unsigned number = 10; number < 16; ++number) {
    FleetCluster small = cluster_like(grown.fleet.clusters.front(), number);
    FleetCluster large = cluster_like(small, number + 100);
    large.nodes = 100;  // its services and its underlay find a place, its pods do not
    REQUIRE_FALSE(once->join(large).has_value());
    auto expected = never->join(small);
    auto joined = once->join(small);
    REQUIRE(joined.has_value() == expected.has_value());
    if (!joined) return;
    REQUIRE((*joined)->ranges == (*expected)->ranges);
  }
}

}  // namespace
}  // namespace tombolo
