// Workloads from manifests, templates and attachments; slices from selectors.
#include "servicesync/derive/derive.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

namespace tombolo::derive {
namespace {

const Ip kOne = *Ip::parse("10.1.0.1");
const Ip kTwo = *Ip::parse("10.1.0.2");
const Ip kSix = *Ip::parse("fd00::1");

Attachment attached(std::vector<Ip> ips, std::string interface_name = "eth0") {
  Attachment attachment;
  attachment.container_id = "c";
  attachment.interface_name = std::move(interface_name);
  attachment.name_space = "shop";
  attachment.node = "n1";
  attachment.ips = std::move(ips);
  return attachment;
}

Workload pod(const std::string& name) {
  Workload result;
  result.name_space = "shop";
  result.name = name;
  result.labels = {{"app", "web"}};
  result.ready = true;
  return result;
}

manifests::PodTemplate deployment(const std::string& name) {
  manifests::PodTemplate result;
  result.kind = "Deployment";
  result.name = name;
  result.pod = pod("");
  result.pod.labels = {{"from", name}};
  return result;
}

struct JoinCase {
  std::string name;
  bool attached;
  bool ready_condition;
  bool finished;
  bool host_network;
  std::vector<Ip> ips;
  bool ready;
};

TEST_CASE("a manifest joins its attachment") {
  auto c = GENERATE(values<JoinCase>({
      {"attached", true, true, false, false, {kOne}, true},
      {"attached, not ready", true, false, false, false, {kOne}, false},
      {"not attached", false, true, false, false, {}, false},
      {"finished", true, true, true, false, {}, false},
      {"host network", false, true, false, true, {kTwo}, true},
  }));
  INFO(c.name);
  Workload manifest = pod("web-0");
  manifest.ips = {kTwo};  // what the file claims
  manifest.ready = c.ready_condition;
  manifest.finished = c.finished;
  manifest.host_network = c.host_network;
  Attachment attachment = attached({kOne});
  PodFacts facts;
  facts.manifest = &manifest;
  if (c.attached) facts.attachments.push_back(&attachment);
  auto workload = derive_workload("shop", "web-0", facts);
  REQUIRE(workload);
  REQUIRE(workload->ips == c.ips);
  REQUIRE(workload->ready == c.ready);
  REQUIRE(workload->node == (c.attached && !c.finished ? "n1" : ""));
}

TEST_CASE("eth0 is the pod's interface; the last change wins") {
  Attachment second = attached({kTwo}, "net1");
  Attachment old = attached({kSix});
  Attachment current = attached({kOne});
  REQUIRE(primary_attachment({&old, &second, &current}) == &current);
  REQUIRE(primary_attachment({&second}) == &second);
  REQUIRE(primary_attachment({}) == nullptr);
}

TEST_CASE("the template with the longest name describes a pod without a manifest") {
  manifests::PodTemplate web = deployment("web");
  manifests::PodTemplate api = deployment("web-api");
  Attachment attachment = attached({kOne});
  PodFacts facts{nullptr, {&web, &api}, {&attachment}};
  REQUIRE(derive_workload("shop", "web-api-1", facts)->labels == StringMap{{"from", "web-api"}});
  REQUIRE(derive_workload("shop", "web-1", facts)->labels == StringMap{{"from", "web"}});
  REQUIRE_FALSE(derive_workload("shop", "other-1", facts));
  facts.attachments.clear();
  REQUIRE_FALSE(derive_workload("shop", "web-1", facts));
}

TEST_CASE("scaled to zero, an attached pod is nobody's endpoint") {
  manifests::PodTemplate web = deployment("web");
  web.replicas = 0;
  Attachment attachment = attached({kOne});
  auto workload = derive_workload("shop", "web-1", {nullptr, {&web}, {&attachment}});
  REQUIRE(workload->terminating);
  REQUIRE_FALSE(workload->ready);
  Service service;
  service.name_space = "shop";
  service.name = "web";
  service.selector = {{"from", "web"}};
  service.families = {Family::kV4};
  service.ports = {{"", Protocol::kTcp, 80, "", 80, 0}};
  auto slices = compute_slices(service, {&*workload});
  REQUIRE(slices.size() == 1);
  const SliceEndpoint& endpoint = slices[0].endpoints.at(0);
  REQUIRE_FALSE((endpoint.ready || endpoint.serving));
}

TEST_CASE("a stateful set's pods have their name as hostname") {
  manifests::PodTemplate db = deployment("db");
  db.hostname_is_name = true;
  db.pod.subdomain = "db-peers";
  Attachment attachment = attached({kOne});
  auto workload = derive_workload("shop", "db-0", {nullptr, {&db}, {&attachment}});
  REQUIRE(workload->hostname == "db-0");
  REQUIRE(workload->subdomain == "db-peers");
}

Service selecting() {
  Service service;
  service.name_space = "shop";
  service.name = "web";
  service.selector = {{"app", "web"}};
  service.families = {Family::kV4, Family::kV6};
  service.ports = {{"http", Protocol::kTcp, 80, "web", 0, 0},
                   {"admin", Protocol::kTcp, 81, "", 9000, 0}};
  return service;
}

TEST_CASE("slices: per family and set of numbers, named targets resolved per pod") {
  Workload a = pod("a");
  a.ips = {kOne, kSix};
  a.ports = {{"web", Protocol::kUdp, 1}, {"web", Protocol::kTcp, 8080}};
  Workload b = pod("b");
  b.ips = {kTwo};
  b.ports = {{"web", Protocol::kTcp, 8081}};
  Workload other_label = pod("c");
  other_label.labels = {{"app", "api"}};
  other_label.ips = {kTwo};
  Workload elsewhere = pod("d");
  elsewhere.name_space = "other";
  elsewhere.ips = {kTwo};
  Workload gone = pod("e");
  gone.finished = true;
  auto slices = compute_slices(selecting(), {&gone, &elsewhere, &other_label, &b, &a});
  REQUIRE(slices.size() == 3);
  REQUIRE(slices[0].key() == "shop/web-ipv4-0");
  REQUIRE(slices[0].ports ==
          std::vector<NamedPort>{{"http", Protocol::kTcp, 8080}, {"admin", Protocol::kTcp, 9000}});
  REQUIRE(slices[0].endpoints.at(0).ips == std::vector<Ip>{kOne});
  REQUIRE(slices[1].ports.at(0).port == 8081);
  REQUIRE(slices[2].family == Family::kV6);
  REQUIRE(slices[2].endpoints.at(0).ips == std::vector<Ip>{kSix});
}

struct ConditionCase {
  std::string name;
  bool pod_ready;
  bool pod_terminating;
  bool publish_not_ready;
  bool ready;
  bool serving;
};

TEST_CASE("conditions of endpoints") {
  auto c = GENERATE(values<ConditionCase>({
      {"ready", true, false, false, true, true},
      {"not ready", false, false, false, false, false},
      {"terminating", true, true, false, false, true},
      {"terminating, not serving", false, true, false, false, false},
      {"published anyway", false, false, true, true, false},
  }));
  INFO(c.name);
  Workload a = pod("a");
  a.ips = {kOne};
  a.ready = c.pod_ready;
  a.terminating = c.pod_terminating;
  Service service = selecting();
  service.publish_not_ready = c.publish_not_ready;
  const SliceEndpoint endpoint = compute_slices(service, {&a}).at(0).endpoints.at(0);
  REQUIRE(endpoint.ready == c.ready);
  REQUIRE(endpoint.serving == c.serving);
  REQUIRE(endpoint.terminating == c.pod_terminating);
}

TEST_CASE("a hostname counts under the service that is the pod's subdomain") {
  Workload a = pod("a");
  a.ips = {kOne};
  a.hostname = "first";
  a.subdomain = "web";
  REQUIRE(compute_slices(selecting(), {&a}).at(0).endpoints.at(0).hostname == "first");
  a.subdomain = "other";
  REQUIRE(compute_slices(selecting(), {&a}).at(0).endpoints.at(0).hostname.empty());
}

TEST_CASE("no selector, no slices") {
  Workload a = pod("a");
  a.ips = {kOne};
  Service service = selecting();
  service.selector.clear();
  REQUIRE(compute_slices(service, {&a}).empty());
}

}  // namespace
}  // namespace tombolo::derive
