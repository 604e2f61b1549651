// Saved outputs become facts, facts a fragment that the planner takes, and conflicts are named.
#include "ipamd/import/import.h"

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include "ipamd/plan/test_fleets.h"

namespace tombolo {
namespace {

using Catch::Generators::values;
using Catch::Matchers::ContainsSubstring;

std::string data_text(const std::string& name) {
  auto text = read_file(std::string(TOMBOLO_TEST_DATA) + "/import/" + name);
  REQUIRE(text.has_value());
  return *text;
}

ClusterFacts facts_of(const std::string& text) {
  ClusterFacts facts;
  auto read = read_cluster_facts(parse_json(text).value(), "west.json", facts);
  INFO((read ? std::string() : read.error().what));
  REQUIRE(read.has_value());
  return facts;
}

std::vector<RouteFact> routes_of(const std::string& text) {
  return read_route_dump(parse_json(text).value(), "routes.json").value();
}

constexpr const char* kFragment = R"(# Read by tombolo plan import; a piece for a fleet file.
clusters:
  - name: "west"
    # id: to be filled in
    # region: to be filled in
    nodes: 2
    pods_per_node: 110
    services: 1
    cidrs:
      underlay:
        ipv4: "10.20.0.0/24"  # route in routes.json
        ipv6: "fd00:7a:3b20::/64"  # at least; from the addresses of its nodes
      pod:
        ipv4: {cidr: "10.21.0.0/16", node_prefix_length: 24}  # kubeadm-config
        ipv6: {cidr: "fd00:7a:3b21::/56", node_prefix_length: 64}  # kubeadm-config
      service:
        ipv4: "10.22.0.0/20"  # ServiceCIDR kubernetes
        ipv6: "fd00:7a:3b22::/112"  # ServiceCIDR kubernetes
reserved:
  - cidr: "10.90.0.0/16"
    note: "route in routes.json by 10.20.0.254 dev eth0"
)";

TEST_CASE("a cluster's objects and a router's table make a piece of a fleet file") {
  std::vector<ClusterFacts> clusters{facts_of(data_text("west.json"))};
  auto routes = routes_of(data_text("routes.json"));
  REQUIRE(fleet_fragment(clusters, routes) == kFragment);
  REQUIRE(find_conflicts(clusters, routes).empty());
}

TEST_CASE("the planner takes the fragment, once id and region are filled in") {
  std::string text = kFragment;
  for (auto [from, to] : {std::pair("    # id: to be filled in\n", "    id: 2\n"),
                          std::pair("    # region: to be filled in\n", "    region: here\n")})
    text.replace(text.find(from), std::string(from).size(), to);
  text +=
      "fleet: test\nregions: [{name: here, cloud: on-prem}]\n"
      "address_space: [{cidr: 10.0.0.0/8}, {cidr: \"fd00:7a::/32\"}]\n";
  Plan plan = plan_of_text(text);
  REQUIRE(find_range(plan.clusters[0], BlockUse::kPod, Family::kV4)->prefix.str() ==
          "10.21.0.0/16");
}

std::string object(const std::string& kind, const std::string& name, const std::string& rest) {
  return R"({"apiVersion": "v1", "kind": ")" + kind + R"(", "metadata": {"name": ")" + name +
         R"("}, )" + rest + "}";
}
std::string list(const std::vector<std::string>& items) {
  std::string text;
  for (const std::string& item : items) text += (text.empty() ? "" : ",") + item;
  return R"({"kind": "List", "items": [)" + text + "]}";
}
std::string node(const std::string& name, const std::string& pods, const std::string& address) {
  return object("Node", name,
                R"("spec": {"podCIDR": ")" + pods + R"("}, "status": {"addresses": [{"type": )" +
                    R"("InternalIP", "address": ")" + address + R"("}]})");
}
std::string cilium(const std::string& name, const std::string& id, const std::string& cidr) {
  return object("ConfigMap", "cilium-config",
                R"("data": {"cluster-name": ")" + name + R"(", "cluster-id": ")" + id +
                    R"(", "ipam": "cluster-pool", "cluster-pool-ipv4-cidr": ")" + cidr +
                    R"(", "cluster-pool-ipv4-mask-size": "24"})");
}
std::string service_cidr(const std::string& name, const std::string& cidr) {
  return object("ServiceCIDR", name, R"("spec": {"cidrs": [")" + cidr + R"("]})");
}

TEST_CASE("where a range comes from") {
  struct Case {
    const char* name;
    std::string text;
    std::string range;  // use, prefix, length, source
  };
  auto c = GENERATE(values<Case>({
      {"nodes alone",
       list({node("a", "10.1.0.0/24", "192.0.2.1"), node("b", "10.1.3.0/24", "192.0.2.9")}),
       "pod 10.1.0.0/22 24 podCIDRs of its nodes, guessed"},
      {"underlay from nodes", node("a", "10.1.0.0/24", "192.0.2.1"),
       "underlay 192.0.2.0/28 0 addresses of its nodes, guessed"},
      {"Cilium's pool before what kubeadm was told",
       list(
           {object("ConfigMap", "kubeadm-config",
                   R"("data": {"ClusterConfiguration": "networking: {podSubnet: 10.244.0.0/16}"})"),
            cilium("east", "1", "10.5.0.0/16")}),
       "pod 10.5.0.0/16 24 cilium-config"},
      {"Calico's pool",
       R"({"apiVersion": "crd.projectcalico.org/v1", "kind": "IPPool", "metadata": {"name": "p"},
           "spec": {"cidr": "10.6.0.0/16", "blockSize": 26}})",
       "pod 10.6.0.0/16 24 IPPool p"},
      {"kubeadm's older form",
       object("ConfigMap", "kubeadm-config",
              R"("data": {"ClusterConfiguration": "controllerManager: {extraArgs: )"
              R"({node-cidr-mask-size: '22'}}\nnetworking: {podSubnet: 10.7.0.0/16}"})"),
       "pod 10.7.0.0/16 22 kubeadm-config"},
  }));
  bool found = false;
  for (const RangeInUse& range : ranges_in_use(facts_of(c.text), {}))
    found = found || c.range == fmt::format("{} {} {} {}{}", to_string(range.use), range.prefix,
                                            range.node_prefix_length, range.source,
                                            range.guessed ? ", guessed" : "");
  REQUIRE(found);
}

std::string zoned_node(const std::string& name, const std::string& zone,
                       const std::string& address) {
  return R"({"kind": "Node", "metadata": {"name": ")" + name +
         R"(", "labels": {"topology.kubernetes.io/zone": ")" + zone +
         R"("}}, "spec": {}, "status": {"addresses": [{"type": "InternalIP", "address": ")" +
         address + R"("}]}})";
}

TEST_CASE("zones are those that nodes name") {
  struct Case {
    std::string name;
    std::string text;
    std::string expected;
  };
  auto c = GENERATE(values<Case>({
      {"apart",
       list({zoned_node("n1", "b", "10.0.2.7"), zoned_node("n2", "a", "10.0.1.4"),
             zoned_node("n3", "a", "10.0.1.40")}),
       "    # zones: [\"a\", \"b\"]  # as its nodes say; the region has to list them\n"
       "    # under cidrs: subnets, at least; from the addresses of the nodes in each zone\n"
       "    #   - {zone: \"a\", ipv4: \"10.0.1.0/26\"}\n"
       "    #   - {zone: \"b\", ipv4: \"10.0.2.0/28\"}\n"},
      {"together, and one that says nothing",
       list({zoned_node("n1", "a", "10.0.1.4"), zoned_node("n2", "a", "10.0.1.40"),
             zoned_node("n3", "b", "10.0.1.9"), node("n4", "10.1.0.0/24", "10.0.1.10")}),
       "    # zones: [\"a\", \"b\"]  # as its nodes say (1 do not); the region has to list them\n"
       "    # addresses of several zones lie together: no subnets per zone\n"},
      {"nothing that ends the comment", zoned_node("n1", "a\\ncluster: x", "10.0.1.4"),
       "# zones: [\"a?cluster: x\"]"},
      {"none", node("n1", "10.1.0.0/24", "10.0.1.10"), "    nodes: 1\n"},
  }));
  INFO(c.name);
  std::string text = fleet_fragment({facts_of(c.text)}, {});
  INFO(text);
  REQUIRE(text.find(c.expected) != std::string::npos);
  REQUIRE((text.find("zones") != std::string::npos) == (c.name != "none"));
}

TEST_CASE("conflicts are named") {
  struct Case {
    const char* name;
    std::string a;
    std::string b;
    const char* routes;
    const char* line;
  };
  const char* none = "[]";
  auto c = GENERATE_COPY(values<Case>({
      {"one name", cilium("east", "1", "10.1.0.0/16"), cilium("east", "2", "10.2.0.0/16"), none,
       "two clusters have the name east"},
      {"one id", cilium("east", "1", "10.1.0.0/16"), cilium("west", "1", "10.2.0.0/16"), none,
       "cluster east and cluster west have the id 1"},
      {"ranges of two clusters", cilium("east", "1", "10.1.0.0/16"),
       cilium("west", "2", "10.0.0.0/8"), none,
       "cluster east, pod 10.1.0.0/16 (cilium-config) overlaps cluster west, pod 10.0.0.0/8 "
       "(cilium-config)"},
      {"ranges of one cluster",
       list({cilium("east", "1", "10.1.0.0/16"), service_cidr("k", "10.1.5.0/24")}), "", none,
       "cluster east, service 10.1.5.0/24 (ServiceCIDR k) overlaps its pod 10.1.0.0/16 "
       "(cilium-config)"},
      {"two nodes",
       list({node("a", "10.1.0.0/24", "192.0.2.1"), node("b", "10.1.0.128/25", "192.0.2.2")}), "",
       none, "the cluster: 10.1.0.128/25 of node b overlaps 10.1.0.0/24 of node a"},
      {"a node outside",
       list({cilium("east", "1", "10.1.0.0/16"), node("a", "10.9.0.0/24", "192.0.2.1")}), "", none,
       "cluster east: 10.9.0.0/24 of node a lies outside of pod 10.1.0.0/16 (cilium-config)"},
      {"two service ranges",
       list({service_cidr("k", "10.1.0.0/24"), service_cidr("l", "10.2.0.0/24")}), "", none,
       "the cluster: its service range is 10.1.0.0/24 (ServiceCIDR k) and 10.2.0.0/24 (ServiceCIDR "
       "l)"},
      {"a route into the services", service_cidr("k", "10.1.0.0/16"), "",
       R"([{"dst": "10.1.7.0/24", "gateway": "192.0.2.1", "dev": "eth0"}])",
       "the cluster, service 10.1.0.0/16 (ServiceCIDR k): routes.json has a route to 10.1.7.0/24 "
       "by "
       "192.0.2.1 dev eth0"},
      {"a route that no node explains",
       list({cilium("east", "1", "10.1.0.0/16"), node("a", "10.1.0.0/24", "192.0.2.1")}), "",
       R"([{"dst": "10.1.0.0/24", "dev": "x"}, {"dst": "10.1.9.0/24", "dev": "y"}])",
       "cluster east, pod 10.1.0.0/16 (cilium-config): routes.json has a route to 10.1.9.0/24 by "
       "y"},
  }));
  std::vector<ClusterFacts> clusters{facts_of(c.a)};
  if (!c.b.empty()) clusters.push_back(facts_of(c.b));
  auto conflicts = find_conflicts(clusters, routes_of(c.routes));
  CAPTURE(c.name, conflicts);
  REQUIRE(conflicts == std::vector<std::string>{c.line});
}

TEST_CASE("many conflicts of a kind are counted") {
  std::vector<std::string> nodes;
  for (int i = 0; i < 40; ++i)
    nodes.push_back(node(fmt::format("n{}", i), "10.1.0.0/24", "192.0.2.1"));
  auto conflicts = find_conflicts({facts_of(list(nodes))}, {});
  REQUIRE(conflicts.size() == 11);
  REQUIRE(conflicts.back() == "… and 29 more like it");
}

TEST_CASE("AWS route tables") {
  auto routes = routes_of(R"({"RouteTables": [{"Routes": [
      {"DestinationCidrBlock": "10.0.0.0/16", "GatewayId": "local", "State": "active"},
      {"DestinationCidrBlock": "0.0.0.0/0", "NatGatewayId": "nat-1"},
      {"DestinationIpv6CidrBlock": "fd00:1::/48", "TransitGatewayId": "tgw-1"},
      {"DestinationPrefixListId": "pl-1", "GatewayId": "vpce-1"}]}]})");
  REQUIRE(routes.size() == 2);
  REQUIRE((routes[0].connected && routes[0].destination.str() == "10.0.0.0/16"));
  REQUIRE((!routes[1].connected && routes[1].via == "tgw-1"));
}

TEST_CASE("what is not as its API has it is refused with its place") {
  struct Case {
    const char* name;
    std::string text;
    const char* what;
  };
  auto c = GENERATE(values<Case>({
      {"a range", list({node("a", "10.1.0.1/24", "192.0.2.1")}),
       "west.json: items[0].spec.podCIDR: "},
      {"an address", node("a", "10.1.0.0/24", "host"), "west.json: status.addresses[0].address: "},
      {"no object", R"({"items": [5]})", "west.json: items[0]: "},
      {"an id", cilium("east", "many", "10.0.0.0/8"),
       "west.json: data.cluster-id: 'many' is no cluster id"},
      {"kubeadm's text",
       object("ConfigMap", "kubeadm-config", R"("data": {"ClusterConfiguration": "a: ["})"),
       "west.json: kubeadm-config:"},
  }));
  ClusterFacts facts;
  auto read = read_cluster_facts(parse_json(c.text).value(), "west.json", facts);
  REQUIRE_FALSE(read.has_value());
  REQUIRE_THAT(read.error().what, ContainsSubstring(c.what));
}

TEST_CASE("names of others stay in their line") {
  auto facts = facts_of(list({cilium("e\\\"\\nx: 1\\u001b[31m", "1", "10.1.0.0/16")}));
  auto documents = parse_yaml(fleet_fragment({facts}, {}), "fragment");
  REQUIRE(documents.has_value());
  REQUIRE(documents->front().root()["clusters"].at(0)["name"].string().value() == "e\"?x: 1?[31m");
}

}  // namespace
}  // namespace tombolo
