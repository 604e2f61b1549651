// Load balancer addresses: out of this cluster's ranges alone, durable, as annotations ask, never
// two services' at once.
#include <catch2/generators/catch_generators.hpp>

#include "servicesync/controller/load_balancer_want.h"
#include "servicesync/controller/world_fixture.h"

namespace tombolo::controller {
namespace {

struct Case {
  std::string name;
  StringMap annotations;
  std::string field;
  std::vector<Family> families;
  std::vector<std::string> fixed;
  std::string problem;
};

TEST_CASE("which addresses a service asks for") {
  const std::string own = "ipam.tombolo.io/load-balancer-ips";
  const std::vector<Family> v4{Family::kV4};
  const std::vector<Family> dual{Family::kV4, Family::kV6};
  auto given = GENERATE_COPY(values<Case>({
      {"none", {}, "", v4, {}, ""},
      {"the field", {}, "10.0.0.1", v4, {"10.0.0.1"}, ""},
      {"a field that is no address",
       {},
       "vip.example",
       v4,
       {},
       "spec.loadBalancerIP: 'vip.example' is not an IPv4 or IPv6 address"},
      {"both families", {{own, "10.0.0.1, fd00::1"}}, "", dual, {"10.0.0.1", "fd00::1"}, ""},
      {"an annotation beats the field", {{own, "10.0.0.1"}}, "10.0.0.2", v4, {"10.0.0.1"}, ""},
      {"our own beats the others'",
       {{own, "10.0.0.1"}, {"metallb.io/loadBalancerIPs", "10.0.0.2"}},
       "",
       v4,
       {"10.0.0.1"},
       ""},
      {"an empty one says nothing", {{own, " "}}, "10.0.0.2", v4, {"10.0.0.2"}, ""},
      {"Cilium", {{"lbipam.cilium.io/ips", "10.0.0.3"}}, "", v4, {"10.0.0.3"}, ""},
      {"older Cilium", {{"io.cilium/lb-ipam-ips", "10.0.0.3"}}, "", v4, {"10.0.0.3"}, ""},
      {"MetalLB", {{"metallb.io/loadBalancerIPs", "10.0.0.4"}}, "", v4, {"10.0.0.4"}, ""},
      {"older MetalLB",
       {{"metallb.universe.tf/loadBalancerIPs", "10.0.0.4"}},
       "",
       v4,
       {"10.0.0.4"},
       ""},
      {"Calico, a JSON list",
       {{"projectcalico.org/loadBalancerIPs", R"(["10.0.0.5", "fd00::5"])"}},
       "",
       dual,
       {"10.0.0.5", "fd00::5"},
       ""},
      {"kube-vip", {{"kube-vip.io/loadbalancerIPs", "10.0.0.6"}}, "", v4, {"10.0.0.6"}, ""},
      {"kube-vip's DHCP",
       {{"kube-vip.io/loadbalancerIPs", "0.0.0.0"}},
       "",
       v4,
       {},
       "annotation kube-vip.io/loadbalancerIPs: 0.0.0.0: addresses by DHCP are not given"},
      {"two of a family",
       {{own, "10.0.0.1,10.0.0.2"}},
       "",
       v4,
       {},
       "annotation " + own + ": 10.0.0.1 and 10.0.0.2: at most one address of each family"},
      {"a family that the service has not",
       {{own, "fd00::1"}},
       "",
       v4,
       {},
       "annotation " + own + ": fd00::1 is IPv6, which the service is not"},
      {"no list where Calico has one",
       {{"projectcalico.org/loadBalancerIPs", "{}"}},
       "",
       v4,
       {},
       "annotation projectcalico.org/loadBalancerIPs: is no JSON list of addresses"},
  }));
  INFO(given.name);
  Service service;
  service.name_space = "shop";
  service.name = "web";
  service.type = ServiceType::kLoadBalancer;
  service.annotations = given.annotations;
  service.load_balancer_ip = given.field;
  service.families = given.families;
  auto want = load_balancer_want(service);
  REQUIRE(want.has_value());
  std::vector<std::string> fixed;
  for (const Ip& ip : want->fixed) fixed.push_back(ip.str());
  REQUIRE(want->problem == given.problem);
  REQUIRE(fixed == given.fixed);
}

TEST_CASE("only load balancers of our class or none are ours") {
  Service service;
  REQUIRE_FALSE(is_ours_to_expose(service));
  service.type = ServiceType::kLoadBalancer;
  REQUIRE(is_ours_to_expose(service));
  service.load_balancer_class = "tombolo.io/load-balancer";
  REQUIRE(is_ours_to_expose(service));
  service.load_balancer_class = "metallb.io/metallb";
  REQUIRE_FALSE(load_balancer_want(service));
}

std::string exposed(const std::string& name, const std::string& annotation = "",
                    const std::string& spec = "") {
  return fmt::format(
      "apiVersion: v1\nkind: Service\nmetadata:\n  name: {}\n  annotations: {{{}}}\n"
      "spec: {{type: LoadBalancer, ports: [{{port: 80}}]{}}}\n",
      name, annotation, spec);
}

std::string fixed(const std::string& ip) {
  return fmt::format("ipam.tombolo.io/load-balancer-ips: \"{}\"", ip);
}

// In the service's row and in the frontend that agents read alike.
std::vector<Ip> outside(Cluster& cluster, const std::string& key) {
  const Service* service = cluster.life->tables.services.find(key);
  const Frontend* frontend = cluster.life->frontend(key);
  if (service == nullptr || frontend == nullptr) return {};
  if (service->load_balancer_ips != frontend->load_balancer_ips) return {};
  return service->load_balancer_ips;
}

bool has(Cluster& cluster, const std::string& key, const std::string& ip) {
  return cluster.fleet.drive.until(
      [&] { return outside(cluster, key) == std::vector<Ip>{ip_of(ip)}; });
}

bool says(Cluster& cluster, const std::string& name, const std::string& problem) {
  return cluster.fleet.drive.until(
      [&] { return cluster.status("load balancers|default/" + name) == problem; });
}

TEST_CASE("a service exposed outside keeps its address") {
  Pair pair;
  Cluster& east = pair.east;
  std::vector<Ip> first;
  for (int round = 0; round < 3; ++round) {
    Life& life = east.born();
    life.apply("web.yaml", exposed("web", "", ", ipFamilyPolicy: RequireDualStack"));
    // Others come and go, and its own spec changes.
    if (round == 0) life.apply("other.yaml", exposed("other"));
    if (round == 2)
      life.apply("web.yaml", exposed("web", "team: blue",
                                     ", ipFamilyPolicy: RequireDualStack, externalTrafficPolicy: "
                                     "Local, loadBalancerClass: tombolo.io/load-balancer"));
    east.start();
    REQUIRE(pair.fleet.drive.until([&] { return outside(east, "default/web").size() == 2; }));
    std::vector<Ip> now = outside(east, "default/web");
    REQUIRE(Prefix::parse("10.151.0.0/24")->contains(now[0]));
    REQUIRE(Prefix::parse("fd01:1b::/112")->contains(now[1]));
    if (round > 0) REQUIRE(now == first);
    first = now;
    REQUIRE(life.frontend("default/web")->external_traffic_local == (round == 2));
    REQUIRE(east.value(fmt::format("tombolo/v1/loadbalancer-owners/{}", now[0].str())) ==
            "default/web");
    REQUIRE(pair.fleet.drive.until(
        [&] { return outside(east, "default/other").empty() == (round > 0); }));
    REQUIRE(pair.fleet.drive.until([&] {
      auto kv = pair.fleet.drive.run(east.kv.get("tombolo/v1/frontends/default/web"));
      auto stored = records::decode_frontend(**kv);
      return stored && stored->load_balancer_ips == now;
    }));
  }
  // No longer a load balancer, or another's: the address goes back.
  std::string owner = fmt::format("tombolo/v1/loadbalancer-owners/{}", first[0].str());
  std::string change = GENERATE("class", "type", "gone");
  std::string text = exposed("web", "", ", loadBalancerClass: example.com/other");
  if (change == "type")
    text =
        "apiVersion: v1\nkind: Service\nmetadata: {name: web}\n"
        "spec: {ports: [{port: 80}]}\n";
  east.life->apply("web.yaml", change == "gone" ? "" : text);
  REQUIRE(pair.fleet.drive.until([&] { return east.value(owner).empty(); }));
  REQUIRE(outside(east, "default/web").empty());
  if (change == "class")
    REQUIRE(
        east.life->sync.explain("default", "web")->warnings ==
        std::vector<std::string>{"its loadBalancerClass example.com/other is not "
                                 "tombolo.io/load-balancer: somebody else gives it an address"});
}

TEST_CASE("an address asked for is given; another's is not, until it is free") {
  Pair pair;
  Cluster& east = pair.east;
  Life& life = east.born();
  life.apply("a.yaml", exposed("first", fixed("10.151.0.9")));
  east.start();
  REQUIRE(has(east, "default/first", "10.151.0.9"));
  life.apply("b.yaml", exposed("second", fixed("10.151.0.9")));
  const std::string taken = "10.151.0.9 belongs to default/first, and no two services share one";
  REQUIRE(says(east, "second", taken));
  REQUIRE(outside(east, "default/second").empty());
  REQUIRE(life.sync.explain("default", "second")->warnings ==
          std::vector<std::string>{"load balancer address: " + taken});
  // Who has an address keeps it while it waits for another.
  life.apply("c.yaml", exposed("third", fixed("10.151.0.20")));
  REQUIRE(has(east, "default/third", "10.151.0.20"));
  life.apply("c.yaml", exposed("third", fixed("10.151.0.9")));
  REQUIRE(says(east, "third", taken));
  REQUIRE(has(east, "default/third", "10.151.0.20"));
  life.apply("c.yaml", "");
  // Freed when its holder moves on: the second gets it, and nothing is complained of any more.
  life.apply("a.yaml", exposed("first", fixed("10.151.0.10")));
  REQUIRE(has(east, "default/first", "10.151.0.10"));
  REQUIRE(has(east, "default/second", "10.151.0.9"));
  REQUIRE(says(east, "second", ""));
  // The wish is taken back: the address stays.
  life.apply("a.yaml", exposed("first"));
  REQUIRE(pair.fleet.drive.until([&] { return life.sync.idle(); }));
  REQUIRE(has(east, "default/first", "10.151.0.10"));
}

TEST_CASE("addresses that are not for this are refused") {
  Pair pair;
  Cluster& east = pair.east;
  Life& life = east.born();
  life.apply("a.yaml", exposed("foreign", fixed("10.152.0.9")));   // of cluster west
  life.apply("b.yaml", exposed("inside", fixed("10.101.0.9")));    // of cluster addresses
  life.apply("c.yaml", exposed("unreadable", fixed("10.151.0")));  // no address at all
  east.start();
  REQUIRE(says(east, "foreign", "10.152.0.9 is in no range for load balancers"));
  REQUIRE(says(east, "inside", "10.101.0.9 is in no range for load balancers"));
  REQUIRE(says(
      east, "unreadable",
      "annotation ipam.tombolo.io/load-balancer-ips: '10.151.0' is not an IPv4 or IPv6 address"));
  for (const char* name : {"foreign", "inside", "unreadable"})
    REQUIRE(outside(east, fmt::format("default/{}", name)).empty());
  // What holds an address keeps it through a mistake.
  life.apply("c.yaml", exposed("unreadable", fixed("10.151.0.7")));
  REQUIRE(has(east, "default/unreadable", "10.151.0.7"));
  life.apply("c.yaml", exposed("unreadable", fixed("10.151.0")));
  REQUIRE(says(
      east, "unreadable",
      "annotation ipam.tombolo.io/load-balancer-ips: '10.151.0' is not an IPv4 or IPv6 address"));
  REQUIRE(has(east, "default/unreadable", "10.151.0.7"));
}

TEST_CASE("beside the plan's ranges, those that the daemon hands in") {
  Pair pair;
  Cluster& east = pair.east;
  std::vector<std::pair<Ip, Ip>> spans;
  ControllerSettings settings = east.settings();
  settings.load_balancer_spans = [&] { return spans; };
  east.life = std::make_unique<Life>(pair.fleet, settings, east.store);
  Life& life = *east.life;
  life.set_plan({{"east", BlockUse::kService, *Prefix::parse("10.101.0.0/16"), 0}});
  life.attachments_synced();
  life.sync.start();
  life.apply("a.yaml", exposed("web") + "---\n" + exposed("fixed", fixed("192.0.2.10")));
  REQUIRE(says(east, "web", "no free IPv4 address: the plan has no range"));
  REQUIRE(says(east, "fixed", "192.0.2.10 is in no range for load balancers"));
  spans = {{ip_of("192.0.2.10"), ip_of("192.0.2.11")}};
  life.sync.load_balancer_spans_changed();
  REQUIRE(has(east, "default/fixed", "192.0.2.10"));
  REQUIRE(has(east, "default/web", "192.0.2.11"));
  REQUIRE(says(east, "web", ""));
  // The pool goes: what was given stays.
  spans.clear();
  life.sync.load_balancer_spans_changed();
  life.apply("b.yaml", exposed("late"));
  REQUIRE(says(east, "late", "no free IPv4 address: the plan has no range"));
  REQUIRE(has(east, "default/web", "192.0.2.11"));
  REQUIRE(life.sync.load_balancer_ips() ==
          std::vector<Ip>{ip_of("192.0.2.10"), ip_of("192.0.2.11")});
}

TEST_CASE("a range that is full is told") {
  Pair pair;
  Cluster& east = pair.east;
  Life& life = east.born();
  life.set_plan({{"east", BlockUse::kService, *Prefix::parse("10.101.0.0/16"), 0},
                 {"east", BlockUse::kLoadBalancer, *Prefix::parse("10.151.0.0/30"), 0},
                 {"west", BlockUse::kLoadBalancer, *Prefix::parse("10.152.0.0/24"), 0}});
  life.attachments_synced();
  life.sync.start();
  std::string text;
  for (int i = 0; i < 3; ++i) text += "---\n" + exposed(fmt::format("s{}", i));
  life.apply("a.yaml", text);
  auto held = [&] {
    int count = 0;
    for (int i = 0; i < 3; ++i)
      count += outside(east, fmt::format("default/s{}", i)).empty() ? 0 : 1;
    return count;
  };
  auto without = [&] {
    int count = 0;
    for (int i = 0; i < 3; ++i)
      count += east.status(fmt::format("load balancers|default/s{}", i)) == "no free IPv4 address";
    return count;
  };
  REQUIRE(pair.fleet.drive.until([&] { return held() == 2 && without() == 1; }));
}

}  // namespace
}  // namespace tombolo::controller
