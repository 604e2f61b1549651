// Which pools an interface gets: one level decides, errors name it.
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include "ipamd/pools/pools.h"

namespace tombolo {
namespace {

using Names = std::vector<std::string>;

// b-web: for pods of the application web; c-node: for one node; d-v6: IPv6.
PoolCatalog catalog() {
  const char* text = R"(apiVersion: tombolo.io/v1alpha1
kind: IPPool
metadata: {name: a-default}
spec: {subnet: 10.1.0.0/24, default: true}
---
apiVersion: tombolo.io/v1alpha1
kind: IPPool
metadata: {name: b-web}
spec: {subnet: 10.2.0.0/24, default: true, podAffinity: {matchLabels: {app: web}}}
---
apiVersion: tombolo.io/v1alpha1
kind: IPPool
metadata: {name: c-node}
spec: {subnet: 10.3.0.0/24, default: true, nodeName: [n1, rack-*]}
---
apiVersion: tombolo.io/v1alpha1
kind: IPPool
metadata: {name: d-v6}
spec: {subnet: 'fd00::/64', default: true}
---
apiVersion: tombolo.io/v1alpha1
kind: IPPool
metadata: {name: storage-1}
spec: {subnet: 10.4.0.0/24, interfaceName: [net*]}
---
apiVersion: tombolo.io/v1alpha1
kind: IPPool
metadata: {name: storage-2}
spec: {subnet: 10.5.0.0/24, ownerName: [StatefulSet/db]}
---
apiVersion: tombolo.io/v1alpha1
kind: IPPool
metadata: {name: off}
spec: {subnet: 10.6.0.0/24, disable: true}
---
apiVersion: tombolo.io/v1alpha1
kind: IPPool
metadata: {name: vips}
spec: {subnet: 10.7.0.0/24, allowedUses: [LoadBalancer], default: true}
)";
  auto documents = parse_yaml(text, "pools.yaml");
  REQUIRE(documents);
  auto made = parse_pools(*documents);
  REQUIRE(made);
  return std::move(*made);
}

PoolRequest request() {
  PoolRequest pod;
  pod.name_space = "shop";
  pod.pod_name = "cart";
  pod.node = "n2";
  pod.network = "kube-system/macvlan";
  return pod;
}

const std::string kPools = "ipam.spidernet.io/ippools";
const std::string kPool = "ipam.spidernet.io/ippool";
const std::string kNamespaceV4 = "ipam.spidernet.io/default-ipv4-ippool";

TEST_CASE("one level decides") {
  struct Case {
    std::string name;
    std::function<void(PoolRequest&)> with;
    std::string source;
    Names ipv4;
    Names ipv6;
  };
  auto test = GENERATE(values<Case>({
      {"nothing is said: default pools",
       [](PoolRequest&) {},
       "the default pools",
       {"a-default"},
       {"d-v6"}},
      {"those that are for this pod come first",
       [](PoolRequest& pod) {
         pod.pod_labels["app"] = "web";
         pod.node = "rack-7";
       },
       "the default pools",
       {"b-web", "c-node", "a-default"},
       {"d-v6"}},
      {"the CNI configuration",
       [](PoolRequest& pod) { pod.configured_ipv4 = {"a-*"}; },
       "default_ipv4_ippool and default_ipv6_ippool of network kube-system/macvlan",
       {"a-default"},
       {}},
      {"the namespace before it",
       [](PoolRequest& pod) {
         pod.configured_ipv4 = {"a-*"};
         pod.node = "n1";
         pod.namespace_annotations[kNamespaceV4] = R"(["c-node", "a-default"])";
       },
       "annotation ipam.spidernet.io/default-ipv4-ippool of namespace shop",
       {"c-node", "a-default"},
       {}},
      {"the pod before it",
       [](PoolRequest& pod) {
         pod.namespace_annotations[kNamespaceV4] = R"(["c-node"])";
         pod.pod_annotations[kPool] = R"({"ipv4": ["a-default"], "ipv6": ["d-v6"]})";
       },
       "annotation ipam.spidernet.io/ippool of pod shop/cart",
       {"a-default"},
       {"d-v6"}},
      {"ippools before ippool, by interface",
       [](PoolRequest& pod) {
         pod.interface_name = "net1";
         pod.pod_annotations[kPool] = R"({"ipv4": ["a-default"]})";
         pod.pod_annotations[kPools] =
             R"([{"interface": "eth0", "ipv4": ["a-default"]},
                 {"interface": "net1", "ipv4": ["storage-*"]}])";
         pod.owner = "StatefulSet/db";
       },
       "annotation ipam.spidernet.io/ippools of pod shop/cart",
       {"storage-2", "storage-1"},
       {}},
      {"ippools without names go by their place",
       [](PoolRequest& pod) {
         pod.interface_name = "net1";
         pod.pod_annotations[kPools] = R"([{"ipv4": ["a-default"]}, {"ipv4": ["storage-1"]}])";
       },
       "annotation ipam.spidernet.io/ippools of pod shop/cart",
       {"storage-1"},
       {}},
      {"a list of other interfaces decides nothing",
       [](PoolRequest& pod) {
         pod.pod_annotations[kPools] = R"([{"interface": "net9", "ipv4": ["storage-1"]}])";
       },
       "the default pools",
       {"a-default"},
       {"d-v6"}},
      {"our own annotation before Spiderpool's",
       [](PoolRequest& pod) {
         pod.pod_annotations[kPools] = R"([{"ipv4": ["storage-1"]}])";
         pod.pod_annotations["ipam.tombolo.io/ippool"] = R"({"ipv4": ["a-default"]})";
       },
       "annotation ipam.tombolo.io/ippool of pod shop/cart",
       {"a-default"},
       {}},
      {"one family is asked for",
       [](PoolRequest& pod) { pod.families = {Family::kV6}; },
       "the default pools",
       {},
       {"d-v6"}},
  }));
  INFO(test.name);
  PoolRequest pod = request();
  test.with(pod);
  auto selection = select_pools(catalog(), pod);
  REQUIRE(selection);
  REQUIRE(selection->source == test.source);
  REQUIRE(selection->ipv4 == test.ipv4);
  REQUIRE(selection->ipv6 == test.ipv6);
  REQUIRE(!selection->node_blocks);
  std::size_t families = (test.ipv4.empty() ? 0U : 1U) + (test.ipv6.empty() ? 0U : 1U);
  REQUIRE(selection->wishes().size() == families);
}

TEST_CASE("what cannot be chosen is refused by annotation and pool") {
  struct Case {
    std::string name;
    std::function<void(PoolRequest&)> with;
    Code code;
    std::string error;
  };
  auto test = GENERATE(values<Case>({
      {"no such pool",
       [](PoolRequest& pod) { pod.pod_annotations[kPool] = R"({"ipv4": ["gone"]})"; },
       Code::kNotFound,
       "annotation ipam.spidernet.io/ippool of pod shop/cart: there is no pool 'gone'"},
      {"no match", [](PoolRequest& pod) { pod.configured_ipv6 = {"a-*"}; }, Code::kNotFound,
       "default_ipv4_ippool and default_ipv6_ippool of network kube-system/macvlan: no IPv6 pool "
       "matches 'a-*'"},
      {"wrong family",
       [](PoolRequest& pod) { pod.pod_annotations[kPool] = R"({"ipv6": ["a-default"]})"; },
       Code::kInvalidArgument,
       "annotation ipam.spidernet.io/ippool of pod shop/cart: the pool 'a-default' is of IPv4, not "
       "IPv6"},
      {"no JSON", [](PoolRequest& pod) { pod.pod_annotations[kPools] = "[{]"; },
       Code::kInvalidArgument, "annotation ipam.spidernet.io/ippools of pod shop/cart: "},
      {"wrong type", [](PoolRequest& pod) { pod.pod_annotations[kPools] = R"([{"ipv4": "a"}])"; },
       Code::kInvalidArgument, "annotation ipam.spidernet.io/ippools of pod shop/cart: [0].ipv4: "},
      {"an interface twice",
       [](PoolRequest& pod) {
         pod.pod_annotations[kPools] =
             R"([{"ipv4": ["a-default"]}, {"interface": "eth0", "ipv4": ["a-default"]}])";
       },
       Code::kInvalidArgument,
       "annotation ipam.spidernet.io/ippools of pod shop/cart: [1]: the interface 'eth0' stands "
       "twice"},
      {"nothing fits, with each reason",
       [](PoolRequest& pod) { pod.configured_ipv4 = {"c-node", "off", "storage-1"}; },
       Code::kFailedPrecondition,
       "default_ipv4_ippool and default_ipv6_ippool of network kube-system/macvlan: no IPv4 pool "
       "for interface eth0 of shop/cart: pool 'c-node': it is not for node n2; pool 'off': it is "
       "disabled; pool 'storage-1': it is not for interface eth0"},
      {"pools for services", [](PoolRequest& pod) { pod.configured_ipv4 = {"vips"}; },
       Code::kFailedPrecondition,
       "default_ipv4_ippool and default_ipv6_ippool of network kube-system/macvlan: no IPv4 pool "
       "for interface eth0 of shop/cart: pool 'vips': it is for services of type LoadBalancer"},
      {"dual stack, but one family is named",
       [](PoolRequest& pod) {
         pod.families = {Family::kV4, Family::kV6};
         pod.pod_annotations[kPool] = R"({"ipv4": ["a-default"]})";
       },
       Code::kFailedPrecondition,
       "annotation ipam.spidernet.io/ippool of pod shop/cart: names no IPv6 pool for interface "
       "eth0 of shop/cart, which needs one"},
      {"pools from subnets",
       [](PoolRequest& pod) { pod.pod_annotations["ipam.spidernet.io/subnet"] = "{}"; },
       Code::kFailedPrecondition,
       "annotation ipam.spidernet.io/subnet of pod shop/cart: pools are not made from subnets"},
  }));
  INFO(test.name);
  PoolRequest pod = request();
  test.with(pod);
  auto selection = select_pools(catalog(), pod);
  REQUIRE(!selection);
  INFO(selection.error().what);
  REQUIRE(selection.error().code == test.code);
  REQUIRE(selection.error().what.starts_with(test.error));
}

TEST_CASE("nobody names a pool: the node's own blocks") {
  auto empty = PoolCatalog::make({}, {});
  REQUIRE(empty);
  auto selection = select_pools(*empty, request());
  REQUIRE(selection);
  REQUIRE(selection->node_blocks);
  REQUIRE(selection->wishes().empty());
}

TEST_CASE("from a catalog to addresses of two interfaces at once") {
  PoolCatalog pools = catalog();
  Allocator allocator;
  for (const IpPool& pool : pools.pools())
    REQUIRE(allocator.set_ranges(pool.name, pools.usable(pool)));
  PoolRequest pod = request();
  std::vector<AddressWish> wishes = select_pools(pools, pod)->wishes();
  pod.interface_name = "net1";
  pod.configured_ipv4 = {"storage-*"};
  for (AddressWish& wish : select_pools(pools, pod)->wishes()) wishes.push_back(std::move(wish));
  auto taken = allocator.take(wishes);
  REQUIRE(taken);
  REQUIRE(*taken == std::vector<PooledIp>{{"a-default", Ip::parse("10.1.0.1").value()},
                                          {"d-v6", Ip::parse("fd00::1").value()},
                                          {"storage-1", Ip::parse("10.4.0.1").value()}});
}

}  // namespace
}  // namespace tombolo
