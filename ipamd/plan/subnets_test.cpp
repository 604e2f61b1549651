// Subnets per zone, pods in the underlay, and the addresses of nodes in them: by example, and as
// properties of random clusters that grow.
#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <set>

#include "ipamd/plan/random_fleets.h"
#include "ipamd/plan/test_fleets.h"

namespace tombolo {
namespace {

std::string zoned_fleet(const std::string& fields, const std::string& cloud = "aws",
                        const std::string& families = "[ipv4]") {
  return "fleet: f\nfamilies: " + families + "\nregions:\n  - {name: r, cloud: " + cloud +
         ", zones: [a, b, c]}\naddress_space: [{cidr: 10.0.0.0/8}" +
         (families == "[ipv4]" ? "" : ", {cidr: \"fd00:1::/40\"}") +
         "]\n"
         "clusterset: {services: 12, ipv4: 172.20.0.0/28}\nclusters:\n"
         "  - {name: a, id: 1, region: r, services: 100, " +
         fields + "}\n";
}

// "subnet a +0/28": where in its underlay.
std::vector<std::string> subnets_of(const Plan& plan) {
  const PlannedCluster& cluster = plan.clusters[0];
  const Prefix underlay = find_range(cluster, BlockUse::kUnderlay, Family::kV4)->prefix;
  std::vector<std::string> lines;
  for (const Subnet& subnet : cluster.subnets)
    if (subnet.prefix.family() == Family::kV4)
      lines.push_back(
          fmt::format("{} +{}/{}", subnet_name(subnet),
                      static_cast<unsigned>(subnet.prefix.base().value() - underlay.base().value()),
                      subnet.prefix.length()));
  return lines;
}

TEST_CASE("an underlay is divided as its cloud does it") {
  struct Case {
    std::string name;
    std::string cloud;
    std::string fields;
    int underlay;
    std::vector<std::string> subnets;
  };
  auto [name, cloud, fields, underlay, subnets] = GENERATE(values<Case>({
      {"aws, per zone",
       "aws",
       "nodes: 30",
       26,
       {"subnet a +0/28", "subnet b +16/28", "subnet c +32/28"}},
      {"one node more in a zone than a /28 has",
       "aws",
       "nodes: 34",
       25,
       {"subnet a +0/27", "subnet b +32/27", "subnet c +64/27"}},
      {"public ones",
       "aws",
       "nodes: 60, subnets: {public: 11}",
       24,
       {"subnet a +0/27", "subnet b +32/27", "subnet c +64/27", "public subnet a +96/28",
        "public subnet b +112/28", "public subnet c +128/28"}},
      {"a part of the private ones",
       "on-prem",
       "nodes: 80, zones: [a, b], subnets: {public: 25%}",
       24,
       {"subnet a +0/26", "subnet b +64/26", "public subnet a +128/28", "public subnet b +144/28"}},
      {"more hosts than nodes",
       "aws",
       "nodes: 3, zones: [b], subnets: {private: 100}",
       25,
       {"subnet b +0/25"}},
      {"azure's subnets span zones",
       "azure",
       "nodes: 30, subnets: {public: 3}",
       25,
       {"subnet +0/26", "public subnet +64/29"}},
      {"gcp's too", "gcp", "nodes: 12", 28, {"subnet +0/28"}},
  }));
  CAPTURE(name);
  Plan plan = plan_of(fleet_of_text(zoned_fleet(fields, cloud)));
  REQUIRE(find_range(plan.clusters[0], BlockUse::kUnderlay, Family::kV4)->prefix.length() ==
          underlay);
  REQUIRE(subnets_of(plan) == subnets);
}

TEST_CASE("IPv6 subnets are /64, in a network that the cloud can divide") {
  auto length = [](const std::string& cloud, const std::string& fields) {
    Plan plan = plan_of(fleet_of_text(zoned_fleet("nodes: 9" + fields, cloud, "[ipv4, ipv6]")));
    for (const Subnet& subnet : plan.clusters[0].subnets)
      if (subnet.prefix.family() == Family::kV6) REQUIRE(subnet.prefix.length() == 64);
    return find_range(plan.clusters[0], BlockUse::kUnderlay, Family::kV6)->prefix.length();
  };
  REQUIRE(length("aws", "") == 60);
  REQUIRE(length("on-prem", "") == 62);
  REQUIRE(length("on-prem", ", subnets: {public: 1}") == 61);
  REQUIRE(length("azure", "") == 64);
}

TEST_CASE("nodes take turns between zones, each subnet has its gateway") {
  Plan plan = plan_of(fleet_of_text(zoned_fleet("nodes: 30, subnets: {public: 4}")));
  const PlannedCluster& a = plan.clusters[0];
  for (unsigned zone = 0; zone < 3; ++zone) {
    REQUIRE(*node_subnet(a, Family::kV4, zone) == a.subnets[zone].prefix);
    REQUIRE(*gateway_address(a, Family::kV4, zone) == a.subnets[zone].prefix.at(1));
    REQUIRE(*node_address(a, Family::kV4, zone) == a.subnets[zone].prefix.at(4));
    REQUIRE(*node_address(a, Family::kV4, zone + 3) == a.subnets[zone].prefix.at(5));
  }
  REQUIRE(a.entry ==
          std::vector{*node_address(a, Family::kV4, 0), *node_address(a, Family::kV4, 1)});
  REQUIRE(node_address(a, Family::kV4, 33).error().code == Code::kOutOfRange);
  // From another subnet of the cluster, too, the gateway is the way.
  auto routes = plan_routes_of(plan, "a", 1);
  REQUIRE(routes->size() == 1);
  REQUIRE(routes->front().destination == find_range(a, BlockUse::kUnderlay, Family::kV4)->prefix);
  REQUIRE(routes->front().next_hops == std::vector{a.subnets[1].prefix.at(1)});
}

TEST_CASE("a cluster that grows keeps its subnets and gets further ones") {
  Plan plan = plan_of(fleet_of_text(zoned_fleet("nodes: 30, subnets: {public: 4}")));
  Plan grown = plan_of(fleet_of_text(zoned_fleet("nodes: 60, subnets: {public: 4}")), &plan);
  const PlannedCluster& before = plan.clusters[0];
  const PlannedCluster& after = grown.clusters[0];
  REQUIRE(find_range(after, BlockUse::kUnderlay, Family::kV4)->origin == RangeOrigin::kGrown);
  for (const Subnet& subnet : before.subnets)
    REQUIRE(std::ranges::find(after.subnets, subnet) != after.subnets.end());
  for (unsigned node = 0; node < 30; ++node)
    REQUIRE(*node_address(before, Family::kV4, node) == *node_address(after, Family::kV4, node));
  REQUIRE(node_address(after, Family::kV4, 59).has_value());
  auto lines = diff_plans(plan, grown);
  REQUIRE(std::ranges::count_if(
              lines, [](const std::string& line) { return line.starts_with("+ a subnet "); }) == 3);
  REQUIRE(diff_plans(grown,
                     plan_of(fleet_of_text(zoned_fleet("nodes: 60, subnets: {public: 4}")), &grown))
              .empty());
}

TEST_CASE("an underlay that holds the pods is as large as nodes and pods together") {
  struct Case {
    std::string name;
    std::string cloud;
    std::string fields;
    int length;
  };
  auto [name, cloud, fields, length] = GENERATE(values<Case>({
      {"one by one", "on-prem", "nodes: 10, pods_per_node: 24, zones: [a]", 24},
      {"one too many", "on-prem", "nodes: 10, pods_per_node: 25, zones: [a]", 23},
      {"per zone", "aws", "nodes: 9, pods_per_node: 79", 22},
      {"just fits", "aws", "nodes: 9, pods_per_node: 82", 22},
      {"one too many per zone", "aws", "nodes: 9, pods_per_node: 83", 21},
  }));
  CAPTURE(name);
  Plan plan = plan_of(fleet_of_text(zoned_fleet(fields + ", pod_addresses: underlay", cloud)));
  const PlannedCluster& a = plan.clusters[0];
  REQUIRE(find_range(a, BlockUse::kUnderlay, Family::kV4)->prefix.length() == length);
  REQUIRE(find_range(a, BlockUse::kPod, Family::kV4) == nullptr);
  REQUIRE(plan_routes(plan).empty());  // its pods are where the router has an interface
}

TEST_CASE("prefixes for pods are aligned, and none has an address of a node") {
  Plan plan = plan_of(fleet_of_text(
      zoned_fleet("nodes: 3, zones: [a], pods_per_node: 30, pod_addresses: underlay-prefixes")));
  // 7 addresses of the cloud and nodes in one /28, 6 for pods, the last has the cloud's last.
  REQUIRE(plan.clusters[0].subnets[0].prefix.length() == 25);
  auto azure = make_plan(
      fleet_of_text(zoned_fleet("nodes: 3, pod_addresses: underlay-prefixes", "azure")), nullptr);
  REQUIRE(azure.error().what == "f.yaml:8: cluster a: azure gives nodes no prefixes for pods");
  auto large =
      make_plan(fleet_of_text(zoned_fleet("nodes: 600, pod_addresses: underlay")), nullptr);
  REQUIRE(large.error().what ==
          "f.yaml:8: cluster a: 600 nodes with their pods need an underlay of /15, but aws allows "
          "no larger than /16");
}

TEST_CASE("given underlays and subnets stay, and must do") {
  auto planned = [](const std::string& fields) {
    return make_plan(fleet_of_text(zoned_fleet("zones: [a, b], " + fields)), nullptr);
  };
  auto plan = planned(
      "nodes: 8, cidrs: {underlay: {ipv4: 10.9.0.0/24}, subnets: [{zone: b, ipv4: 10.9.0.0/26}]}");
  REQUIRE(plan.has_value());
  REQUIRE(subnets_of(*plan) == std::vector<std::string>{"subnet a +64/28", "subnet b +0/26"});
  REQUIRE(planned("nodes: 40, cidrs: {underlay: {ipv4: 10.9.0.0/27}}").error().what ==
          "f.yaml:8: cluster a: the given underlay range 10.9.0.0/27 is too small: 40 nodes need a "
          "/26");
  REQUIRE(planned("nodes: 24, cidrs: {underlay: {ipv4: 10.9.0.0/27}}").error().what ==
          "f.yaml:8: cluster a: the given underlay range 10.9.0.0/27 has no room for the subnets "
          "of 24 nodes in 2 zones");
  REQUIRE(planned("nodes: 2, cidrs: {underlay: {ipv4: 10.9.0.0/24}, subnets: [{zone: b, ipv4: "
                  "10.8.0.0/26}]}")
              .error()
              .what ==
          "f.yaml:8: cluster a: the given subnet 10.8.0.0/26 is not in its underlay 10.9.0.0/24, "
          "overlaps another or is of no zone");
}

FleetCluster divided_cluster(const Fleet& fleet) {
  FleetCluster cluster = random_cluster(fleet, 1);
  cluster.nodes = number(1, 60);
  cluster.pods_per_node = number(1, 40);
  cluster.growth_percent = 100;
  if (cluster.zones.empty()) cluster.zones = {"a", "b"};
  return cluster;
}

TEST_CASE("every node has an address of its own, and keeps it while the underlay grows in place") {
  int grown = 0;
  REQUIRE(rc::check("nodes", [&grown] {
    Fleet fleet;
    fleet.name = "f";
    fleet.families = {Family::kV4, Family::kV6};
    fleet.regions.push_back(
        {"r", *rc::gen::element(Cloud::kAws, Cloud::kAzure, Cloud::kGcp, Cloud::kOnPrem), "f"});
    fleet.roots = {{prefix("10.0.0.0/8"), {}, {}, "f"}, {prefix("fd00:1::/40"), {}, {}, "f"}};
    fleet.clusters = {divided_cluster(fleet)};
    Plan plan = make_plan(fleet, nullptr).value();
    for (int step = 0; step < 4; ++step) {
      FleetCluster& cluster = fleet.clusters[0];
      const std::uint32_t before = cluster.nodes;
      cluster.nodes += number(1, 40);
      Plan next = make_plan(fleet, &plan).value();
      for (Family family : fleet.families) {
        std::set<Ip> ips;
        for (unsigned node = 0; node < cluster.nodes; ++node) {
          Ip ip = node_address(next.clusters[0], family, node).value();
          RC_ASSERT(ips.insert(ip).second);
          Prefix subnet = node_subnet(next.clusters[0], family, node).value();
          RC_ASSERT(subnet.contains(ip) && ip != gateway_of(subnet));
        }
        const PlannedRange* range = find_range(next.clusters[0], BlockUse::kUnderlay, family);
        if (range->origin == RangeOrigin::kAssigned) continue;
        if (range->origin == RangeOrigin::kGrown) ++grown;
        for (unsigned node = 0; node < before; ++node)
          RC_ASSERT(node_address(plan.clusters[0], family, node).value() ==
                    node_address(next.clusters[0], family, node).value());
      }
      plan = std::move(next);
    }
  }));
  REQUIRE(grown > 0);
}

TEST_CASE("the checker sees subnets that are wrong") {
  Fleet fleet = fleet_of_text(zoned_fleet("nodes: 30, subnets: {public: 4}"));
  const Plan plan = plan_of(fleet);
  struct Case {
    std::string name;
    std::function<void(std::vector<Subnet>&)> spoil;
    std::string what;
  };
  auto prefix_of = [](std::string_view text) { return *Prefix::parse(text); };
  std::vector<Case> cases{
      {"outside", [&](auto& all) { all[0].prefix = prefix_of("10.200.0.0/28"); }, "lies outside"},
      {"overlap", [&](auto& all) { all[1].prefix = all[0].prefix; }, "overlap"},
      {"too small",
       [&](auto& all) { all[0].prefix = Prefix(all[0].prefix.base(), all[0].prefix.length() + 1); },
       "aws allows /16 to /28"},
      {"a zone too few", [&](auto& all) { all.erase(all.begin()); }, "zone 'a' has no room"},
      {"an unknown zone", [&](auto& all) { all[0].zone = "z"; }, "nobody asks for the subnet z"},
      {"no public one", [&](auto& all) { all.pop_back(); }, "public subnet of zone 'c'"},
      {"none", [&](auto& all) { all.clear(); }, "zone 'a' has no room"},
  };
  for (const Case& each : cases) {
    CAPTURE(each.name);
    Plan spoilt = plan;
    each.spoil(spoilt.clusters[0].subnets);
    auto verdict = check_plan(spoilt, fleet);
    REQUIRE_FALSE(verdict.has_value());
    INFO(verdict.error().what);
    REQUIRE(verdict.error().what.find(each.what) != std::string::npos);
  }
  fleet.clusters[0].zones.clear();
  fleet.clusters[0].public_hosts = 0;
  REQUIRE(check_plan(plan, fleet).error().what.find("nobody asks for") != std::string::npos);
}

}  // namespace
}  // namespace tombolo
