// The interfaces of one pod as one transaction: which, from where, exactly what, for whom.
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include "ipamd/pools/pools.h"

namespace tombolo {
namespace {

PoolCatalog catalog() {
  const char* text = R"(
apiVersion: tombolo.io/v1alpha1
kind: IPPool
metadata: {name: racks}
spec: {subnet: 10.1.0.0/24, gateway: 10.1.0.1}
---
apiVersion: tombolo.io/v1alpha1
kind: IPPool
metadata: {name: racks-6}
spec: {subnet: "fd00:1::/64"}
---
apiVersion: tombolo.io/v1alpha1
kind: IPPool
metadata: {name: storage}
spec: {subnet: 10.2.0.0/24}
---
apiVersion: tombolo.io/v1alpha1
kind: IPPool
metadata: {name: wide}
spec: {kind: overlay, subnet: 10.3.0.0/16, blockLength: 26}
)";
  auto documents = parse_yaml(text, "pools.yaml");
  REQUIRE(documents);
  auto made = parse_pools(*documents);
  REQUIRE(made);
  return std::move(*made);
}

PodQuestion question(const std::string& interface) {
  PodQuestion asked;
  asked.interface_name = interface;
  asked.network = "pods";
  asked.name_space = "shop";
  asked.pod_name = "db-0";
  asked.node = "n1";
  return asked;
}

PodInfo pod(StringMap annotations, const std::string& owner = "") {
  PodInfo info;
  info.name_space = "shop";
  info.name = "db";
  info.kind = "Pod";
  info.owner = owner;
  info.annotations = std::move(annotations);
  return info;
}

// "eth0: racks=10.1.0.7 racks-6 (StatefulSet/shop/db/0/eth0); net1: node"
std::string text_of(const std::vector<InterfaceChoice>& choices) {
  std::string text;
  for (const InterfaceChoice& choice : choices) {
    text += (text.empty() ? "" : "; ") + choice.interface_name + ":";
    if (choice.selection.node_blocks) text += " node";
    for (const AddressWish& wish : choice.wishes)
      for (const std::string& name : wish.pools)
        text += " " + name + (wish.exact ? "=" + wish.exact->str() : "");
    if (!choice.identity.empty()) text += " (" + choice.identity + ")";
  }
  return text;
}

TEST_CASE("what the interfaces of a pod get") {
  const std::string ours = "ipam.tombolo.io/ippools";
  const std::string one = "ipam.tombolo.io/ippool";
  const std::string ip = "ipam.tombolo.io/ip";
  struct Case {
    std::string name;
    std::string interface;
    PodInfo info;
    std::string wanted;  // or the error
  };
  auto test = GENERATE_COPY(values<Case>({
      {"nobody names a pool", "eth0", pod({}), "eth0: node"},
      {"one interface of both families", "eth0",
       pod({{one, R"({"ipv4": ["racks"], "ipv6": ["racks-6"]})"}}), "eth0: racks racks-6"},
      {"the first interface of two", "eth0",
       pod({{ours, R"([{"ipv4": ["racks"]}, {"interface": "net1", "ipv4": ["storage"]}])"}}),
       "eth0: racks; net1: storage"},
      {"the second one is in the transaction, too", "net1",
       pod({{ours, R"([{"ipv4": ["racks"]}, {"interface": "net1", "ipv4": ["storage"]}])"}}),
       "net1: storage; eth0: racks"},
      {"an interface that the list does not have", "eth0",
       pod({{ours, R"([{"interface": "net1", "ipv4": ["storage"]}])"}}), "eth0: node"},
      {"a StatefulSet keeps its address", "eth0",
       pod({{one, R"({"ipv4": ["racks"]})"}}, "StatefulSet/db"),
       "eth0: racks (StatefulSet/shop/db/0/eth0)"},
      {"not in an overlay pool", "eth0", pod({{one, R"({"ipv4": ["wide"]})"}}, "StatefulSet/db"),
       "eth0: wide"},
      {"not out of the node's blocks", "eth0", pod({}, "StatefulSet/db"), "eth0: node"},
      {"pools of one kind, the first one's", "eth0",
       pod({{one, R"({"ipv4": ["racks", "wide", "storage"]})"}}), "eth0: racks storage"},
      {"exactly this one", "eth0",
       pod({{one, R"({"ipv4": ["racks", "storage"]})"}, {ip, R"(["10.2.0.7"])"}}),
       "eth0: storage=10.2.0.7"},
      {"exactly one that is in no pool", "eth0",
       pod({{one, R"({"ipv4": ["racks"]})"}, {ip, R"(["10.2.0.7"])"}}),
       "annotation ipam.tombolo.io/ip of pod shop/db-0: 10.2.0.7 is in no pool that annotation "
       "ipam.tombolo.io/ippool of pod shop/db-0 gives interface eth0"},
      {"exactly the gateway", "eth0",
       pod({{one, R"({"ipv4": ["racks"]})"}, {ip, R"(["10.1.0.1"])"}}),
       "annotation ipam.tombolo.io/ip of pod shop/db-0: 10.1.0.1 is in no pool that annotation "
       "ipam.tombolo.io/ippool of pod shop/db-0 gives interface eth0"},
      {"exactly one out of the node's blocks", "eth0", pod({{ip, R"(["10.1.0.7"])"}}),
       "annotation ipam.tombolo.io/ip of pod shop/db-0: 10.1.0.7 is in no pool that the node's own "
       "blocks gives interface eth0"},
      {"exactly one of an overlay", "eth0",
       pod({{one, R"({"ipv4": ["wide"]})"}, {ip, R"(["10.3.0.7"])"}}),
       "annotation ipam.tombolo.io/ip of pod shop/db-0: 10.3.0.7 is of the overlay pool 'wide', "
       "whose addresses belong to nodes"},
      {"a pool that is not there, of another interface", "eth0",
       pod({{ours, R"([{"ipv4": ["racks"]}, {"interface": "net1", "ipv4": ["x"]}])"}}),
       "annotation ipam.tombolo.io/ippools of pod shop/db-0: there is no pool 'x'"},
  }));
  CAPTURE(test.name);
  auto choices = choose_for_pod(catalog(), &test.info, question(test.interface));
  REQUIRE((choices ? text_of(*choices) : choices.error().what) == test.wanted);
}

TEST_CASE("a pod that nobody knows gets what fits everybody, or the node's blocks") {
  auto choices = choose_for_pod(catalog(), nullptr, question("eth0"));
  REQUIRE(text_of(choices.value()) == "eth0: node");
  PodQuestion configured = question("eth0");
  configured.configured_ipv4 = {"racks"};
  REQUIRE(text_of(choose_for_pod(catalog(), nullptr, configured).value()) == "eth0: racks");
}

}  // namespace
}  // namespace tombolo
