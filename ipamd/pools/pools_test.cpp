// Documents of pools: what is read, what is refused and with which words; what may be given out.
#include "ipamd/pools/pools.h"

#include <rapidcheck.h>

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <filesystem>

namespace tombolo {
namespace {

Ip ip(const char* text) {
  return Ip::parse(text).value();
}

Result<PoolCatalog> read(const std::string& text) {
  auto documents = parse_yaml(text, "pools.yaml");
  REQUIRE(documents);
  return parse_pools(*documents);
}

std::string pool(const std::string& name, const std::string& spec) {
  return fmt::format(
      "apiVersion: tombolo.io/v1alpha1\nkind: IPPool\nmetadata: {{name: {}}}\nspec: {}\n---\n",
      name, spec);
}

TEST_CASE("a pool with everything, ours and Spiderpool's") {
  const char* text = R"(apiVersion: spiderpool.spidernet.io/v2beta1
kind: SpiderIPPool
metadata: {name: racks}
spec:
  ipVersion: 4
  subnet: 172.18.41.0/24
  ips: [172.18.41.40-172.18.41.50, 172.18.41.60]
  excludeIPs: [172.18.41.44-172.18.41.46]
  gateway: 172.18.41.50
  vlan: 7
  routes: [{dst: 10.0.0.0/8, gw: 172.18.41.1}]
  default: true
  namespaceName: [shop]
  podAffinity: {matchLabels: {app: web}, matchExpressions: [{key: tier, operator: NotIn, values: [b, a]}]}
---
apiVersion: tombolo.io/v1alpha1
kind: IPReservation
metadata: {name: printers}
spec: {ips: [172.18.41.41, fd00::/64]}
)";
  auto catalog = read(text);
  REQUIRE(catalog);
  const IpPool* racks = catalog->find("racks");
  REQUIRE(racks != nullptr);
  REQUIRE(racks->place == "pools.yaml:1");
  REQUIRE(racks->kind == PoolKind::kUnderlay);
  REQUIRE(racks->vlan == 7);
  REQUIRE(racks->is_default);
  REQUIRE(racks->routes ==
          std::vector<PoolRoute>{{Prefix::parse("10.0.0.0/8").value(), ip("172.18.41.1")}});
  REQUIRE(racks->affinity.pods.requirements.size() == 2);
  REQUIRE(catalog->usable(*racks) ==
          std::vector<IpRange>{{ip("172.18.41.40"), ip("172.18.41.40")},
                               {ip("172.18.41.42"), ip("172.18.41.43")},
                               {ip("172.18.41.47"), ip("172.18.41.49")},
                               {ip("172.18.41.60"), ip("172.18.41.60")}});
}

TEST_CASE("the example of docs/ipam.md") {
  auto root = std::filesystem::path(TOMBOLO_TEST_DATA).parent_path().parent_path();
  auto page = read_file(root / "docs/ipam.md");
  REQUIRE(page);
  std::size_t begin = page->find("```yaml\n") + 8;
  REQUIRE(begin > 8);
  auto catalog = read(page->substr(begin, page->find("```", begin) - begin));
  REQUIRE(catalog);
  auto usable = catalog->usable(*catalog->find("racks"));
  REQUIRE(usable == std::vector<IpRange>{{ip("172.18.41.40"), ip("172.18.41.65")},
                                         {ip("172.18.41.67"), ip("172.18.41.79")},
                                         {ip("172.18.41.86"), ip("172.18.41.90")}});
}

TEST_CASE("without ranges a pool has its subnet, but for its edges") {
  auto catalog = read(pool("a", "{subnet: 10.0.0.0/29, gateway: 10.0.0.1}") +
                      pool("b", "{subnet: 'fd00::/126', kind: overlay, blockLength: 126}"));
  REQUIRE(catalog);
  REQUIRE(catalog->usable(*catalog->find("a")) ==
          std::vector<IpRange>{{ip("10.0.0.2"), ip("10.0.0.6")}});
  REQUIRE(catalog->usable(*catalog->find("b")) ==
          std::vector<IpRange>{{ip("fd00::1"), ip("fd00::3")}});
  REQUIRE(catalog->find("b")->block_length == 126);
}

TEST_CASE("which pools are probed") {
  struct Case {
    std::string name;
    std::string spec;
    bool conflicts;
    bool gateway;
  };
  auto test = GENERATE(values<Case>({
      {"underlay", "{subnet: 10.0.0.0/24, gateway: 10.0.0.1}", true, true},
      {"underlay without gateway", "{subnet: 10.0.0.0/24}", true, false},
      {"as asked",
       "{subnet: 10.0.0.0/24, gateway: 10.0.0.1, conflictProbe: false, gatewayProbe: false}", false,
       false},
      {"overlay", "{subnet: 10.0.0.0/24, kind: overlay, blockLength: 26, gateway: 10.0.0.1}", false,
       false},
      {"overlay, as asked",
       "{subnet: 10.0.0.0/24, kind: overlay, blockLength: 26, gateway: 10.0.0.1, conflictProbe: "
       "true, "
       "gatewayProbe: true}",
       true, true},
  }));
  INFO(test.name);
  auto catalog = read(pool("a", test.spec));
  REQUIRE(catalog);
  REQUIRE(catalog->find("a")->conflict_probe == test.conflicts);
  REQUIRE(catalog->find("a")->gateway_probe == test.gateway);
}

TEST_CASE("what is wrong is refused by name and place") {
  struct Case {
    std::string name;
    std::string text;
    std::string error;
  };
  std::string twice = pool("a", "{subnet: 10.0.0.0/24}") + pool("a", "{subnet: 10.1.0.0/24}");
  auto test = GENERATE_REF(values<Case>({
      {"no subnet", pool("a", "{ips: []}"), "pools.yaml:4: spec.subnet: is required"},
      {"no name",
       "apiVersion: tombolo.io/v1alpha1\nkind: IPPool\nmetadata: {namg: a}\nspec: {subnet: "
       "10.0.0.0/24}\n",
       "pools.yaml:3: metadata.name: is required"},
      {"gateway probe without a gateway", pool("a", "{subnet: 10.0.0.0/24, gatewayProbe: true}"),
       "pools.yaml:4: spec.gatewayProbe: needs a gateway"},
      {"unknown field", pool("a", "{subnet: 10.0.0.0/24, subnets: 1}"),
       "pools.yaml:4: spec.subnets: unknown field"},
      {"other version", pool("a", "{subnet: 10.0.0.0/24, ipVersion: 6}"),
       "pools.yaml:4: spec.ipVersion: is not that of the subnet 10.0.0.0/24"},
      {"outside", pool("a", "{subnet: 10.0.0.0/24, ips: [10.0.1.1]}"),
       "pools.yaml:4: spec.ips: 10.0.1.1-10.0.1.1 is not in the subnet 10.0.0.0/24"},
      {"backwards", pool("a", "{subnet: 10.0.0.0/24, ips: [10.0.0.9-10.0.0.3]}"),
       "pools.yaml:4: spec.ips[0]: 10.0.0.9 comes after 10.0.0.3"},
      {"gateway", pool("a", "{subnet: 10.0.0.0/24, gateway: 10.1.0.1}"),
       "pools.yaml:4: spec.gateway: is not in the subnet 10.0.0.0/24"},
      {"VLAN", pool("a", "{subnet: 10.0.0.0/24, vlan: 4095}"),
       "pools.yaml:4: spec.vlan: 4095 is not from 0 to 4094"},
      {"block of an underlay", pool("a", "{subnet: 10.0.0.0/24, blockLength: 26}"),
       "pools.yaml:4: spec.blockLength: belongs to overlay pools"},
      {"selector",
       pool("a",
            "{subnet: 10.0.0.0/24, nodeAffinity: {matchExpressions: "
            "[{key: a, operator: In}]}}"),
       "pools.yaml:4: spec.nodeAffinity.matchExpressions[0].values: needs at least one value"},
      {"a pool for services of some",
       pool("a", "{subnet: 10.0.0.0/24, allowedUses: [LoadBalancer], namespaceName: [shop]}"),
       "pools.yaml:4: spec.namespaceName: is for pools of pods: one for LoadBalancer serves every "
       "namespace"},
      {"reserved name", pool("node", "{subnet: 10.0.0.0/24}"),
       "pools.yaml:3: metadata.name: is the name of the node's own blocks"},
      {"other kind", "apiVersion: v1\nkind: Pod\n",
       "pools.yaml:2: kind: Pod of v1 is neither a pool nor a reservation"},
      {"one name twice", twice, "pools.yaml:6: the pool 'a' stands twice (also at pools.yaml:1)"},
      {"one address in two",
       pool("a", "{subnet: 10.0.0.0/24}") + pool("b", "{subnet: 10.0.0.0/16}"),
       "pools.yaml:6: the pools 'a' and 'b' would both give out 10.0.0.1"},
  }));
  INFO(test.name);
  auto catalog = read(test.text);
  REQUIRE(!catalog);
  REQUIRE(catalog.error().code == Code::kInvalidArgument);
  REQUIRE(catalog.error().what.starts_with(test.error));
}

TEST_CASE("pools of one subnet are fine while their addresses are apart") {
  REQUIRE(read(pool("a", "{subnet: 10.0.0.0/24, ips: [10.0.0.1-10.0.0.99]}") +
               pool("b", "{subnet: 10.0.0.0/24, excludeIPs: [10.0.0.0-10.0.0.99]}")));
}

TEST_CASE("ranges without ranges") {
  REQUIRE(rc::check("subtract", [] {
    auto ranges = [](int from, int to) {
      return rc::gen::container<std::vector<IpRange>>(rc::gen::map(
          rc::gen::pair(rc::gen::inRange(from, to), rc::gen::inRange(0, 9)),
          [](std::pair<int, int> pair) {
            auto first = static_cast<std::uint32_t>(pair.first);
            return IpRange{Ip::v4(first), Ip::v4(first + static_cast<std::uint32_t>(pair.second))};
          }));
    };
    auto from = *ranges(0, 60);
    auto without = *ranges(0, 60);
    auto left = subtract(from, without);
    auto inside = [](const std::vector<IpRange>& all, Ip address) {
      return std::ranges::any_of(all, [&](const IpRange& r) { return r.contains(address); });
    };
    for (std::uint32_t value = 0; value < 80; ++value) {
      Ip address = Ip::v4(value);
      RC_ASSERT(inside(left, address) == (inside(from, address) && !inside(without, address)));
    }
    for (std::size_t i = 1; i < left.size(); ++i)
      RC_ASSERT(left[i - 1].last.value() + 1 < left[i].first.value());
  }));
  Ip last = ip("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff");
  REQUIRE(subtract({{ip("::"), last}}, {{ip("::1"), last}}) ==
          std::vector<IpRange>{{ip("::"), ip("::")}});
}

TEST_CASE("wildcards") {
  struct Case {
    std::string pattern;
    std::string text;
    bool matches;
  };
  auto test = GENERATE(values<Case>({
      {"a", "a", true},
      {"a", "b", false},
      {"*", "", true},
      {"a*", "abc", true},
      {"*c", "abc", true},
      {"a*c*e", "abcde", true},
      {"a*c*f", "abcde", false},
      {"?", "", false},
      {"a?c", "abc", true},
      {"[ab]", "b", true},
      {"[!ab]", "b", false},
      {"[a-c]x", "bx", true},
      {"[a-c]", "d", false},
      {"[", "[", true},
      {"[ab", "[ab", true},
      {"[]a]", "]", true},
      {"pool-*-[0-9]", "pool-web-7", true},
      {"**", "x", true},
      {"", "", true},
      {"", "x", false},
  }));
  INFO(test.pattern << " " << test.text);
  REQUIRE(matches_wildcard(test.pattern, test.text) == test.matches);
}

}  // namespace
}  // namespace tombolo
