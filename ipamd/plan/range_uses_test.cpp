// Ranges for LoadBalancer services and for tunnel endpoints: sizes, places, routes, growth, the
// format of a stored plan.
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include "ipamd/plan/test_fleets.h"

namespace tombolo {
namespace {

std::string one_cluster(const std::string& fields) {
  return small_fleet("10.0.0.0/16",
                     "  - {name: a, id: 1, region: r, nodes: 3, services: 100" + fields + "}\n");
}

TEST_CASE("ranges for load balancers and tunnels are as large as what they hold") {
  struct Case {
    std::string name;
    std::string fields;
    int load_balancer;  // prefix lengths; 0: no range
    int tunnel;
  };
  auto [name, fields, load_balancer, tunnel] = GENERATE(values<Case>({
      {"none by default", "", 0, 0},
      {"none when asked for none", ", load_balancer_services: 0, tunnels_per_node: 0", 0, 0},
      {"first and last address are nobody's", ", load_balancer_services: 14", 28, 0},
      {"one more", ", load_balancer_services: 15", 27, 0},
      {"growth", ", load_balancer_services: 14, growth: 2", 27, 0},
      {"an endpoint per node", ", tunnels_per_node: 1", 0, 30},
      {"two, with growth", ", tunnels_per_node: 2, growth: 3", 0, 27},
      {"given", ", cidrs: {load_balancer: {ipv4: 10.9.0.0/29}, tunnel: {ipv4: 10.9.1.0/24}}", 29,
       24},
  }));
  CAPTURE(name);
  Plan plan = plan_of(fleet_of_text(one_cluster(fields)));
  auto length = [&](BlockUse use) {
    const PlannedRange* range = find_range(plan.clusters[0], use, Family::kV4);
    return range == nullptr ? 0 : range->prefix.length();
  };
  REQUIRE(length(BlockUse::kLoadBalancer) == load_balancer);
  REQUIRE(length(BlockUse::kTunnel) == tunnel);
}

TEST_CASE("IPv6 ranges of single addresses are no smaller than a service range") {
  Plan plan = plan_of_text(
      "fleet: f\nfamilies: [ipv6]\nregions:\n  - {name: r, cloud: on-prem}\naddress_space:\n"
      "  - cidr: \"fd00:1::/40\"\nclusters:\n  - {name: a, id: 1, region: r, nodes: 3, "
      "load_balancer_services: 5, tunnels_per_node: 1}\n");
  for (BlockUse use : {BlockUse::kLoadBalancer, BlockUse::kTunnel})
    REQUIRE(find_range(plan.clusters[0], use, Family::kV6)->prefix.length() == 112);
}

TEST_CASE("given ranges that are too small are refused") {
  struct Case {
    std::string name;
    std::string fields;
    std::string what;
  };
  auto [name, fields, what] = GENERATE(values<Case>({
      {"load balancer", ", load_balancer_services: 7, cidrs: {load_balancer: {ipv4: 10.9.0.0/29}}",
       "f.yaml:9: cluster a: the given load-balancer range 10.9.0.0/29 is too small: 7 services "
       "need a /28"},
      {"tunnel", ", tunnels_per_node: 2, cidrs: {tunnel: {ipv4: 10.9.0.0/30}}",
       "f.yaml:9: cluster a: the given tunnel range 10.9.0.0/30 is too small: 3 nodes need a /29"},
  }));
  CAPTURE(name);
  auto plan = make_plan(fleet_of_text(one_cluster(fields)), nullptr);
  REQUIRE_FALSE(plan.has_value());
  REQUIRE(plan.error().what == what);
}

TEST_CASE("services behind load balancers are routed like pods, tunnel endpoints are not") {
  Plan plan =
      plan_of(fleet_of_text(one_cluster(", load_balancer_services: 5, tunnels_per_node: 1")));
  std::vector<BlockUse> uses;
  for (const RouteEntry& route : plan_routes(plan)) {
    uses.push_back(route.use);
    REQUIRE(route.next_hops == plan.clusters[0].entry);
  }
  REQUIRE(uses == std::vector{BlockUse::kPod, BlockUse::kLoadBalancer});
  Prefix shown = find_range(plan.clusters[0], BlockUse::kLoadBalancer, Family::kV4)->prefix;
  REQUIRE(region_summaries(plan)[0].prefixes.size() == 1);
  REQUIRE(region_summaries(plan)[0].prefixes[0].contains(shown));
  REQUIRE(plan.certificate[0].routes == plan.certificate[0].bound);
}

TEST_CASE("a range for load balancers grows in place, and goes when nobody asks for it") {
  Plan plan = plan_of(fleet_of_text(one_cluster(", load_balancer_services: 5")));
  Prefix before = find_range(plan.clusters[0], BlockUse::kLoadBalancer, Family::kV4)->prefix;
  Plan grown = plan_of(fleet_of_text(one_cluster(", load_balancer_services: 12")), &plan);
  const PlannedRange* after = find_range(grown.clusters[0], BlockUse::kLoadBalancer, Family::kV4);
  REQUIRE(after->origin == RangeOrigin::kGrown);
  REQUIRE(after->prefix.contains(before));
  REQUIRE(diff_plans(plan, grown) ==
          std::vector{fmt::format("~ a load-balancer IPv4: {} -> {} (grows in place)", before,
                                  after->prefix)});
  Plan none = plan_of(fleet_of_text(one_cluster("")), &grown);
  REQUIRE(diff_plans(grown, none) ==
          std::vector{fmt::format("- a load-balancer IPv4: {}", after->prefix)});
}

TEST_CASE("only plans with such ranges are closed to an older Tombolo") {
  auto version = [](const std::string& fields) {
    return plan_to_json(plan_of(fleet_of_text(one_cluster(fields)))).at("version").as_int64();
  };
  REQUIRE(version("") == 1);
  REQUIRE(version(", load_balancer_services: 1") == 3);
  REQUIRE(version(", tunnels_per_node: 1") == 3);
}

TEST_CASE("the checker sees a range that is missing, too small, or not asked for") {
  Fleet fleet = fleet_of_text(one_cluster(", load_balancer_services: 14, tunnels_per_node: 1"));
  Plan plan = plan_of(fleet);
  auto says = [&](const Plan& spoilt) {
    auto verdict = check_plan(spoilt, fleet);
    return verdict ? std::string("right") : verdict.error().what;
  };
  REQUIRE(says(plan) == "right");
  Plan small = plan;
  for (PlannedRange& range : small.clusters[0].ranges)
    if (range.use == BlockUse::kLoadBalancer) range.prefix = Prefix(range.prefix.base(), 29);
  REQUIRE(says(small).find("too small for 14 services") != std::string::npos);
  Plan missing = plan;
  std::erase_if(missing.clusters[0].ranges,
                [](const PlannedRange& range) { return range.use == BlockUse::kTunnel; });
  REQUIRE(says(missing).find("a: no IPv4 tunnel range") != std::string::npos);
  fleet.clusters[0].tunnels_per_node = 0;
  REQUIRE(says(plan).find("a: 5 ranges where 4 are needed") != std::string::npos);
}

}  // namespace
}  // namespace tombolo
