// Pools for services among all pools, and what is in use of them.
#include "app/daemon/load_balancer_pools.h"

#include <catch2/catch_test_macros.hpp>

namespace tombolo {
namespace {

PoolObject pool(const std::string& name, const std::string& spec) {
  std::string text = fmt::format(
      "apiVersion: tombolo.io/v1alpha1\nkind: IPPool\nmetadata: {{name: {}}}\nspec: {{{}}}\n", name,
      spec);
  auto documents = parse_yaml(text, name + ".yaml");
  REQUIRE(documents.has_value());
  auto object = parse_pool_object(documents->front().root());
  REQUIRE(object.has_value());
  return *object;
}

Ip ip(const char* text) {
  return Ip::parse(text).value();
}

TEST_CASE("services get addresses of the pools that are for them") {
  auto pools = pools_for_services(
      {pool("edge",
            "subnet: 192.0.2.0/24, ips: [192.0.2.10-192.0.2.12], gateway: 192.0.2.11, "
            "allowedUses: [LoadBalancer]"),
       pool("racks", "subnet: 198.51.100.0/24")});
  REQUIRE(pools.size() == 1);
  REQUIRE(pools[0].name == "edge");
  // Without the gateway.
  REQUIRE(pools[0].ranges == std::vector<IpRange>{{ip("192.0.2.10"), ip("192.0.2.10")},
                                                  {ip("192.0.2.12"), ip("192.0.2.12")}});
}

TEST_CASE("what services have is in use, of whichever pool it is") {
  auto pools =
      pools_for_services({pool("edge", "subnet: 192.0.2.0/24, allowedUses: [LoadBalancer]"),
                          pool("edge6",
                               "subnet: 2001:db8::/64, "
                               "allowedUses: [LoadBalancer]")});
  auto uses = uses_by_services(pools, {ip("192.0.2.7"), ip("2001:db8::7"), ip("203.0.113.1")});
  REQUIRE(uses.size() == 3);
  REQUIRE(uses[0].pool == "edge");
  REQUIRE(uses[0].prefix.str() == "192.0.2.7/32");
  REQUIRE(uses[1].pool == "edge6");
  // Of no pool, and still not to be given out by one that is yet to come.
  REQUIRE(uses[2].pool.empty());
  REQUIRE(uses[2].prefix.str() == "203.0.113.1/32");
}

TEST_CASE("pools that cannot be read give nothing") {
  PoolObject broken = pool("edge", "subnet: 192.0.2.0/24");
  broken.document = "{}";
  REQUIRE(pools_for_services({broken}).empty());
}

}  // namespace
}  // namespace tombolo
