// Records as the rows of policy; what must not become one is refused with its key.
#include <rapidcheck.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include "servicesync/cilium/cilium.h"

namespace tombolo::cilium {
namespace {

StringMap some_labels() {
  StringMap labels;
  for (const char* key : {"app", "role", "tier", "example.com/zone"})
    if (*rc::gen::arbitrary<bool>()) labels[key] = *rc::gen::element<std::string>("", "a", "b");
  return labels;
}

TEST_CASE("an identity's labels are taken apart as they were put together") {
  REQUIRE(rc::check("identity_row_of inverts identity_labels", [] {
    StringMap map = some_labels();
    StringMap of_namespace = some_labels();
    Workload pod;
    pod.name_space = *rc::gen::element<std::string>("stars", "client");
    pod.name = "web-0";
    pod.labels = map;
    pod.service_account = *rc::gen::element<std::string>("default", "clerk");
    // Through the text of the store, too.
    std::string text = encode_labels(identity_labels(pod, of_namespace, "west"));
    auto labels = decode_labels("key", text);
    RC_ASSERT(labels.has_value());
    Identity row = identity_row_of(131073, *labels);
    RC_ASSERT(row ==
              (Identity{131073, "west", pod.name_space, pod.service_account, map, of_namespace}));
  }));
}

TEST_CASE("labels of other sources are nobody's in a policy") {
  auto labels =
      decode_labels("key",
                    "k8s:app=web;container:x=y;k8s:io.cilium.k8s.policy.derived-from=z;"
                    "k8s:io.kubernetes.pod.namespace=shop;k8s:io.cilium.k8s.policy.cluster=west;");
  REQUIRE(labels);
  Identity row = identity_row_of(7, *labels);
  REQUIRE(row.labels == StringMap{{"app", "web"}});
  REQUIRE(row.name_space == "shop");
}

TEST_CASE("identities of any cluster: the number belongs to one, the labels name it") {
  const std::string labels =
      "k8s:io.cilium.k8s.policy.cluster=west;k8s:io.kubernetes.pod.namespace=a;";
  struct Case {
    std::string name;
    std::string number;
    std::string value;
    std::string error;
  };
  auto test = GENERATE_COPY(values<Case>({
      {"good", "131073", labels, ""},
      {"reserved", "255", labels, "key: 255 is no cluster's identity"},
      {"of cluster 0", "65535", labels, "key: 65535 is no cluster's identity"},
      {"another cluster's labels", "131073",
       "k8s:io.cilium.k8s.policy.cluster=east;k8s:io.kubernetes.pod.namespace=a;",
       "key: the label io.cilium.k8s.policy.cluster must be 'west'"},
      {"no namespace", "131073", "k8s:io.cilium.k8s.policy.cluster=west;",
       "key: the label io.kubernetes.pod.namespace is missing"},
      {"not a number", "131x", labels, "key: '131x' is not a number"},
  }));
  CAPTURE(test.name);
  auto row = decode_identity_row("key", test.number, test.value, {"west", 0, 8});
  REQUIRE(row.has_value() == test.error.empty());
  if (row)
    REQUIRE(row->key() == test.number);
  else
    REQUIRE(row.error().what == test.error);
}

TEST_CASE("an address has one owner; a range has none") {
  IpRecord record;
  record.ip = Ip::parse("10.2.0.17").value();
  record.host_ip = Ip::parse("192.0.2.1").value();
  record.identity = 131073;
  record.name_space = "shop";
  record.pod_name = "web-0";
  record.named_ports = {{"http", Protocol::kTcp, 80}};
  IpOwner owner = ip_owner_of("key", record, "west").value();
  REQUIRE(owner == (IpOwner{record.ip, 131073, "west", "shop", "web-0", record.host_ip,
                            record.named_ports}));
  record.prefix_length = 32;
  REQUIRE(ip_owner_of("key", record, "west").value() == owner);
  record.prefix_length = 24;
  REQUIRE(ip_owner_of("key", record, "west").error().what == "key: a range, not an address");
}

TEST_CASE("pods of a node, by the name in their key") {
  WorkloadRecord record{131073, "clerk", {{"http", Protocol::kTcp, 80}}};
  LocalPod pod = decode_local_pod("key", "shop/web-0", encode(record)).value();
  REQUIRE(pod == (LocalPod{"shop", "web-0", 131073, "clerk", record.named_ports}));
  auto name = GENERATE(as<std::string>(), "web", "/web", "shop/", "shop/web/0", "");
  REQUIRE(decode_local_pod("key", name, encode(record)).error().what ==
          "key: is not NAMESPACE/NAME");
}

}  // namespace
}  // namespace tombolo::cilium
