// Manifests: what they mean, and the exact complaint about each malformed one.
#include "servicesync/manifests/manifests.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

namespace tombolo::manifests {
namespace {

Objects read(std::string_view text) {
  auto objects = decode_objects(text, "web.yaml");
  INFO((objects ? std::string() : objects.error().what));
  REQUIRE(objects);
  return std::move(*objects);
}

TEST_CASE("a stream of documents and a list become objects; other kinds are counted") {
  Objects objects = read(R"(
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {team: a}}
---
apiVersion: v1
kind: List
items:
- apiVersion: v1
  kind: Pod
  metadata:
    name: web-0
    namespace: shop
    labels: {app: web}
    deletionTimestamp: "2026-01-01T00:00:00Z"
  spec:
    hostname: web-0
    subdomain: web
    serviceAccountName: clerk
    nodeName: n1
    containers:
    - name: c
      ports: [{name: http, containerPort: 8080}, {containerPort: 53, protocol: UDP}]
    initContainers:
    - {name: once, ports: [{name: setup, containerPort: 1}]}
    - {name: sidecar, restartPolicy: Always, ports: [{name: metrics, containerPort: 9100}]}
  status:
    podIPs: [{ip: 10.1.0.4}, {ip: "fd00::4"}]
    conditions: [{type: Ready, status: "False"}]
- apiVersion: networking.k8s.io/v1
  kind: NetworkPolicy
  metadata: {name: p}
---
apiVersion: serving.knative.dev/v1
kind: Service
metadata: {name: not-ours}
)");
  REQUIRE(objects.ignored == 2);
  REQUIRE(objects.namespaces.at(0).labels ==
          StringMap{{"kubernetes.io/metadata.name", "shop"}, {"team", "a"}});
  const Workload& pod = objects.pods.at(0);
  REQUIRE(pod.key() == "shop/web-0");
  REQUIRE(pod.terminating);
  REQUIRE_FALSE(pod.ready);
  REQUIRE(pod.service_account == "clerk");
  REQUIRE(pod.ips == std::vector<Ip>{*Ip::parse("10.1.0.4"), *Ip::parse("fd00::4")});
  REQUIRE(pod.ports == std::vector<NamedPort>{{"http", Protocol::kTcp, 8080},
                                              {"", Protocol::kUdp, 53},
                                              {"metrics", Protocol::kTcp, 9100}});
  REQUIRE(objects.lines.at("Pod shop/web-0") == 9);
}

TEST_CASE("a finished pod has no addresses and is not ready") {
  Objects objects = read(R"({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "job"},
    "status": {"phase": "Succeeded", "podIP": "10.0.0.1"}})");
  const Workload& pod = objects.pods.at(0);
  REQUIRE(pod.key() == "default/job");
  REQUIRE(pod.finished);
  REQUIRE_FALSE(pod.ready);
  REQUIRE(pod.ips.empty());
}

TEST_CASE("controllers describe the pods that are named after them") {
  Objects objects = read(R"(
apiVersion: apps/v1
kind: Deployment
metadata: {name: rebel-base}
spec:
  replicas: 0
  template:
    metadata: {labels: {name: rebel-base}}
    spec: {containers: [{name: c, ports: [{name: http, containerPort: 80}]}]}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec: {serviceName: db-peers, template: {metadata: {labels: {app: db}}}}
)");
  const PodTemplate& deployment = objects.templates.at(0);
  REQUIRE(deployment.replicas == 0);
  REQUIRE(deployment.pod.labels == StringMap{{"name", "rebel-base"}});
  REQUIRE(deployment.pod.ports.at(0).port == 80);
  REQUIRE(names_pod(deployment, "rebel-base-7d9f-x2"));
  REQUIRE_FALSE(names_pod(deployment, "rebel-base"));
  REQUIRE_FALSE(names_pod(deployment, "rebel-base-"));
  REQUIRE_FALSE(names_pod(deployment, "rebel-based-1"));
  const PodTemplate& stateful = objects.templates.at(1);
  REQUIRE(stateful.hostname_is_name);
  REQUIRE(stateful.pod.subdomain == "db-peers");
  REQUIRE(stateful.replicas == 1);
}

struct ServiceCase {
  std::string name;
  std::string spec;
  std::vector<std::string> cluster_ips;
  std::vector<Family> families;
  bool headless;
};

TEST_CASE("addresses and families of services") {
  auto c = GENERATE(values<ServiceCase>({
      {"nothing given", "ports: [{port: 80}]", {}, {}, false},
      {"a given address",
       "ports: [{port: 80}], clusterIP: 10.96.0.9",
       {"10.96.0.9"},
       {Family::kV4},
       false},
      {"two given",
       "ports: [{port: 80}], clusterIPs: ['fd00::9', 10.96.0.9]",
       {"fd00::9", "10.96.0.9"},
       {Family::kV6, Family::kV4},
       false},
      {"headless", "clusterIP: None", {}, {}, true},
      {"dual",
       "ports: [{port: 80}], ipFamilyPolicy: PreferDualStack",
       {},
       {Family::kV4, Family::kV6},
       false},
      {"dual, v6 first",
       "ports: [{port: 80}], ipFamilyPolicy: RequireDualStack, ipFamilies: [IPv6]",
       {},
       {Family::kV6, Family::kV4},
       false},
      {"single v6",
       "ports: [{port: 80}], ipFamilyPolicy: SingleStack, ipFamilies: [IPv6]",
       {},
       {Family::kV6},
       false},
      {"given and dual",
       "ports: [{port: 80}], ipFamilyPolicy: PreferDualStack, clusterIP: 10.96.0.9",
       {"10.96.0.9"},
       {Family::kV4, Family::kV6},
       false},
  }));
  INFO(c.name);
  Objects objects =
      read("apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {" + c.spec + "}");
  const Service& service = objects.services.at(0);
  std::vector<std::string> ips;
  for (const Ip& ip : service.cluster_ips) ips.push_back(ip.str());
  REQUIRE(ips == c.cluster_ips);
  REQUIRE(service.families == c.families);
  REQUIRE(service.headless == c.headless);
}

TEST_CASE("what a service says to clients outside") {
  auto load_balancer = [](const std::string& annotation, const std::string& spec) {
    return read("apiVersion: v1\nkind: Service\nmetadata: {name: web, annotations: {" + annotation +
                "}}\nspec: {type: LoadBalancer, ports: [{port: 80}]" + spec + "}")
        .services.at(0);
  };
  Service service = load_balancer("", "");
  REQUIRE(service.load_balancer_class.empty());
  REQUIRE(service.load_balancer_ip.empty());
  REQUIRE(service.source_ranges.empty());
  REQUIRE_FALSE(service.external_traffic_local);
  const std::string ranges = "service.beta.kubernetes.io/load-balancer-source-ranges: ";
  service = load_balancer(ranges + "'10.9.0.0/16'",
                          ", loadBalancerClass: tombolo.io/load-balancer, loadBalancerIP: 10.0.0.9,"
                          " externalTrafficPolicy: Local, loadBalancerSourceRanges: "
                          "[' 10.1.2.3/8', 'fd00::/8']");
  REQUIRE(service.load_balancer_class == "tombolo.io/load-balancer");
  REQUIRE(service.load_balancer_ip == "10.0.0.9");
  REQUIRE(service.external_traffic_local);
  REQUIRE(service.source_ranges ==
          std::vector<Prefix>{*Prefix::parse("10.0.0.0/8"), *Prefix::parse("fd00::/8")});
  service = load_balancer(ranges + "' 10.9.0.0/16, 192.0.2.1/32'", "");
  REQUIRE(service.source_ranges ==
          std::vector<Prefix>{*Prefix::parse("10.9.0.0/16"), *Prefix::parse("192.0.2.1/32")});
}

TEST_CASE("ports of a service: defaults, names and numbers") {
  Objects objects = read(R"(
apiVersion: v1
kind: Service
metadata: {name: web, creationTimestamp: "2026-01-02T03:04:05Z"}
spec:
  type: NodePort
  selector: {app: web}
  ports:
  - {name: http, port: 80, targetPort: 8080, nodePort: 30080}
  - {name: dns, port: 53, protocol: UDP, targetPort: dns-udp}
  - {name: same, port: 443}
)");
  const Service& service = objects.services.at(0);
  REQUIRE(service.created_unix_s == 1767323045);
  REQUIRE(service.type == ServiceType::kNodePort);
  REQUIRE(service.ports == std::vector<ServicePort>{{"http", Protocol::kTcp, 80, "", 8080, 30080},
                                                    {"dns", Protocol::kUdp, 53, "dns-udp", 0, 0},
                                                    {"same", Protocol::kTcp, 443, "", 443, 0}});
}

TEST_CASE("conditions of endpoints that are absent have the API's meaning") {
  Objects objects = read(R"(
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-1, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{name: http, port: 8080}]
endpoints:
- {addresses: [10.0.0.1]}
- {addresses: [10.0.0.2], conditions: {ready: false}}
- {addresses: [10.0.0.3], conditions: {ready: false, serving: true, terminating: true},
   hostname: a, nodeName: n, zone: z, targetRef: {kind: Pod, name: p}}
)");
  const EndpointSlice& slice = objects.endpoint_slices.at(0);
  REQUIRE(slice.service == "web");
  const auto& endpoints = slice.endpoints;
  REQUIRE((endpoints[0].ready && endpoints[0].serving && !endpoints[0].terminating));
  REQUIRE((!endpoints[1].ready && !endpoints[1].serving));
  REQUIRE((!endpoints[2].ready && endpoints[2].serving && endpoints[2].terminating));
  REQUIRE(endpoints[2].pod_name == "p");
  REQUIRE(endpoints[2].zone == "z");
}

TEST_CASE("kinds of other folders are decoded by what they hand in") {
  const std::string text = R"(
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: p, namespace: shop}
)";
  ForeignDecoders foreign;
  foreign.network_policy = [](const Cursor& root) -> Result<Policy> {
    TRY(name, root["metadata"]["name"].string());
    if (name == "bad") return root["metadata"]["name"].error("is bad");
    Policy policy;
    policy.name_space = "shop";
    policy.name = name;
    return policy;
  };
  auto objects = decode_objects(text, "web.yaml", foreign);
  REQUIRE(objects);
  REQUIRE(objects->policies.size() == 1);
  REQUIRE(objects->policies[0].key() == "NetworkPolicy/shop/p");
  REQUIRE(objects->ignored == 0);
  REQUIRE(objects->lines == std::map<std::string, int>{{"NetworkPolicy shop/p", 2}});
  REQUIRE(decode_objects(text + "---" + text, "web.yaml", foreign).error().what ==
          "web.yaml:6: NetworkPolicy shop/p stands twice, first in line 2");
  REQUIRE(decode_objects("apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata:\n"
                         "  name: bad",
                         "web.yaml", foreign)
              .error()
              .what == "web.yaml:4: metadata.name: is bad");
}

TEST_CASE("pools and reservations, ours and Spiderpool's, are another folder's") {
  ForeignDecoders foreign;
  foreign.pool_object = [](const Cursor& root) -> Result<PoolObject> {
    TRY(name, root["metadata"]["name"].string());
    TRY(kind, root["kind"].string());
    return PoolObject{PoolObjectKind::kPool, name, "", kind, false};
  };
  auto object = [](const char* version, const char* kind, const char* name) {
    return fmt::format("apiVersion: {}\nkind: {}\nmetadata: {{name: {}}}\n---\n", version, kind,
                       name);
  };
  std::string text = object("tombolo.io/v1alpha1", "IPPool", "a") +
                     object("tombolo.io/v1alpha1", "IPReservation", "b") +
                     object("spiderpool.spidernet.io/v2beta1", "SpiderIPPool", "c") +
                     object("spiderpool.spidernet.io/v2beta1", "SpiderReservedIP", "d") +
                     object("spiderpool.spidernet.io/v2beta1", "SpiderSubnet", "e");
  auto objects = decode_objects(text, "pools.yaml", foreign);
  REQUIRE(objects);
  std::vector<std::string> kinds;
  for (const PoolObject& pool : objects->pool_objects) kinds.push_back(pool.document);
  REQUIRE(kinds ==
          std::vector<std::string>{"IPPool", "IPReservation", "SpiderIPPool", "SpiderReservedIP"});
  REQUIRE(objects->ignored == 1);
  REQUIRE(decode_objects(text, "pools.yaml")->ignored == 5);
}

TEST_CASE("a virtual machine describes the pods that run it") {
  Objects objects = read(R"(
apiVersion: kubevirt.io/v1
kind: VirtualMachine
metadata: {name: vm, namespace: shop}
spec:
  runStrategy: Always
  template:
    metadata: {labels: {app: mail}, annotations: {a/b: c}}
    spec: {domain: {devices: {}}}
)");
  const PodTemplate& vm = objects.templates.at(0);
  REQUIRE(vm.key() == "shop/VirtualMachine/virt-launcher-vm");
  REQUIRE(names_pod(vm, "virt-launcher-vm-x2x4z"));
  REQUIRE(vm.pod.labels == StringMap{{"app", "mail"}, {"vm.kubevirt.io/name", "vm"}});
  REQUIRE(vm.pod.annotations == StringMap{{"a/b", "c"}});
  REQUIRE(vm.pod.owner == "VirtualMachineInstance/vm");
}

TEST_CASE("the owner of a pod is its controller; a ReplicaSet's is the Deployment's") {
  struct Case {
    std::string name;
    std::string references;
    std::string owner;
  };
  auto test = GENERATE(values<Case>({
      {"none", "[]", ""},
      {"not a controller", "[{kind: Node, name: n1}]", ""},
      {"StatefulSet", "[{kind: StatefulSet, name: db, controller: true}]", "StatefulSet/db"},
      {"Deployment", "[{kind: ReplicaSet, name: web-7d9f, controller: true}]", "Deployment/web"},
      {"ReplicaSet of another hash", "[{kind: ReplicaSet, name: web-1234, controller: true}]",
       "ReplicaSet/web-1234"},
      {"the second one",
       "[{kind: Node, name: n1}, {kind: VirtualMachineInstance, name: vm, controller: true}]",
       "VirtualMachineInstance/vm"},
  }));
  CAPTURE(test.name);
  auto objects = read(
      "apiVersion: v1\nkind: Pod\nmetadata: {name: p, labels: {pod-template-hash: 7d9f}, "
      "ownerReferences: " +
      test.references + "}");
  REQUIRE(objects.pods.at(0).owner == test.owner);
}

struct Malformed {
  std::string name;
  std::string text;
  std::string message;
};

void refuse(const Malformed& c) {
  INFO(c.name);
  auto objects = decode_objects(c.text, "web.yaml");
  REQUIRE_FALSE(objects);
  REQUIRE(objects.error().what == c.message);
}

TEST_CASE("malformed documents and pods are refused with their place") {
  auto c = GENERATE(values<Malformed>({
      {"not YAML", "a: [", "web.yaml:1: not valid YAML: end of sequence flow not found"},
      {"a scalar", "hello", "web.yaml:1: must be an object, is a string"},
      {"no kind", "apiVersion: v1", "web.yaml:1: kind: is required"},
      {"no apiVersion", "kind: Pod", "web.yaml:1: apiVersion: is required"},
      {"no metadata", "apiVersion: v1\nkind: Pod", "web.yaml:1: metadata: is required"},
      {"no name", "apiVersion: v1\nkind: Pod\nmetadata: {}",
       "web.yaml:3: metadata.name: is required"},
      {"upper-case name", "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: Shop",
       "web.yaml:4: metadata.name: 'Shop' is not an RFC 1123 label (lower-case letters, digits, "
       "'-', at most 63)"},
      {"bad namespace", "apiVersion: v1\nkind: Pod\nmetadata:\n  name: a\n  namespace: a_b",
       "web.yaml:5: metadata.namespace: 'a_b' is not an RFC 1123 label"},
      {"label that is no string",
       "apiVersion: v1\nkind: Pod\nmetadata:\n  name: a\n  labels:\n    on: true",
       "web.yaml:6: metadata.labels.on: must be a string, is a boolean"},
      {"label value", "apiVersion: v1\nkind: Pod\nmetadata:\n  name: a\n  labels:\n    x: 'a;b'",
       "web.yaml:6: metadata.labels.x: 'a;b' is not a label value"},
      {"container port 0",
       "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec:\n  containers:\n  - ports:\n    - "
       "containerPort: 0",
       "web.yaml:7: spec.containers[0].ports[0].containerPort: 0 is not from 1 to 65535"},
      {"port name too long",
       "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec:\n  containers:\n  - ports:\n    - "
       "{name: abcdefghijklmnop, containerPort: 1}",
       "web.yaml:7: spec.containers[0].ports[0].name: 'abcdefghijklmnop' is not a port name "
       "(lower-case letters, digits, '-', a letter at least, at most 15)"},
      {"pod address", "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nstatus: {podIP: 10.0.0.300}",
       "web.yaml:4: status.podIP: '10.0.0.300' is not an IPv4 or IPv6 address"},
      {"phase", "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nstatus: {phase: Dead}",
       "web.yaml:4: status.phase: 'Dead' is not one of Pending, Running, Succeeded, Failed, "
       "Unknown"},
      {"twice",
       "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n---\napiVersion: v1\nkind: Pod\nmetadata: "
       "{name: a}",
       "web.yaml:5: Pod default/a stands twice, first in line 1"},
      {"negative replicas",
       "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\nspec:\n  replicas: -1\n  "
       "template: {}",
       "web.yaml:5: spec.replicas: -1 is not from 0 to 2147483647"},
      {"inside a list",
       "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Pod\n  metadata: {name: A}",
       "web.yaml:6: items[0].metadata.name: 'A' is not an RFC 1123 subdomain (labels joined by "
       "dots, at most 253)"},
      {"creation time",
       "apiVersion: v1\nkind: Pod\nmetadata:\n  name: a\n  creationTimestamp: yesterday",
       "web.yaml:5: metadata.creationTimestamp: 'yesterday' is not an RFC 3339 time"},
  }));
  refuse(c);
}

TEST_CASE("malformed services are refused with their place") {
  auto c = GENERATE(values<Malformed>({
      {"no ports", "selector: {}", "spec.ports: at least one port is required"},
      {"port 65536", "ports: [{port: 65536}]", "spec.ports[0].port: 65536 is not from 1 to 65535"},
      {"port as text", "ports: [{port: '80'}]",
       "spec.ports[0].port: must be an integer, is a string"},
      {"protocol", "ports: [{port: 80, protocol: tcp}]",
       "spec.ports[0].protocol: 'tcp' is not one of TCP, UDP, SCTP"},
      {"unnamed among several", "ports: [{port: 80, name: a}, {port: 81}]",
       "spec.ports[1].name: is required when there are several ports"},
      {"same name", "ports: [{port: 80, name: a}, {port: 81, name: a}]",
       "spec.ports[1].name: 'a' stands twice"},
      {"same number", "ports: [{port: 80, name: a}, {port: 80, name: b}]",
       "spec.ports[1].port: TCP/80 stands twice"},
      {"target", "ports: [{port: 80, targetPort: UP}]",
       "spec.ports[0].targetPort: 'UP' is neither a port nor a port name"},
      {"clusterIP", "ports: [{port: 80}], clusterIP: 1.2.3",
       "spec.clusterIP: '1.2.3' is not an IPv4 or IPv6 address"},
      {"None and another", "clusterIP: None, clusterIPs: [None, 1.2.3.4]",
       "spec.clusterIPs: \"None\" stands alone"},
      {"clusterIPs differ", "ports: [{port: 80}], clusterIP: 1.2.3.4, clusterIPs: [1.2.3.5]",
       "spec.clusterIPs[0]: '1.2.3.5' differs from clusterIP '1.2.3.4'"},
      {"same family twice", "ports: [{port: 80}], clusterIPs: [1.2.3.4, 1.2.3.5]",
       "spec.clusterIPs[1]: a second IPv4 address"},
      {"family of the address", "ports: [{port: 80}], clusterIP: 1.2.3.4, ipFamilies: [IPv6]",
       "spec.ipFamilies[0]: 1.2.3.4 is no IPv6 address"},
      {"family twice", "ports: [{port: 80}], ipFamilies: [IPv4, IPv4]",
       "spec.ipFamilies[1]: IPv4 stands twice"},
      {"policy", "ports: [{port: 80}], ipFamilyPolicy: Dual",
       "spec.ipFamilyPolicy: 'Dual' is not one of SingleStack, PreferDualStack, RequireDualStack"},
      {"single with two",
       "ports: [{port: 80}], ipFamilyPolicy: SingleStack, ipFamilies: [IPv4, IPv6]",
       "spec.ipFamilyPolicy: SingleStack with two families"},
      {"type", "ports: [{port: 80}], type: Cluster",
       "spec.type: 'Cluster' is not one of ClusterIP, NodePort, LoadBalancer, ExternalName"},
      {"headless node port", "ports: [{port: 80}], type: NodePort, clusterIP: None",
       "spec.clusterIP: \"None\" is only for services of type ClusterIP"},
      {"external name", "type: ExternalName, externalName: 'a b'",
       "spec.externalName: 'a b' is not a DNS name"},
      {"external name with an address", "type: ExternalName, externalName: a.b, clusterIP: 1.2.3.4",
       "spec.clusterIP: an ExternalName service has no clusterIP"},
      {"class", "ports: [{port: 80}], type: LoadBalancer, loadBalancerClass: 'a b'",
       "spec.loadBalancerClass: 'a b' is not the name of a class"},
      {"class of a ClusterIP", "ports: [{port: 80}], loadBalancerClass: example.com/lb",
       "spec.loadBalancerClass: is only for services of type LoadBalancer"},
      {"source ranges of a ClusterIP",
       "ports: [{port: 80}], loadBalancerSourceRanges: [10.0.0.0/8]",
       "spec.loadBalancerSourceRanges: is only for services of type LoadBalancer"},
      {"source range",
       "ports: [{port: 80}], type: LoadBalancer, loadBalancerSourceRanges: [10.0.0.0/8, 10.0.0]",
       "spec.loadBalancerSourceRanges[1]: '10.0.0' has no prefix length (like 10.0.0.0/8)"},
      {"traffic policy", "ports: [{port: 80}], type: LoadBalancer, externalTrafficPolicy: local",
       "spec.externalTrafficPolicy: 'local' is not one of Cluster, Local"},
      {"selector", "ports: [{port: 80}], selector: {a: 'b=c'}",
       "spec.selector: 'a=b=c' is not a label"},
  }));
  c.text = "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {" + c.text + "}";
  c.message = "web.yaml:4: " + c.message;
  refuse(c);
}

TEST_CASE("malformed endpoint slices are refused with their place") {
  auto c = GENERATE(values<Malformed>({
      {"type", "addressType: FQDN", "addressType: 'FQDN' is not one of IPv4, IPv6"},
      {"no address", "addressType: IPv4\nendpoints: [{addresses: []}]",
       "endpoints[0].addresses: from 1 to 100 addresses"},
      {"other family", "addressType: IPv6\nendpoints: [{addresses: [10.0.0.1]}]",
       "endpoints[0].addresses[0]: 10.0.0.1 is no IPv6 address"},
      {"port", "addressType: IPv4\nports: [{port: 0}]", "ports[0].port: 0 is not from 1 to 65535"},
      {"port twice", "addressType: IPv4\nports: [{port: 1}, {port: 2}]",
       "ports[1].name: '' stands twice"},
      {"condition",
       "addressType: IPv4\nendpoints: [{addresses: [1.2.3.4], conditions: {ready: 1}}]",
       "endpoints[0].conditions.ready: must be true or false, is an integer"},
  }));
  auto line = c.text.find('\n') == std::string::npos ? 4 : 5;
  c.text = "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: web}\n" + c.text;
  c.message = fmt::format("web.yaml:{}: {}", line, c.message);
  refuse(c);
}

}  // namespace
}  // namespace tombolo::manifests
