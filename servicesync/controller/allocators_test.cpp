// Addresses and identity numbers: never twice, the same again after a restart, given back only when
// nobody wants them.
#include <rapidcheck.h>

#include <catch2/generators/catch_generators.hpp>

#include "servicesync/controller/address_allocator.h"
#include "servicesync/controller/identity_allocator.h"
#include "servicesync/controller/world_fixture.h"

namespace tombolo::controller {
namespace {

TEST_CASE("addresses are chosen inside the range, never taken ones, low ones last") {
  REQUIRE(rc::check("choose until full", [] {
    int length = *rc::gen::inRange(24, 31);
    bool low_band_last = *rc::gen::arbitrary<bool>();
    Prefix range(Ip::v4(0x0a000000), length);
    std::set<Ip> taken;
    Ip highest_low = range.at(0);
    bool seen_low = false;
    while (true) {
      auto ip = choose_address({range}, Family::kV4, fmt::format("ns/{}", taken.size()),
                               low_band_last, [&](const Ip& at) { return taken.contains(at); });
      if (!ip) break;
      RC_ASSERT(range.contains(*ip) && *ip != range.first() && *ip != range.last());
      RC_ASSERT(taken.insert(*ip).second);
      bool low = low_band_last && range.size() >= 32 && ip->value() < range.at(16).value();
      RC_ASSERT(low || !seen_low);
      seen_low = seen_low || low;
      highest_low = *ip;
    }
    RC_ASSERT(taken.size() == static_cast<std::size_t>(range.size()) - 2);
  }));
}

TEST_CASE("every address of a span is given, each once") {
  REQUIRE(rc::check("choose until full", [] {
    std::vector<AddressSpan> spans;
    std::size_t size = 0;
    for (std::uint32_t begin : {0U, 0x0a000000U, 0xffffff00U}) {
      auto length = *rc::gen::inRange<std::uint32_t>(1, 20);
      spans.push_back({Ip::v4(begin), Ip::v4(begin + length - 1)});
      size += length;
    }
    std::set<Ip> taken;
    while (auto ip = choose_in_spans(spans, Family::kV4, fmt::format("ns/{}", taken.size()),
                                     [&](const Ip& at) { return taken.contains(at); })) {
      RC_ASSERT(std::ranges::any_of(spans, [&](const auto& span) { return span.contains(*ip); }));
      RC_ASSERT(taken.insert(*ip).second);
    }
    RC_ASSERT(taken.size() == size);
  }));
  auto free = [](const Ip&) { return false; };
  std::vector<AddressSpan> all{{ip_of("::"), ip_of("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")}};
  REQUIRE(choose_in_spans(all, Family::kV6, "ns/a", free).has_value());
  REQUIRE_FALSE(choose_in_spans(all, Family::kV4, "ns/a", free));
}

TEST_CASE("the same name begins at the same place") {
  std::vector<Prefix> ranges{*Prefix::parse("10.0.0.0/16"), *Prefix::parse("fd00::/112")};
  auto free = [](const Ip&) { return false; };
  for (Family family : {Family::kV4, Family::kV6}) {
    auto first = choose_address(ranges, family, "shop/web", true, free);
    REQUIRE(first == choose_address(ranges, family, "shop/web", true, free));
    REQUIRE(first->family() == family);
    REQUIRE(first != choose_address(ranges, family, "shop/api", true, free));
  }
  REQUIRE_FALSE(choose_address({*Prefix::parse("10.0.0.0/31")}, Family::kV4, "a/b", true, free));
}

TEST_CASE("identity numbers go up, wrap around and never meet a taken one") {
  cilium::Origin origin{"c1", 1, 8};
  REQUIRE(next_identity(origin, 0, {}) == 65536 + 256);
  REQUIRE(next_identity(origin, 65792, {65793, 65794}) == 65795);
  REQUIRE(next_identity(origin, 131071, {65792}) == 65793);
  REQUIRE(next_identity(origin, 131070, {131071}) == 65792);
  std::set<std::uint32_t> all;
  for (std::uint32_t number = 65792; number <= 131071; ++number) all.insert(number);
  REQUIRE_FALSE(next_identity(origin, 70000, all));
  all.erase(65800);
  REQUIRE(next_identity(origin, 70000, all) == 65800);
}

std::string named(const std::string& name, const std::string& spec) {
  return fmt::format(
      "apiVersion: v1\nkind: Service\nmetadata: {{name: {}}}\nspec: {{ports: [{{port: 80}}]{}}}\n",
      name, spec);
}

std::vector<Ip> ips(Cluster& cluster, const std::string& key) {
  const Service* service = cluster.life->tables.services.find(key);
  return service == nullptr ? std::vector<Ip>{} : service->cluster_ips;
}

TEST_CASE("cluster addresses: per family, durable, released with the service") {
  Pair pair;
  Cluster& east = pair.east;
  std::vector<Ip> dual;
  for (int round = 0; round < 2; ++round) {
    Life& life = east.born();
    life.apply("a.yaml", named("dual", ", ipFamilyPolicy: RequireDualStack, ipFamilies: [IPv6]"));
    life.apply("b.yaml", named("single", ""));
    life.apply("c.yaml", named("six", ", ipFamilies: [IPv6]"));
    life.apply("d.yaml", named("none", ", clusterIP: None"));
    east.start();
    REQUIRE(pair.fleet.drive.until([&] {
      return ips(east, "default/dual").size() == 2 && ips(east, "default/single").size() == 1 &&
             ips(east, "default/six").size() == 1;
    }));
    std::vector<Ip> now = ips(east, "default/dual");
    REQUIRE(now[0].family() == Family::kV6);
    REQUIRE(Prefix::parse("fd01::/112")->contains(now[0]));
    REQUIRE(now[1].family() == Family::kV4);
    if (round == 1) REQUIRE(now == dual);
    dual = now;
    REQUIRE(ips(east, "default/single")[0].is_v4());
    REQUIRE(ips(east, "default/none").empty());
    REQUIRE(east.value(fmt::format("tombolo/v1/clusterip-owners/{}", now[0].str())) ==
            "default/dual");
    REQUIRE(pair.fleet.drive.until(
        [&] { return !east.value("tombolo/v1/clusterips/default/none").empty(); }));
  }
  east.life->apply("a.yaml", "");
  REQUIRE(pair.fleet.drive.until([&] {
    return east.value("tombolo/v1/clusterips/default/dual").empty() &&
           east.value(fmt::format("tombolo/v1/clusterip-owners/{}", dual[0].str())).empty();
  }));
}

TEST_CASE("a given address is kept; a taken one is told, and given when it is free") {
  Pair pair;
  Cluster& east = pair.east;
  Life& life = east.born();
  life.apply("a.yaml", named("first", ", clusterIP: 10.101.0.9"));
  east.start();
  std::vector<Ip> wanted{ip_of("10.101.0.9")};
  REQUIRE(pair.fleet.drive.until([&] { return ips(east, "default/first") == wanted; }));
  life.apply("b.yaml", named("second", ", clusterIP: 10.101.0.9"));
  REQUIRE(pair.fleet.drive.until([&] {
    return east.status("clusterips|default/second") == "10.101.0.9 belongs to default/first";
  }));
  REQUIRE(ips(east, "default/second").empty());
  life.apply("a.yaml", named("first", ", clusterIP: 192.0.2.1"));
  REQUIRE(pair.fleet.drive.until([&] { return ips(east, "default/second") == wanted; }));
  REQUIRE(pair.fleet.drive.until([&] { return east.status("clusterips|default/second").empty(); }));
  REQUIRE(east.status("clusterips|default/first") == "192.0.2.1 is kept, but is outside the plan");
  REQUIRE(pair.fleet.drive.until(
      [&] { return ips(east, "default/first") == std::vector<Ip>{ip_of("192.0.2.1")}; }));
}

TEST_CASE("an address that somebody else wrote into the store is not given") {
  Pair pair;
  Cluster& east = pair.east;
  auto chosen = choose_address({*Prefix::parse("10.101.0.0/16")}, Family::kV4, "default/web", true,
                               [](const Ip&) { return false; });
  std::string owner = fmt::format("tombolo/v1/clusterip-owners/{}", chosen->str());
  REQUIRE(pair.fleet.drive.run(east.kv.put({owner, "other/service"})));
  Life& life = east.born();
  life.apply("a.yaml", named("web", ""));
  east.start();
  REQUIRE(pair.fleet.drive.until([&] { return ips(east, "default/web").size() == 1; }));
  REQUIRE(ips(east, "default/web")[0] != *chosen);
  REQUIRE(east.value(owner) == "other/service");
}

TEST_CASE("hundreds of services get hundreds of addresses") {
  Pair pair;
  Cluster& east = pair.east;
  Life& life = east.born();
  std::string text;
  for (int i = 0; i < 300; ++i) text += "---\n" + named(fmt::format("s{}", i), "");
  life.apply("a.yaml", text);
  east.start();
  REQUIRE(pair.fleet.drive.until([&] {
    std::set<Ip> all;
    for (const auto& [key, row] : life.tables.services.rows())
      for (const Ip& ip : row.row.cluster_ips) all.insert(ip);
    return all.size() == 300;
  }));
}

}  // namespace
}  // namespace tombolo::controller
