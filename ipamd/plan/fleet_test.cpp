// Fleet files: what is read, and the exact words about what is wrong.
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include "ipamd/plan/plan.h"

namespace tombolo {
namespace {

Result<Fleet> parse(const std::string& text) {
  auto documents = parse_yaml(text, "f.yaml");
  if (!documents) return std::unexpected(documents.error());
  REQUIRE(documents->size() == 1);
  return parse_fleet(documents->front());
}

// Lines 1 to 11; clusters follow from line 12 on.
const std::string kHead = R"(fleet: f
regions:
  - name: r1
    cloud: aws
  - {name: r2, cloud: on-prem}
address_space:
  - cidr: 10.0.0.0/8
  - {cidr: "fd00:1::/32", uses: [pod], regions: [r2]}
reserved:
  - {cidr: 10.9.0.0/16, note: office}
clusters:
)";

TEST_CASE("a fleet file is read with defaults and places") {
  auto fleet = parse(kHead + R"(  - {name: a, id: 1, region: r1, nodes: 3}
  - name: b
    id: 255
    region: r2
    families: [ipv6]
    nodes: 5
    pods_per_node: 30
    services: 20
    growth: 1.5
    growth_per_year: 30
    cidrs:
      underlay: {ipv6: "fd00:2::/64"}
      pod: {ipv6: {cidr: "fd00:3::/56", node_prefix_length: 64}}
    entry: [1, 5]
)");
  REQUIRE(fleet.has_value());
  REQUIRE(fleet->name == "f");
  REQUIRE(fleet->families == std::vector{Family::kV4, Family::kV6});
  REQUIRE(fleet->regions[1].cloud == Cloud::kOnPrem);
  REQUIRE(fleet->roots[1].uses == std::vector{BlockUse::kPod});
  REQUIRE(fleet->roots[1].regions == std::vector<std::string>{"r2"});
  REQUIRE(fleet->reserved[0].note == "office");
  REQUIRE(fleet->reserved[0].place == "f.yaml:10");
  const FleetCluster& a = fleet->clusters[0];
  REQUIRE(a.pods_per_node == 110);
  REQUIRE(a.services == 1000);
  REQUIRE(a.growth_percent == 100);
  REQUIRE(a.yearly_growth_percent == 0);
  REQUIRE(a.families.size() == 2);
  REQUIRE(a.place == "f.yaml:12");
  const FleetCluster& b = fleet->clusters[1];
  REQUIRE(b.growth_percent == 150);
  REQUIRE(b.yearly_growth_percent == 30);
  REQUIRE(b.families == std::vector{Family::kV6});
  REQUIRE(b.given.size() == 2);
  REQUIRE(b.given[1].node_prefix_length == 64);
  REQUIRE(b.given[1].place == "f.yaml:24");
  REQUIRE(b.entry_nodes == std::vector<std::uint32_t>{0, 4});
}

struct Case {
  std::string name;
  std::string text;
  std::string what;
};

TEST_CASE("a bad head of a fleet file is refused") {
  auto [name, text, what] = GENERATE(values<Case>({
      {"empty list", "[]\n", "f.yaml:1: must be an object, is a list"},
      {"unknown field", "fleet: f\nregion: []\n",
       "f.yaml:2: region: unknown field; known here: fleet, families, "
       "max_connected_clusters, regions, address_space, "
       "reserved, clusterset, clusters"},
      {"no name", "regions: []\n", "f.yaml:1: fleet: is required"},
      {"bad name", "fleet: Fleet One\n",
       "f.yaml:1: fleet: 'Fleet One' is not a name: a to z, 0 to 9 and '-' (not first, not last), "
       "at most 63 characters"},
      {"family", "fleet: f\nfamilies: [ipv4, ipx]\n",
       "f.yaml:2: families: 'ipx' is not ipv4 or ipv6"},
      {"family twice", "fleet: f\nfamilies: [ipv4, ipv4]\n",
       "f.yaml:2: families: ipv4 stands twice"},
      {"no family", "fleet: f\nfamilies: []\n", "f.yaml:2: families: needs ipv4, ipv6 or both"},
      {"no region", "fleet: f\nregions: []\n", "f.yaml:2: regions: needs at least one entry"},
      {"cloud", "fleet: f\nregions:\n  - name: r\n    cloud: moon\n",
       "f.yaml:4: regions[0].cloud: 'moon' is not aws, azure, gcp or on-prem"},
      {"region twice", "fleet: f\nregions:\n  - {name: r, cloud: aws}\n  - {name: r, cloud: gcp}\n",
       "f.yaml:4: regions[1].name: the region 'r' stands twice (f.yaml:3)"},
      {"host bits",
       "fleet: f\nregions:\n  - {name: r, cloud: aws}\naddress_space:\n  - cidr: 10.1.0.0/8\n",
       "f.yaml:5: address_space[0].cidr: '10.1.0.0/8' has host bits set; the prefix is "
       "10.0.0.0/8"},
      {"whole family",
       "fleet: f\nregions:\n  - {name: r, cloud: aws}\naddress_space:\n  - cidr: 0.0.0.0/0\n",
       "f.yaml:5: address_space[0].cidr: a whole address family is no range of a fleet"},
      {"overlapping roots",
       "fleet: f\nregions:\n  - {name: r, cloud: aws}\naddress_space:\n  - cidr: 10.0.0.0/8\n"
       "  - cidr: 10.1.0.0/16\n",
       "f.yaml:6: address_space[1].cidr: 10.1.0.0/16 overlaps 10.0.0.0/8 (f.yaml:5)"},
      {"root of no family",
       "fleet: f\nfamilies: [ipv6]\nregions:\n  - {name: r, cloud: aws}\naddress_space:\n"
       "  - cidr: 10.0.0.0/8\n",
       "f.yaml:6: address_space[0].cidr: IPv4 is not among the fleet's families"},
      {"unknown use",
       "fleet: f\nregions:\n  - {name: r, cloud: aws}\naddress_space:\n"
       "  - {cidr: 10.0.0.0/8, uses: [pods]}\n",
       "f.yaml:5: address_space[0].uses[0]: 'pods' is not underlay, pod, service, clusterset, "
       "load-balancer or tunnel"},
      {"unknown region of a root",
       "fleet: f\nregions:\n  - {name: r, cloud: aws}\naddress_space:\n"
       "  - {cidr: 10.0.0.0/8, regions: [x]}\n",
       "f.yaml:5: address_space[0].regions: there is no region 'x'"},
      {"reserved",
       "fleet: f\nregions:\n  - {name: r, cloud: aws}\naddress_space:\n  - cidr: 10.0.0.0/8\n"
       "reserved:\n  - note: x\n",
       "f.yaml:7: reserved[0].cidr: is required"},
      {"clusterset too small",
       "fleet: f\nregions:\n  - {name: r, cloud: aws}\naddress_space:\n  - cidr: 10.0.0.0/8\n"
       "clusterset: {services: 300, ipv4: 10.0.0.0/24}\n",
       "f.yaml:6: clusterset.ipv4: 10.0.0.0/24 has no room for 300 services"},
      {"no clusters",
       "fleet: f\nregions:\n  - {name: r, cloud: aws}\naddress_space:\n  - cidr: 10.0.0.0/8\n",
       "f.yaml:1: clusters: is required"},
  }));
  CAPTURE(name);
  auto fleet = parse(text);
  REQUIRE_FALSE(fleet.has_value());
  REQUIRE(fleet.error().what == what);
  REQUIRE(fleet.error().code == Code::kInvalidArgument);
}

TEST_CASE("ids are as many as the mesh can tell apart, and a cluster may have none") {
  std::string head = kHead;
  head.replace(head.find("fleet: "), 7, "max_connected_clusters: 511\nfleet: ");
  auto fleet = parse(head +
                     "  - {name: a, id: 511, region: r1, nodes: 3, families: [ipv4]}\n"
                     "  - {name: b, region: r1, nodes: 3, families: [ipv4]}\n  - {name: c, region: "
                     "r1, nodes: 3, families: [ipv4]}\n");
  REQUIRE(fleet.has_value());
  REQUIRE(fleet->clusters[0].id == 511);
  REQUIRE(fleet->clusters[1].id == 0);
  fleet->families = {Family::kV4};
  std::erase_if(fleet->roots, [](auto& root) { return root.prefix.family() == Family::kV6; });
  auto plan = make_plan(*fleet, nullptr);
  REQUIRE(plan.has_value());
  json::value written = plan_to_json(*plan);
  REQUIRE(written.at("version") == 2);
  DocumentPlace place{"plan", {}};
  REQUIRE(*plan_from_json(Cursor(written, place)) == *plan);
}

TEST_CASE("a bad cluster is refused") {
  const std::string a = "  - {name: a, id: 1, region: r1, nodes: 3";
  auto [name, text, what] = GENERATE_COPY(values<Case>({
      {"name", "  - {name: -a, id: 1, region: r1, nodes: 3}\n",
       "f.yaml:12: clusters[0].name: '-a' is not a name: a to z, 0 to 9 and '-' (not first, not "
       "last), at most 32 characters"},
      {"long name", "  - {name: a23456789012345678901234567890123, id: 1, region: r1, nodes: 3}\n",
       "f.yaml:12: clusters[0].name: 'a23456789012345678901234567890123' is not a name: a to z, 0 "
       "to 9 and '-' (not first, not last), at most 32 characters"},
      {"default", "  - {name: default, id: 1, region: r1, nodes: 3}\n",
       "f.yaml:12: clusters[0].name: 'default' is the name of a cluster without an id"},
      {"id 0", "  - {name: a, id: 0, region: r1, nodes: 3}\n",
       "f.yaml:12: clusters[0].id: 0 is not from 1 to 255"},
      {"id 256", "  - {name: a, id: 256, region: r1, nodes: 3}\n",
       "f.yaml:12: clusters[0].id: 256 is not from 1 to 255"},
      {"name twice", a + "}\n  - {name: a, id: 2, region: r1, nodes: 3}\n",
       "f.yaml:13: clusters[1].name: the cluster 'a' stands twice (f.yaml:12)"},
      {"id twice", a + "}\n  - {name: b, id: 1, region: r1, nodes: 3}\n",
       "f.yaml:13: clusters[1].id: 1 is the id of 'a' (f.yaml:12)"},
      {"region", "  - {name: a, id: 1, region: r9, nodes: 3}\n",
       "f.yaml:12: clusters[0].region: there is no region 'r9'"},
      {"no nodes", "  - {name: a, id: 1, region: r1}\n",
       "f.yaml:12: clusters[0].nodes: is required"},
      {"nodes as text", "  - {name: a, id: 1, region: r1, nodes: three}\n",
       "f.yaml:12: clusters[0].nodes: must be an integer, is a string"},
      {"unknown field", a + ", node: 4}\n",
       "f.yaml:12: clusters[0].node: unknown field; known here: name, id, region, families, nodes, "
       "pods_per_node, services, load_balancer_services, tunnels_per_node, growth, "
       "growth_per_year, "
       "pod_addresses, zones, subnets, cidrs, entry"},
      {"shrinking", a + ", growth: 0.5}\n", "f.yaml:12: clusters[0].growth: is not from 1 to 100"},
      {"growth as text", a + ", growth: much}\n",
       "f.yaml:12: clusters[0].growth: must be a number, such as 1.5"},
      {"family", "  - {name: a, id: 1, region: r1, nodes: 3, families: [ipv5]}\n",
       "f.yaml:12: clusters[0].families: 'ipv5' is not ipv4 or ipv6"},
      {"use of cidrs", a + ", cidrs: {node: {ipv4: 10.0.0.0/24}}}\n",
       "f.yaml:12: clusters[0].cidrs.node: unknown field; known here: underlay, pod, service, "
       "load_balancer, tunnel, subnets"},
      {"wrong family", a + ", cidrs: {underlay: {ipv4: \"fd00::/64\"}}}\n",
       "f.yaml:12: clusters[0].cidrs.underlay.ipv4: fd00::/64 is not IPv4"},
      {"family not had", a + ", families: [ipv6], cidrs: {service: {ipv4: 10.0.0.0/24}}}\n",
       "f.yaml:12: clusters[0].cidrs.service.ipv4: is not among the cluster's families"},
      {"pod without node mask", a + ", cidrs: {pod: {ipv4: {cidr: 10.0.0.0/16}}}}\n",
       "f.yaml:12: clusters[0].cidrs.pod.ipv4.node_prefix_length: is required"},
      {"node mask above",
       a + ", cidrs: {pod: {ipv4: {cidr: 10.0.0.0/16, node_prefix_length: 8}}}}\n",
       "f.yaml:12: clusters[0].cidrs.pod.ipv4.node_prefix_length: 8 is not from 16 to 31"},
      {"entry node", a + ", entry: [4]}\n",
       "f.yaml:12: clusters[0].entry[0]: 4 is not from 1 to 3"},
      {"entry twice", a + ", entry: [2, 2]}\n", "f.yaml:12: clusters[0].entry[1]: stands twice"},
      {"entry mixed", a + ", entry: [1, 10.0.0.1]}\n",
       "f.yaml:12: clusters[0].entry[1]: node numbers and addresses cannot be mixed"},
      {"entry address", a + ", entry: [host1]}\n",
       "f.yaml:12: clusters[0].entry[0]: 'host1' is not an IPv4 or IPv6 address"},
  }));
  CAPTURE(name);
  auto fleet = parse(kHead + text);
  REQUIRE_FALSE(fleet.has_value());
  REQUIRE(fleet.error().what == what);
  REQUIRE(fleet.error().code == Code::kInvalidArgument);
}

}  // namespace
}  // namespace tombolo
