// Pools as rows: what they keep of the document, the catalog that they make up, what never changes.
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include "ipamd/pools/pools.h"

namespace tombolo {
namespace {

PoolObject object(const std::string& text) {
  auto documents = parse_yaml(text, "pools.yaml");
  REQUIRE(documents);
  auto row = parse_pool_object(documents->at(0).root());
  INFO((row ? std::string() : row.error().what));
  REQUIRE(row);
  return *row;
}

std::string pool(const std::string& name, const std::string& spec) {
  return fmt::format(
      "\napiVersion: tombolo.io/v1alpha1\nkind: IPPool\nmetadata: {{name: {}}}\nspec: {{{}}}\n",
      name, spec);
}

TEST_CASE("a document becomes a row that means the same") {
  PoolObject racks = object(R"(
apiVersion: spiderpool.spidernet.io/v2beta1
kind: SpiderIPPool
metadata: {name: racks, resourceVersion: "7", managedFields: [{manager: kubectl}]}
spec: {subnet: 172.18.41.0/24, ips: [172.18.41.40-172.18.41.50], gateway: 172.18.41.1}
status: {allocatedIPs: '{"172.18.41.40": {}}'}
)");
  REQUIRE(racks.kind == PoolObjectKind::kPool);
  REQUIRE(racks.key() == "IPPool/racks");
  REQUIRE(racks.place == "pools.yaml:2");
  REQUIRE(racks.document ==
          R"({"apiVersion":"spiderpool.spidernet.io/v2beta1","kind":"SpiderIPPool",)"
          R"("metadata":{"name":"racks"},"spec":{"subnet":"172.18.41.0/24",)"
          R"("ips":["172.18.41.40-172.18.41.50"],"gateway":"172.18.41.1"}})");
  PoolObject printers = object(
      "apiVersion: tombolo.io/v1alpha1\nkind: IPReservation\nmetadata: {name: printers}\n"
      "spec: {ips: [172.18.41.45]}\n");
  REQUIRE(printers.key() == "IPReservation/printers");

  auto catalog = catalog_of({printers, racks});
  REQUIRE(catalog);
  const IpPool* found = catalog->find("racks");
  REQUIRE(found != nullptr);
  REQUIRE(found->place == "pools.yaml:2");
  REQUIRE_FALSE(found->disabled);
  auto ip = [](const char* text) { return Ip::parse(text).value(); };
  REQUIRE(catalog->usable(*found) ==
          std::vector<IpRange>{{ip("172.18.41.40"), ip("172.18.41.44")},
                               {ip("172.18.41.46"), ip("172.18.41.50")}});
  racks.leaving = true;
  REQUIRE(catalog_of({racks})->find("racks")->disabled);
}

TEST_CASE("rows that make no catalog are refused with their places") {
  PoolObject a = object(pool("a", "subnet: 10.0.0.0/24"));
  PoolObject b = object(pool("b", "subnet: 10.0.0.128/25"));
  REQUIRE(catalog_of({a, b}).error().what ==
          "pools.yaml:2: the pools 'a' and 'b' would both give out 10.0.0.129");
  b.document = "{";
  REQUIRE(catalog_of({b}).error().what.starts_with("pools.yaml:2: "));
  b.document = a.document;
  REQUIRE(catalog_of({b}).error().what == "pools.yaml:2: holds a, not IPPool/b");
  a.kind = PoolObjectKind::kReservation;
  REQUIRE(catalog_of({a}).error().what == "pools.yaml:2: holds a, not IPReservation/a");
  a.document = R"({"apiVersion":"v1","kind":"Pod"})";
  REQUIRE(catalog_of({a}).error().what ==
          "pools.yaml:2: kind: Pod of v1 is neither a pool nor a "
          "reservation");
}

TEST_CASE("subnet, kind and block length never change") {
  struct Case {
    std::string name;
    std::string now;
    std::string in_force;
    std::string what;
  };
  auto test = GENERATE(values<Case>({
      {"other fields", "subnet: 10.0.0.0/24, ips: [10.0.0.5], default: true",
       "subnet: 10.0.0.0/24, vlan: 3", ""},
      {"subnet", "subnet: 10.0.0.0/24", "subnet: 10.0.0.0/25",
       "subnet is 10.0.0.0/24, in force is 10.0.0.0/25"},
      {"kind", "subnet: 10.0.0.0/24, kind: overlay", "subnet: 10.0.0.0/24",
       "kind is overlay, in force is underlay"},
      {"block length", "subnet: 10.0.0.0/24, kind: overlay, blockLength: 28",
       "subnet: 10.0.0.0/24, kind: overlay, blockLength: 27", "blockLength is 28, in force is 27"},
      {"sharing", "subnet: 10.0.0.0/24, sharing: {home: east}", "subnet: 10.0.0.0/24",
       "sharing.home is east, in force is (none)"},
      {"who shares", "subnet: 10.0.0.0/24, sharing: {home: east, clusters: [west]}",
       "subnet: 10.0.0.0/24, sharing: {home: east}", ""},
  }));
  CAPTURE(test.name);
  auto now = catalog_of({object(pool("a", test.now))});
  auto before = catalog_of({object(pool("a", test.in_force))});
  REQUIRE(changed_for_ever(*now->find("a"), *before->find("a")) == test.what);
}

}  // namespace
}  // namespace tombolo
