// Records of other clusters: byte for byte as Cilium writes them, and what is refused.
#include "servicesync/cilium/cilium.h"

#include <rapidcheck.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include "core/json.h"
#include "core/yaml.h"

namespace tombolo::cilium {
namespace {

const Origin kC2{"c2", 2, 8};

struct Sample {
  std::string key;
  std::string value;
};

std::vector<Sample> samples(const std::string& file) {
  auto text = read_file(fmt::format("{}/clustermesh/{}", TOMBOLO_TEST_DATA, file));
  REQUIRE(text);
  auto parsed = parse_json(*text);
  REQUIRE(parsed);
  std::vector<Sample> result;
  for (const json::value& entry : parsed->as_array())
    result.push_back(
        {std::string(entry.at("key").as_string()), std::string(entry.at("value").as_string())});
  REQUIRE(result.size() > 10);
  return result;
}

// Decodes and encodes one record of cluster `origin`, "" when the key is of no kind that has JSON.
std::string round_trip(const Sample& sample, const Origin& origin) {
  auto check = [&](auto decoded) {
    INFO((decoded ? std::string() : decoded.error().what));
    REQUIRE(decoded);
    return encode(*decoded);
  };
  for (RecordKind kind : kRecordKinds) {
    for (const std::string& prefix :
         {keys::state_prefix(origin.cluster, kind), keys::cache_prefix(origin.cluster, kind)}) {
      auto name = name_in_key(sample.key, prefix);
      if (!name) continue;
      REQUIRE(check_record(kind, sample.key, *name, sample.value, origin));
      switch (kind) {
        case RecordKind::kNodes:
          return check(decode_node(sample.key, *name, sample.value, origin));
        case RecordKind::kServices:
          return check(decode_service(sample.key, *name, sample.value, origin));
        case RecordKind::kIps:
          return check(decode_ip(sample.key, *name, sample.value, origin));
        case RecordKind::kServiceExports:
          return check(decode_service_export(sample.key, *name, sample.value, origin));
        case RecordKind::kIdentities:
          return encode_labels(*decode_identity(sample.key, *name, sample.value, origin));
      }
    }
  }
  if (sample.key.starts_with("cilium/cluster-config/"))
    return check(decode_cluster_config(sample.key, sample.value));
  auto time = decode_time(sample.key, sample.value);
  REQUIRE(time);
  return format_rfc3339(*time);
}

TEST_CASE("every record that Cilium wrote survives a round trip byte for byte") {
  for (const char* file :
       {"records.json", "c2-clustermesh-apiserver.json", "c1-kvstoremesh.json"}) {
    for (const Sample& sample : samples(file)) {
      INFO(sample.key);
      bool ours = sample.key.find("/c1/") != std::string::npos;
      Origin origin = ours ? Origin{"c1", 1, 8} : kC2;
      REQUIRE(round_trip(sample, origin) == sample.value);
    }
  }
}

TEST_CASE("keys are Cilium's") {
  REQUIRE(keys::cluster_config("c2") == "cilium/cluster-config/c2");
  REQUIRE(keys::synced("c2", RecordKind::kIps) == "cilium/synced/c2/cilium/state/ip/v1");
  REQUIRE(keys::synced_cache("c2", RecordKind::kServices) ==
          "cilium/synced/c2/cilium/cache/services/v1");
  REQUIRE(keys::state_prefix("c2", RecordKind::kIdentities) == "cilium/state/identities/v1/id/");
  REQUIRE(keys::state_prefix("c2", RecordKind::kIps) == "cilium/state/ip/v1/default/");
  REQUIRE(keys::cache_prefix("c2", RecordKind::kIdentities) == "cilium/cache/identities/v1/c2/id/");
  REQUIRE(keys::cache_prefix("c2", RecordKind::kIps) == "cilium/cache/ip/v1/c2/");
  REQUIRE(keys::service("c2", "shop", "web") == "cilium/state/services/v1/c2/shop/web");
  REQUIRE(keys::service_export("c2", "shop", "web") ==
          "cilium/state/serviceexports/v1/c2/shop/web");
  REQUIRE(keys::node("c2", "n") == "cilium/state/nodes/v1/c2/n");
  REQUIRE(keys::identity(135783) == "cilium/state/identities/v1/id/135783");
  REQUIRE(keys::ip(*Ip::parse("fd00:0::1")) == "cilium/state/ip/v1/default/fd00::1");
  REQUIRE(tombolo::keys::workload("n", "shop", "web-0") == "tombolo/v1/workloads/n/shop/web-0");
}

struct Refused {
  std::string name;
  RecordKind kind;
  std::string record;
  std::string value;
  std::string message;  // behind "KEY: "
};

const std::string kService = R"("cluster":"c2","namespace":"shop","name":"web","clusterID":2)";

TEST_CASE("malformed records are refused with their key") {
  auto c = GENERATE(values<Refused>({
      {"not JSON", RecordKind::kServices, "shop/web", "{", "not valid JSON: incomplete JSON"},
      {"a list", RecordKind::kServices, "shop/web", "[]", "must be an object, is a list"},
      {"another cluster", RecordKind::kServices, "shop/web",
       R"({"cluster":"c1","namespace":"shop","name":"web","clusterID":2})",
       "cluster: 'c1' where 'c2' must stand"},
      {"another id", RecordKind::kServices, "shop/web",
       R"({"cluster":"c2","namespace":"shop","name":"web","clusterID":7})",
       "clusterID: 7 where the cluster's configuration says 2"},
      {"no id", RecordKind::kServices, "shop/web",
       R"({"cluster":"c2","namespace":"shop","name":"web"})", "clusterID: is required"},
      {"another name", RecordKind::kServices, "shop/api", "{" + kService + "}",
       "name: shop/web lies under the key of shop/api"},
      {"backend address", RecordKind::kServices, "shop/web",
       "{" + kService + R"(,"backends":{"10.0.0.256":{}}})",
       "backends[\"10.0.0.256\"]: '10.0.0.256' is not an IPv4 or IPv6 address"},
      {"zone of an address", RecordKind::kServices, "shop/web",
       "{" + kService + R"(,"backends":{"fe80::1%eth0":{}}})",
       "backends.fe80::1%eth0: 'fe80::1%eth0' is not an IPv4 or IPv6 address"},
      {"address twice", RecordKind::kServices, "shop/web",
       "{" + kService + R"(,"hostnames":{"fd00::1":"a","fd00:0::1":"b"}})",
       "hostnames.fd00:0::1: fd00::1 stands twice"},
      {"protocol", RecordKind::kServices, "shop/web",
       "{" + kService + R"(,"frontends":{"10.0.0.1":{"http":{"Protocol":"ANY","Port":1}}}})",
       "frontends[\"10.0.0.1\"].http.Protocol: 'ANY' is not one of TCP, UDP, SCTP"},
      {"port", RecordKind::kServices, "shop/web",
       "{" + kService + R"(,"frontends":{"10.0.0.1":{"http":{"Protocol":"TCP","Port":70000}}}})",
       "frontends[\"10.0.0.1\"].http.Port: 70000 is not from 1 to 65535"},
      {"state of an extra backend", RecordKind::kServices, "shop/web",
       "{" + kService +
           R"(,"tombolo":{"backends":[{"ip":"10.0.0.1","protocol":"TCP","port":1,"state":"x"}]}})",
       "tombolo.backends[0].state: 'x' is not one of active, terminating, quarantined"},
      {"two candidates of a family", RecordKind::kServices, "shop/web",
       "{" + kService + R"(,"tombolo":{"clustersetIPs":["10.0.0.1","10.0.0.2"]}})",
       "tombolo.clustersetIPs[1]: a second IPv4 address"},
      {"node of another name", RecordKind::kNodes, "n1", R"({"Name":"n2"})",
       "Name: 'n2' where 'n1' must stand"},
      {"mask", RecordKind::kNodes, "n1",
       R"({"Name":"n1","Cluster":"c2","ClusterID":2,"IPv4AllocCIDR":{"IP":"10.0.0.0","Mask":"/wD/AA=="}})",
       "IPv4AllocCIDR.Mask: '/wD/AA==' is not the base64 of an IPv4 mask"},
      {"family of a block", RecordKind::kNodes, "n1",
       R"({"Name":"n1","Cluster":"c2","ClusterID":2,"IPv6AllocCIDR":{"IP":"10.0.0.0","Mask":"////AA=="}})",
       "IPv6AllocCIDR.IP: 10.0.0.0 is no IPv6 address"},
      {"address of another key", RecordKind::kIps, "10.0.0.2", R"({"IP":"10.0.0.1","ID":135783})",
       "IP: 10.0.0.1 lies under the key of 10.0.0.2"},
      {"identity of another cluster", RecordKind::kIps, "10.0.0.1",
       R"({"IP":"10.0.0.1","ID":70000})",
       "ID: 70000 is not an identity of cluster c2, which has 131072 to 196607"},
      {"number of another cluster", RecordKind::kIdentities, "70000", "k8s:a=b;",
       "70000 is not an identity of cluster c2, which has 131072 to 196607"},
      {"number", RecordKind::kIdentities, "0135783", "k8s:a=b;", "'0135783' is not a number"},
      {"labels", RecordKind::kIdentities, "135783", "k8s:a=b", "'k8s:a=b' is not ended by ';'"},
      {"no source", RecordKind::kIdentities, "135783", "a=b;", "'a=b' is not SOURCE:KEY=VALUE"},
      {"two sources", RecordKind::kIdentities, "135783", "k8s:a:b=c;",
       "'a:b' is no key of a Kubernetes label"},
      {"label twice", RecordKind::kIdentities, "135783", "k8s:a=b;k8s:a=c;", "'a' stands twice"},
      {"no labels", RecordKind::kIdentities, "135783", "", "no labels"},
      {"cluster label", RecordKind::kIdentities, "135783", "k8s:io.cilium.k8s.policy.cluster=c1;",
       "the label io.cilium.k8s.policy.cluster must be 'c2'"},
      {"export type", RecordKind::kServiceExports, "shop/web",
       R"({"cluster":"c2","namespace":"shop","name":"web","exportCreationTimestamp":"2025-03-01T12:00:00Z","type":"X"})",
       "type: 'X' is not one of ClusterSetIP, Headless"},
      {"export time", RecordKind::kServiceExports, "shop/web",
       R"({"cluster":"c2","namespace":"shop","name":"web","exportCreationTimestamp":"then"})",
       "exportCreationTimestamp: 'then' is not an RFC 3339 time"},
  }));
  INFO(c.name);
  std::string key = keys::state_prefix("c2", c.kind) + c.record;
  auto checked = check_record(c.kind, key, c.record, c.value, kC2);
  REQUIRE_FALSE(checked);
  REQUIRE(checked.error().what == key + ": " + c.message);
}

struct Incompatible {
  std::string name;
  ClusterConfig config;
  std::string message;  // "" when it fits
};

TEST_CASE("configurations that cannot be in one mesh with cluster 1 are refused") {
  auto c = GENERATE(values<Incompatible>({
      {"fits", {2, true, false, 255, true, ""}, ""},
      {"fits by default", {2, false, false, 0, {}, ""}, ""},
      {"both ways of services", {2, true, false, 255, true, "services-and-endpointslices"}, ""},
      {"zero", {0, true, false, 255, true, ""}, "id 0 is not from 1 to 255"},
      {"our own", {1, true, false, 255, true, ""}, "id 1 is this cluster's own"},
      {"another", {3, true, false, 255, true, ""}, "id 3 where the fleet says 2"},
      {"511",
       {2, true, false, 511, true, ""},
       "maxConnectedClusters 511 where this cluster has 255"},
      {"slices only",
       {2, true, false, 255, true, "endpointslices-only"},
       "publishes services only as EndpointSlices, which are not read"},
      {"unknown mode",
       {2, true, false, 255, true, "pigeons"},
       "endpointSlicesExportMode 'pigeons' is unknown"},
  }));
  INFO(c.name);
  auto fits = check_compatible("cilium/cluster-config/c2", c.config, kC2, 1);
  REQUIRE((fits ? std::string() : fits.error().what) ==
          (c.message.empty() ? "" : "cilium/cluster-config/c2: " + c.message));
}

TEST_CASE("identity ranges") {
  REQUIRE(first_identity(1, 8) == 65536);
  REQUIRE(last_identity(1, 8) == 131071);
  REQUIRE(last_identity(255, 8) == 16777215);
  REQUIRE(first_identity(1, 9) == 32768);
  REQUIRE(first_identity(511, 9) == 16744448);
}

TEST_CASE("a pod's identity labels leave out what a rollout changes and cannot be forged") {
  Workload pod;
  pod.name_space = "shop";
  pod.service_account = "clerk";
  pod.labels = {{"app", "web"},
                {"pod-template-hash", "7d9f"},
                {"io.cilium.k8s.policy.cluster", "other"},
                {"io.kubernetes.pod.namespace", "kube-system"}};
  REQUIRE(encode_labels(identity_labels(pod, {{"kubernetes.io/metadata.name", "shop"}}, "c2")) ==
          "k8s:app=web;k8s:io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name=shop;"
          "k8s:io.cilium.k8s.policy.cluster=c2;k8s:io.cilium.k8s.policy.serviceaccount=clerk;"
          "k8s:io.kubernetes.pod.namespace=shop;");
}

Backend arbitrary_backend() {
  Backend backend;
  backend.cluster = "c2";
  backend.ip = Ip::v4(*rc::gen::inRange<std::uint32_t>(0x0a000000, 0x0a000004));
  backend.port = *rc::gen::inRange<std::uint16_t>(80, 83);
  backend.port_name = *rc::gen::element<std::string>("", "http");
  backend.state = *rc::gen::element(BackendState::kActive, BackendState::kTerminating,
                                    BackendState::kQuarantined);
  backend.weight = *rc::gen::element<std::uint16_t>(0, 50, 100);
  // What belongs to the address, not to the port.
  backend.hostname = backend.ip.value() % 2 == 0 ? "even" : "";
  backend.node = backend.ip.value() % 3 == 0 ? "n" : "";
  backend.zone = backend.ip.value() % 3 == 1 ? "z" : "";
  return backend;
}

TEST_CASE("backends of every state and weight survive the record") {
  REQUIRE(rc::check("set_backends, encode, decode, backends_of", [] {
    std::map<std::tuple<Ip, std::string, Port>, Backend> unique;
    for (int i = *rc::gen::inRange(0, 12); i > 0; --i) {
      Backend backend = arbitrary_backend();
      unique[{backend.ip, backend.port_name, backend.port}] = backend;
    }
    std::vector<Backend> backends;
    for (const auto& [key, backend] : unique) backends.push_back(backend);
    std::ranges::sort(backends);
    ClusterService service;
    service.cluster = "c2";
    service.cluster_id = 2;
    service.name_space = "shop";
    service.name = "web";
    set_backends(service, backends);
    auto decoded = decode_service("k", "shop/web", encode(service), kC2);
    RC_ASSERT(decoded.has_value());
    RC_ASSERT(*decoded == service);
    RC_ASSERT(backends_of(*decoded) == backends);
    // Cilium sees the active ones only.
    for (const auto& [ip, ports] : decoded->backends)
      for (const auto& [name, number] : ports)
        RC_ASSERT(unique.at({ip, name, number.port}).state == BackendState::kActive);
  }));
}

}  // namespace
}  // namespace tombolo::cilium
