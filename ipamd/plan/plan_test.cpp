// Plans by example: sizes, rules, growth, refusals with their words, addresses, routes.
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include "ipamd/plan/test_fleets.h"

namespace tombolo {
namespace {

TEST_CASE("sizes follow from nodes, pods, services, growth and the cloud") {
  struct Case {
    std::string name;
    std::string cloud;
    std::string cluster;
    int underlay;
    int pod;
    int node;
    int service;
  };
  auto [name, cloud, cluster, underlay, pod, node, service] = GENERATE(values<Case>({
      {"two nodes", "on-prem", "nodes: 2, pods_per_node: 110, services: 252", 29, 24, 25, 24},
      {"one node", "on-prem", "nodes: 1, pods_per_node: 13, services: 12", 30, 28, 28, 28},
      {"a node's own addresses count", "on-prem", "nodes: 1, pods_per_node: 14, services: 13", 30,
       27, 27, 27},
      {"growth", "on-prem", "nodes: 5, pods_per_node: 110, services: 252, growth: 1.7", 28, 21, 25,
       23},
      {"aws: five reserved, /28 at least", "aws", "nodes: 1, services: 100", 28, 25, 25, 25},
      {"aws: five reserved", "aws", "nodes: 12, services: 100", 27, 21, 25, 25},
      {"azure: /29 at least", "azure", "nodes: 3, services: 100", 29, 23, 25, 25},
      {"gcp: a node's block is twice its pods", "gcp", "nodes: 16, services: 100", 27, 20, 24, 25},
  }));
  CAPTURE(name);
  Plan plan = plan_of(fleet_of_text(
      small_fleet("10.0.0.0/8", "  - {name: a, id: 1, region: r, " + cluster + "}\n", cloud)));
  const PlannedCluster& a = plan.clusters[0];
  REQUIRE(find_range(a, BlockUse::kUnderlay, Family::kV4)->prefix.length() == underlay);
  REQUIRE(find_range(a, BlockUse::kPod, Family::kV4)->prefix.length() == pod);
  REQUIRE(find_range(a, BlockUse::kPod, Family::kV4)->node_prefix_length == node);
  REQUIRE(find_range(a, BlockUse::kService, Family::kV4)->prefix.length() == service);
}

TEST_CASE("IPv6 ranges are those that Kubernetes and the clouds expect") {
  Plan plan =
      plan_of(fleet_of_text("fleet: f\nfamilies: [ipv6]\nregions:\n  - {name: r, cloud: azure}\n"
                            "address_space:\n  - cidr: \"fd00:1::/40\"\nclusters:\n"
                            "  - {name: a, id: 1, region: r, nodes: 100, services: 70000}\n"));
  REQUIRE(range_text(plan, "a", BlockUse::kPod, Family::kV6) == "fd00:1::/57 64 assigned");
  REQUIRE(range_text(plan, "a", BlockUse::kUnderlay, Family::kV6) ==
          "fd00:1:0:100::/64 0 assigned");
  REQUIRE(find_range(plan.clusters[0], BlockUse::kService, Family::kV6)->prefix.length() == 111);
  REQUIRE(range_text(plan, "a", BlockUse::kPod, Family::kV4) == "none");
  REQUIRE(plan.clusterset[0].prefix.length() == 112);
}

TEST_CASE("what does not fit or contradicts a rule is refused with its reason") {
  struct Case {
    std::string name;
    std::string fleet;
    Code code;
    std::string what;
  };
  const std::string a =
      "  - {name: a, id: 1, region: r, nodes: 2, pods_per_node: 110, services: 100";
  auto [name, text, code, what] = GENERATE_COPY(values<Case>({
      {"no room", small_fleet("10.0.0.0/24", a + "}\n"), Code::kResourceExhausted,
       "f.yaml:9: cluster a, service: no room for a /25 of IPv4 (128 addresses): 10.0.0.0/24 has 0 "
       "of 256 addresses free; in the way: cluster a, pod 10.0.0.0/24 (f.yaml:9); the smallest set "
       "that cannot be together: "
       "cluster a (f.yaml:9)"},
      {"no room beside a reserved range",
       "fleet: f\nfamilies: [ipv4]\nregions:\n  - {name: r, cloud: on-prem}\naddress_space:\n"
       "  - cidr: 10.0.0.0/23\nreserved:\n  - {cidr: 10.0.0.64/26, note: printers}\n"
       "clusterset: {services: 12, ipv4: 172.20.0.0/28}\nclusters:\n" +
           a + "}\n  - {name: b, id: 2, region: r, nodes: 2, pods_per_node: 100, services: 9}\n",
       Code::kResourceExhausted,
       "f.yaml:12: cluster b, pod: no room for a /24 of IPv4 (256 addresses): 10.0.0.0/23 has 192 "
       "of 512 addresses free, the largest free block is a /25; in the way: cluster a, pod "
       "10.0.1.0/24 (f.yaml:11), reserved (printers) 10.0.0.64/26 (f.yaml:8); the smallest set "
       "that "
       "cannot be together: cluster a (f.yaml:11), cluster b (f.yaml:12)"},
      {"no space of a family",
       "fleet: f\nregions:\n  - {name: r, cloud: on-prem}\naddress_space:\n"
       "  - cidr: 10.0.0.0/8\nclusters:\n" +
           a + "}\n",
       Code::kResourceExhausted,
       "f.yaml:7: cluster a, pod: no room for a /63 of IPv6 (2^65 addresses): the fleet file has "
       "no IPv6 address space for pod ranges in region r"},
      {"underlay larger than a VPC",
       small_fleet("10.0.0.0/8", "  - {name: a, id: 1, region: r, nodes: 65536}\n", "aws"),
       Code::kFailedPrecondition,
       "f.yaml:9: cluster a: 65536 nodes need an underlay of /15, but aws allows no larger than "
       "/16"},
      {"too many node blocks",
       small_fleet("10.0.0.0/8", "  - {name: a, id: 1, region: r, nodes: 40000, growth: 2}\n"),
       Code::kFailedPrecondition,
       "f.yaml:9: cluster a: 80000 nodes: Kubernetes allows at most 65536 node blocks in a pod "
       "range"},
      {"too many services",
       small_fleet("10.0.0.0/8", "  - {name: a, id: 1, region: r, nodes: 4, services: 1048576}\n"),
       Code::kFailedPrecondition,
       "f.yaml:9: cluster a: 1048576 services need 21 host bits; Kubernetes allows 20 in a service "
       "range"},
      {"given twice",
       small_fleet("10.0.0.0/8",
                   a + ", cidrs: {service: {ipv4: 10.1.0.0/24}}}\n  - {name: b, id: 2, region: r, "
                       "nodes: 2, cidrs: {underlay: {ipv4: 10.1.0.128/25}}}\n"),
       Code::kFailedPrecondition,
       "f.yaml:10: cluster b, given underlay 10.1.0.128/25 overlaps cluster a, given service "
       "10.1.0.0/24 (f.yaml:9)"},
      {"given where Docker is",
       small_fleet("10.0.0.0/8", a + ", cidrs: {service: {ipv4: 172.16.0.0/12}}}\n"),
       Code::kFailedPrecondition,
       "f.yaml:9: cluster a, given service 172.16.0.0/12 overlaps forbidden (Docker's default "
       "bridge, and used by AWS services) 172.17.0.0/16"},
      {"given too small for the nodes",
       small_fleet("10.0.0.0/8",
                   a + ", cidrs: {pod: {ipv4: {cidr: 10.1.0.0/24, node_prefix_length: 24}}}}\n"),
       Code::kFailedPrecondition,
       "f.yaml:9: cluster a: the given pod range 10.1.0.0/24 is too small: 2 nodes with a /24 each "
       "need a /23"},
      {"given too small for the pods",
       small_fleet("10.0.0.0/8",
                   a + ", cidrs: {pod: {ipv4: {cidr: 10.1.0.0/24, node_prefix_length: 26}}}}\n"),
       Code::kFailedPrecondition,
       "f.yaml:9: cluster a: the given pod range 10.1.0.0/24 is too small: 110 pods per node do "
       "not fit into a node's /26"},
      {"given node mask too far",
       small_fleet("10.0.0.0/8",
                   "  - {name: a, id: 1, region: r, nodes: 2, pods_per_node: 10, cidrs: {pod: "
                   "{ipv4: {cidr: 11.0.0.0/8, node_prefix_length: 28}}}}\n"),
       Code::kFailedPrecondition,
       "f.yaml:9: cluster a: the given pod range 11.0.0.0/8 with a /28 per node: Kubernetes allows "
       "at most 16 bits between them"},
      {"given service range too large",
       small_fleet("10.0.0.0/8", a + ", cidrs: {service: {ipv4: 11.0.0.0/8}}}\n"),
       Code::kFailedPrecondition,
       "f.yaml:9: cluster a: the given service range 11.0.0.0/8: Kubernetes allows 20 host bits, "
       "/12 or longer"},
      {"given service range too small",
       small_fleet("10.0.0.0/8", a + ", cidrs: {service: {ipv4: 11.0.0.0/26}}}\n"),
       Code::kFailedPrecondition,
       "f.yaml:9: cluster a: the given service range 11.0.0.0/26 is too small: 100 services need "
       "a /25"},
      {"given underlay too small",
       small_fleet("10.0.0.0/8", a + ", cidrs: {underlay: {ipv4: 11.0.0.0/30}}}\n"),
       Code::kFailedPrecondition,
       "f.yaml:9: cluster a: the given underlay range 11.0.0.0/30 is too small: 2 nodes need a "
       "/29"},
      {"given underlay no subnet of the cloud",
       small_fleet("10.0.0.0/8", a + ", cidrs: {underlay: {ipv4: 11.0.0.0/12}}}\n", "aws"),
       Code::kFailedPrecondition,
       "f.yaml:9: cluster a: the given underlay range 11.0.0.0/12: aws allows /16 to /28"},
      {"entry elsewhere", small_fleet("10.0.0.0/8", a + ", entry: [192.168.0.2]}\n"),
       Code::kFailedPrecondition,
       "f.yaml:9: cluster a: entry 192.168.0.2 is no node's address in the underlay 10.0.5.0/29"},
  }));
  CAPTURE(name);
  auto plan = make_plan(fleet_of_text(text), nullptr);
  REQUIRE_FALSE(plan.has_value());
  REQUIRE(plan.error().what == what);
  REQUIRE(plan.error().code == code);
}

TEST_CASE("forbidden ranges depend on the clouds in the fleet") {
  auto twice = [](const std::string& cloud) {
    return make_plan(fleet_of_text(small_fleet(
                         "172.28.0.0/14",
                         "  - {name: a, id: 1, region: r, nodes: 200, pods_per_node: 200}\n"
                         "  - {name: b, id: 2, region: r, nodes: 200, pods_per_node: 200}\n",
                         cloud)),
                     nullptr);
  };
  REQUIRE(twice("on-prem").has_value());
  auto refused = twice("azure");
  REQUIRE_FALSE(refused.has_value());
  REQUIRE(refused.error().what.find("forbidden (AKS uses it inside its clusters) 172.30.0.0/16") !=
          std::string::npos);
  // Class E is usable only where every cluster is in GCP.
  auto class_e = [](const std::string& cloud) {
    return make_plan(fleet_of_text(small_fleet(
                         "240.0.0.0/8", "  - {name: a, id: 1, region: r, nodes: 2}\n", cloud)),
                     nullptr);
  };
  REQUIRE(class_e("gcp").has_value());
  REQUIRE_FALSE(class_e("on-prem").has_value());
}

TEST_CASE("roots for a region or a use come before general ones, and are nobody else's") {
  Fleet fleet = fleet_of_text(
      "fleet: f\nfamilies: [ipv4]\nregions:\n  - {name: r1, cloud: aws}\n"
      "  - {name: r2, cloud: aws}\naddress_space:\n  - cidr: 10.0.0.0/16\n"
      "  - {cidr: 10.1.0.0/16, regions: [r2]}\n  - {cidr: 10.2.0.0/16, uses: [service]}\n"
      "clusters:\n  - {name: a, id: 1, region: r1, nodes: 2}\n"
      "  - {name: b, id: 2, region: r2, nodes: 2}\n");
  Plan plan = plan_of(fleet);
  auto inside = [&](std::string_view name, BlockUse use, std::string_view root) {
    auto prefix = Prefix::parse(root);
    return prefix->contains(find_range(*find_cluster(plan, name), use, Family::kV4)->prefix);
  };
  REQUIRE(inside("a", BlockUse::kPod, "10.0.0.0/16"));
  REQUIRE(inside("a", BlockUse::kService, "10.2.0.0/16"));
  REQUIRE(inside("b", BlockUse::kPod, "10.1.0.0/16"));
  REQUIRE(inside("b", BlockUse::kUnderlay, "10.1.0.0/16"));
  REQUIRE(inside("b", BlockUse::kService, "10.1.0.0/16"));
  REQUIRE(Prefix::parse("10.0.0.0/16")->contains(plan.clusterset[0].prefix));
}

std::string two_clusters(int nodes_of_a) {
  return small_fleet("10.0.0.0/16", fmt::format("  - {{name: a, id: 1, region: r, nodes: {}}}\n"
                                                "  - {{name: b, id: 2, region: r, nodes: 2}}\n",
                                                nodes_of_a));
}

TEST_CASE("a cluster grows in place where the space around it is free, else it moves") {
  Fleet two = fleet_of_text(two_clusters(2));
  Plan plan = plan_of(two);
  REQUIRE(range_text(plan, "a", BlockUse::kPod) == "10.0.8.0/24 25 assigned");
  REQUIRE(range_text(plan, "b", BlockUse::kPod) == "10.0.40.0/24 25 assigned");

  // There is room to double; for four times as much its own underlay is in the way.
  Plan doubled = plan_of(fleet_of_text(two_clusters(4)), &plan);
  REQUIRE(range_text(doubled, "a", BlockUse::kPod) == "10.0.8.0/23 25 grown");
  REQUIRE(range_text(doubled, "a", BlockUse::kUnderlay) == "10.0.10.0/29 0 kept");
  Plan beyond = plan_of(fleet_of_text(two_clusters(8)), &doubled);
  REQUIRE(range_text(beyond, "a", BlockUse::kPod).ends_with("/22 25 assigned"));
  REQUIRE(range_text(beyond, "a", BlockUse::kUnderlay) == "10.0.10.0/28 0 grown");
  REQUIRE(range_text(beyond, "b", BlockUse::kPod) == "10.0.40.0/24 25 kept");

  Fleet alone = fleet_of_text(two_clusters(4));
  alone.clusters.pop_back();
  Plan grown = plan_of(alone, &plan);
  REQUIRE(range_text(grown, "a", BlockUse::kPod) == "10.0.8.0/23 25 grown");
  REQUIRE(diff_plans(plan, grown)[0] == "- cluster b (id 2, region r)");
  // More pods than a node's block holds need new blocks: Kubernetes never resizes one.
  alone.clusters[0].pods_per_node = 200;
  REQUIRE(range_text(plan_of(alone, &grown), "a", BlockUse::kPod).ends_with("/22 24 assigned"));
  // Fewer of everything: nothing moves.
  alone.clusters[0].pods_per_node = 20;
  alone.clusters[0].nodes = 1;
  alone.clusters[0].services = 1;
  REQUIRE(range_text(plan_of(alone, &grown), "a", BlockUse::kPod) == "10.0.8.0/23 25 kept");
}

TEST_CASE("what has to move leaves its old addresses to nobody in the same plan") {
  Plan plan = plan_of(fleet_of_text(two_clusters(2)));
  Plan moved = plan_of(fleet_of_text(two_clusters(100)), &plan);
  Prefix old = find_range(*find_cluster(plan, "a"), BlockUse::kPod, Family::kV4)->prefix;
  for (const PlanBlock& block : blocks_of(moved))
    if (block.cluster != "a") REQUIRE_FALSE(block.prefix.overlaps(old));
  REQUIRE(range_text(moved, "b", BlockUse::kPod) ==
          fmt::format("{} 25 kept",
                      find_range(*find_cluster(plan, "b"), BlockUse::kPod, Family::kV4)->prefix));
}

TEST_CASE("a refusal says when only the existing addresses are in the way") {
  auto fleet = [](const std::string& clusters) {
    return fleet_of_text(
        "fleet: f\nfamilies: [ipv4]\nregions:\n  - {name: r, cloud: on-prem}\naddress_space:\n"
        "  - {cidr: 10.0.0.0/24, uses: [pod]}\n"
        "  - {cidr: 10.1.0.0/16, uses: [underlay, service, clusterset]}\nclusters:\n" +
        clusters);
  };
  auto one = [](const std::string& name, int pods) {
    return fmt::format("  - {{name: {}, id: {}, region: r, nodes: 1, pods_per_node: {}}}\n", name,
                       name[0] - 'a' + 1, pods);
  };
  // b and c lie in different halves: a leaves a /26 in one of them, and d needs a /25.
  Plan plan = plan_of(fleet(one("a", 40) + one("b", 40) + one("c", 40)));
  Fleet without_a = fleet(one("b", 40) + one("c", 40) + one("d", 100));
  REQUIRE(make_plan(without_a, nullptr).has_value());
  auto refused = make_plan(without_a, &plan);
  REQUIRE_FALSE(refused.has_value());
  REQUIRE(refused.error().what ==
          "f.yaml:11: cluster d, pod: no room for a /25 of IPv4 (128 addresses): 10.0.0.0/24 has "
          "128 of 256 addresses free, the largest free block is a /26; in the way: cluster c, pod "
          "10.0.0.64/26 (f.yaml:10), cluster b, pod 10.0.0.128/26 (f.yaml:9); it would fit if "
          "clusters that have addresses already were given others (a plan from nothing)");
}

TEST_CASE("addresses of gateways and nodes") {
  PlannedCluster aws;
  aws.name = "a";
  aws.cloud = Cloud::kAws;
  aws.ranges = {{BlockUse::kUnderlay, *Prefix::parse("10.0.0.0/28"), 0, {}},
                {BlockUse::kUnderlay, *Prefix::parse("fd00::/64"), 0, {}}};
  REQUIRE(gateway_address(aws, Family::kV4)->str() == "10.0.0.1");
  REQUIRE(gateway_address(aws, Family::kV6)->str() == "fd00::1");
  REQUIRE(node_address(aws, Family::kV4, 0)->str() == "10.0.0.4");
  REQUIRE(node_address(aws, Family::kV4, 10)->str() == "10.0.0.14");
  auto past = node_address(aws, Family::kV4, 11);
  REQUIRE(past.error().code == Code::kOutOfRange);
  REQUIRE(past.error().what == "cluster a: the underlay 10.0.0.0/28 has no address for node 12");
  REQUIRE(node_address(aws, Family::kV6, 1)->str() == "fd00::5");
  PlannedCluster own = aws;
  own.cloud = Cloud::kOnPrem;
  REQUIRE(node_address(own, Family::kV4, 0)->str() == "10.0.0.2");
  REQUIRE(node_address(own, Family::kV4, 12)->str() == "10.0.0.14");
  REQUIRE(node_address(own, Family::kV4, 13).error().code == Code::kOutOfRange);
  own.cloud = Cloud::kGcp;
  REQUIRE(node_address(own, Family::kV4, 11)->str() == "10.0.0.13");
  REQUIRE(node_address(own, Family::kV4, 12).error().code == Code::kOutOfRange);
  own.ranges.pop_back();
  REQUIRE(gateway_address(own, Family::kV6).error().code == Code::kNotFound);
}

TEST_CASE("routes: between the clusters by entry nodes, from a cluster by its gateway") {
  Fleet fleet = fleet_of_text(
      "fleet: f\nregions:\n  - {name: r, cloud: on-prem}\naddress_space:\n  - cidr: 10.0.0.0/8\n"
      "  - cidr: \"fd00::/32\"\nclusters:\n"
      "  - {name: a, id: 1, region: r, nodes: 1}\n"
      "  - name: b\n    id: 2\n    region: r\n    nodes: 9\n    families: [ipv4]\n"
      "    entry: [10.1.0.7]\n    cidrs: {underlay: {ipv4: 10.1.0.0/24}, pod: {ipv4: {cidr: "
      "10.2.0.0/16, node_prefix_length: 24}}}\n");
  Plan plan = plan_of(fleet);
  std::vector<std::string> lines;
  for (const RouteEntry& route : plan_routes(plan)) lines.push_back(route_command(route));
  const PlannedCluster& a = plan.clusters[0];
  REQUIRE(lines == std::vector<std::string>{
                       fmt::format("ip route replace {} via {}",
                                   find_range(a, BlockUse::kPod, Family::kV4)->prefix,
                                   *node_address(a, Family::kV4, 0)),
                       fmt::format("ip -6 route replace {} via {}",
                                   find_range(a, BlockUse::kPod, Family::kV6)->prefix,
                                   *node_address(a, Family::kV6, 0)),
                       "ip route replace 10.2.0.0/16 via 10.1.0.7",
                   });
  auto from_a = plan_routes_of(plan, "a");
  REQUIRE(from_a.has_value());
  Ip gateway = *gateway_address(a, Family::kV4);
  REQUIRE(*from_a == std::vector<RouteEntry>{
                         {"b", BlockUse::kUnderlay, *Prefix::parse("10.1.0.0/24"), {gateway}},
                         {"b", BlockUse::kPod, *Prefix::parse("10.2.0.0/16"), {gateway}}});
  // b has no IPv6, so it has no way to a's IPv6 ranges.
  REQUIRE(plan_routes_of(plan, "b")->size() == 2);
  REQUIRE(plan_routes_of(plan, "c").error().what == "the plan has no cluster 'c'");
  REQUIRE(route_command({"x",
                         BlockUse::kPod,
                         *Prefix::parse("fd00::/56"),
                         {*Ip::parse("fd00::2"), *Ip::parse("fd00::3")}}) ==
          "ip -6 route replace fd00::/56 nexthop via fd00::2 nexthop via fd00::3");
}

TEST_CASE("a region's ranges lie together and stay so when another cluster joins it") {
  std::string clusters;
  for (int i = 1; i <= 6; ++i)
    clusters +=
        fmt::format("  - {{name: c{}, id: {}, region: r{}, nodes: {}}}\n", i, i, i % 3 + 1, 1 << i);
  std::string head =
      "fleet: f\nfamilies: [ipv4]\nregions:\n  - {name: r1, cloud: aws}\n  - {name: r2, cloud: "
      "gcp}\n  - {name: r3, cloud: azure}\naddress_space:\n  - cidr: 10.0.0.0/8\nclusters:\n";
  Plan plan = plan_of(fleet_of_text(head + clusters));
  auto summaries = region_summaries(plan);
  REQUIRE(summaries.size() == 3);
  for (const RegionSummary& each : summaries) REQUIRE(each.prefixes.size() == 1);
  Plan next = plan_of(
      fleet_of_text(head + clusters + "  - {name: c7, id: 7, region: r2, nodes: 2}\n"), &plan);
  auto of_r2 = region_summaries(next)[1];
  REQUIRE(of_r2.region == "r2");
  REQUIRE(of_r2.prefixes.size() == 1);
}

}  // namespace
}  // namespace tombolo
