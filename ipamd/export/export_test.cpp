// What is refused, and what the smaller formats say.
#include <catch2/generators/catch_generators.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include "core/json.h"
#include "ipamd/export/test_fleets.h"

namespace tombolo {
namespace {

using Catch::Generators::values;
using Catch::Matchers::ContainsSubstring;

TEST_CASE("what cannot be exported is refused with its name") {
  struct Case {
    const char* name;
    ExportRequest request;
    Code code;
    const char* what;
  };
  auto c = GENERATE(values<Case>({
      {"a format", {"visio", "", 1}, Code::kNotFound, "there is no format 'visio'; known: kubeadm"},
      {"a cluster", {"csv", "north", 1}, Code::kNotFound, "the plan has no cluster 'north'"},
      {"no cluster", {"calico", "", 1}, Code::kInvalidArgument, "format calico is for one cluster"},
      {"a node", {"frr", "east", 3}, Code::kNotFound, "cluster east has no entry node 3"},
      {"node 0", {"bird", "east", 0}, Code::kNotFound, "cluster east has no entry node 0"},
  }));
  auto text = export_plan(demo_plan(), c.request);
  REQUIRE_FALSE(text.has_value());
  REQUIRE(text.error().code == c.code);
  REQUIRE_THAT(text.error().what, ContainsSubstring(c.what));
}

TEST_CASE("a stored plan cannot smuggle words into a configuration") {
  auto bad = GENERATE(values<std::string>({"a\nrouter bgp 1", "a\"b", "", "-x", "a b", "a;b"}));
  Plan plan = demo_plan();
  std::string& name = GENERATE(0, 1, 2) == 0 ? plan.clusters[0].name : plan.clusters[0].region;
  name = bad;
  auto text = export_plan(plan, {"bird", "", 1});
  REQUIRE_FALSE(text.has_value());
  REQUIRE(text.error().code == Code::kInvalidArgument);
}

TEST_CASE("a cluster without an id gets what needs none") {
  Plan plan = given_plan();
  plan.clusters[1].id = 0;
  for (const char* format : {"kubeadm", "calico", "spiderpool", "route-tables", "security-groups"})
    exported(plan, format, "west");
  REQUIRE_THAT(exported(plan, "csv", "west"), ContainsSubstring("west,,sky,"));
  REQUIRE_THAT(exported(plan, "terraform", "west"), ContainsSubstring("\"asn\": null"));
  for (const ExportRequest& request :
       {ExportRequest{"frr", "", 1}, ExportRequest{"bird", "west", 1},
        ExportRequest{"cilium", "west", 1}})
    REQUIRE(export_plan(plan, request).error().code == Code::kFailedPrecondition);
}

TEST_CASE("pairs of very many clusters are asked for one by one") {
  Plan plan = given_plan();
  for (std::uint32_t id = 3; id < 300; ++id) {
    PlannedCluster more = plan.clusters[1];
    more.name = fmt::format("z{}", id);
    more.id = id;
    plan.clusters.push_back(std::move(more));
  }
  for (const char* format : {"security-groups", "security-groups-csv", "route-tables"}) {
    REQUIRE(export_plan(plan, {format, "", 1}).error().code == Code::kFailedPrecondition);
    exported(plan, format, "z299");
  }
}

TEST_CASE("every format is written for every cluster, and ends with a line break") {
  for (const Plan& plan : {demo_plan(), clouds_plan(), given_plan(), six_plan(), zoned_plan()})
    for (const ExportFormat& format : export_formats()) {
      if (format.scope != ExportScope::kOneCluster)
        REQUIRE(exported(plan, std::string(format.name)).ends_with('\n'));
      for (const PlannedCluster& cluster : plan.clusters)
        if (format.name != "calico" || cluster.pod_addresses == PodAddresses::kPodRange)
          REQUIRE(exported(plan, std::string(format.name), cluster.name).ends_with('\n'));
    }
}

TEST_CASE("notes cannot leave their cell") {
  Plan plan = demo_plan();
  plan.reserved = {{Prefix::parse("10.0.0.0/12").value(), "=cmd|'x',\"y\"\nz"}};
  REQUIRE_THAT(exported(plan, "csv"),
               ContainsSubstring(",,,,reserved,IPv4,10.0.0.0/12,,\"'=cmd|'x',\"\"y\"\"\nz\",\n"));
  REQUIRE_THAT(exported(plan, "markdown"),
               ContainsSubstring("| 10.0.0.0/12 | =cmd\\|'x',\"y\" z |\n"));
}

TEST_CASE("csv of one cluster has its ranges and what all share") {
  REQUIRE_THAT(exported(demo_plan(), "csv", "west"),
               ContainsSubstring("west,2,datacentre,on-prem,pod,IPv4,10.21.0.0/16,24,given,\n") &&
                   !ContainsSubstring("east,") && ContainsSubstring(",,,,clusterset,IPv4,"));
}

json::value json_of(const std::string& text) {
  auto value = parse_json(text);
  INFO(text);
  REQUIRE(value.has_value());
  return *value;
}

TEST_CASE("between two clusters only what is needed is opened") {
  REQUIRE(exported(given_plan(), "security-groups-csv", "west") ==
          "from,to,purpose,family,protocol,port,source,destination\n"
          "east,west,store,IPv4,tcp,2379,10.64.0.0/24,10.68.0.0/24\n"
          "east,west,probe,IPv4,tcp,4240,10.64.0.0/24,10.68.0.0/24\n"
          "east,west,echo,IPv4,icmp echo,,10.64.0.0/24,10.68.0.0/24\n"
          "east,west,pods,IPv4,all,,10.65.0.0/16,10.69.0.0/16\n"
          "west,east,store,IPv4,tcp,2379,10.68.0.0/24,10.64.0.0/24\n"
          "west,east,probe,IPv4,tcp,4240,10.68.0.0/24,10.64.0.0/24\n"
          "west,east,echo,IPv4,icmp echo,,10.68.0.0/24,10.64.0.0/24\n"
          "west,east,pods,IPv4,all,,10.69.0.0/16,10.65.0.0/16\n");
}

TEST_CASE("rules of the clouds hold every range of every other cluster, and none of its own") {
  struct Case {
    const char* name;
    std::size_t rules;  // store, probe, echo and pods, for both families
  };
  auto c = GENERATE(
      values<Case>({{"aws-security-group", 8}, {"azure-security-group", 7}, {"gcp-firewall", 8}}));
  Plan plan = clouds_plan();
  for (const PlannedCluster& self : plan.clusters) {
    std::string text = exported(plan, c.name, self.name);
    bool v4_alone = find_range(self, BlockUse::kPod, Family::kV6) == nullptr;
    REQUIRE(json_of(text).as_array().size() == (v4_alone ? 4 : c.rules));
    for (const PlannedCluster& other : plan.clusters)
      for (const PlannedRange& range : other.ranges) {
        bool source = (range.use == BlockUse::kPod || range.use == BlockUse::kUnderlay) &&
                      !(v4_alone && range.prefix.family() == Family::kV6);
        bool destination = &other == &self && source && c.name != std::string("aws-security-group");
        bool expected = &other == &self ? destination : source;
        CAPTURE(self.name, other.name, range.prefix.str());
        REQUIRE((text.find("\"" + range.prefix.str() + "\"") != std::string::npos) == expected);
      }
  }
}

TEST_CASE("a cluster's route table leads to all others, and its pods to its entry nodes") {
  json::value value = json_of(exported(given_plan(), "route-tables", "west"));
  const json::value& table = value.at_pointer("/tables/west");
  REQUIRE(to_json(table.at("to")) ==
          R"({"east":[{"destination":"10.64.0.0/24","use":"underlay","next_hops":["10.68.0.1"]},)"
          R"({"destination":"10.65.0.0/16","use":"pod","next_hops":["10.68.0.1"]}]})");
  REQUIRE(to_json(table.at("own_pods")) ==
          R"([{"destination":"10.69.0.0/16","use":"pod","next_hops":["10.68.0.4","10.68.0.5"]}])");
  REQUIRE(to_json(table.at("to_regions")) == R"([{"destination":"10.64.0.0/15","region":"sea"}])");
}

TEST_CASE("subnets per zone are in every format that makes networks") {
  Plan plan = zoned_plan();
  const PlannedCluster& west = plan.clusters[1];
  const std::string last = west.subnets.back().prefix.str();
  REQUIRE_THAT(exported(plan, "csv", "west"),
               ContainsSubstring("west,2,sky,aws,public-subnet,IPv4," + last + ",,,b\n"));
  REQUIRE_THAT(exported(plan, "markdown"), ContainsSubstring("| public-subnet | IPv4 | " + last));
  const json::value terraform = json_of(exported(plan, "terraform"));
  const json::array& subnets = terraform.at_pointer("/tombolo/clusters/west/subnets").as_array();
  REQUIRE(subnets.size() == 4);
  REQUIRE(to_json(subnets[3]) ==
          fmt::format(R"({{"zone":"b","public":true,"family":"ipv4","cidr":"{}","gateway":"{}"}})",
                      last, gateway_of(west.subnets.back().prefix)));
  REQUIRE_THAT(exported(plan, "route-tables", "west"), ContainsSubstring("\"cidr\": \"" + last));
  // The second entry node is in the other zone, and so is its gateway.
  REQUIRE_THAT(exported(plan, "bird", "west", 2),
               ContainsSubstring("neighbor " + gateway_of(west.subnets[1].prefix).str() + " as "));
  for (const Subnet& subnet : west.subnets)
    REQUIRE_THAT(exported(plan, "frr"), ContainsSubstring("  network " + subnet.prefix.str()));
}

TEST_CASE("what load balancers show is announced, tunnel endpoints are not") {
  Plan plan = zoned_plan();
  std::string shown =
      find_range(plan.clusters[0], BlockUse::kLoadBalancer, Family::kV4)->prefix.str();
  std::string hidden = find_range(plan.clusters[0], BlockUse::kTunnel, Family::kV4)->prefix.str();
  for (const char* format : {"frr", "bird"})
    REQUIRE_THAT(exported(plan, format, "east"),
                 ContainsSubstring(shown) && !ContainsSubstring(hidden));
  REQUIRE_THAT(exported(plan, "security-groups-csv", "east"),
               ContainsSubstring("west,east,load-balancer,IPv4,all,,") && ContainsSubstring(shown));
  REQUIRE_THAT(exported(plan, "route-tables", "west"), ContainsSubstring(shown));
}

TEST_CASE("a cluster whose pods are in its underlay has no pod range anywhere") {
  Plan plan = zoned_plan();
  const std::string underlay =
      find_range(plan.clusters[1], BlockUse::kUnderlay, Family::kV4)->prefix.str();
  REQUIRE_THAT(exported(plan, "kubeadm", "west"), !ContainsSubstring("podSubnet: \""));
  REQUIRE_THAT(exported(plan, "cilium", "west"),
               ContainsSubstring("mode: eni") && !ContainsSubstring("clusterPool"));
  REQUIRE_THAT(exported(plan, "spiderpool", "west"), ContainsSubstring("tombolo-west-underlay-2"));
  REQUIRE(export_plan(plan, {"calico", "west", 1}).error().code == Code::kFailedPrecondition);
  REQUIRE_THAT(exported(plan, "security-groups-csv", "west"),
               ContainsSubstring("west,east,pods,IPv4,all,," + underlay + ","));
  REQUIRE(json_of(exported(plan, "terraform")).at_pointer("/tombolo/clusters/west/pod_addresses") ==
          "underlay");
}

}  // namespace
}  // namespace tombolo
