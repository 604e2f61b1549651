// The merge as tables: sharing, affinity, imports, conflicts, what is published, and the reasons.
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include "servicesync/merge/merge_fixture.h"

namespace tombolo::merge {
namespace {

const std::string kGlobal = "service.cilium.io/global";
const std::string kShared = "service.cilium.io/shared";
const std::string kAffinity = "service.cilium.io/affinity";
const std::string kNamespaceGlobal = "clustermesh.cilium.io/global";

struct SharingCase {
  std::string name;
  bool global;
  bool shared;
  bool namespace_global;
  bool remote_global;
  bool remote_shared;
  std::string used;
  bool published;
  std::string remote_reason;
};

TEST_CASE("c1 sees c2's backends when both are global and c2 shares") {
  const std::string both = "10.1.0.1 10.2.0.1";
  const std::string own = "10.1.0.1";
  auto c = GENERATE_COPY(values<SharingCase>({
      {"all", true, true, true, true, true, both, true, "in: ready"},
      {"not global here", false, true, true, true, true, own, false,
       "out: the service is not global in c1"},
      {"not global there", true, true, true, false, true, own, true,
       "out: the service is not global in c2"},
      {"not shared there", true, true, true, true, false, own, true,
       "out: c2 does not share the service"},
      {"not shared here: imports, exports nothing", true, false, true, true, true, both, false,
       "in: ready"},
      {"namespace not global here", true, true, false, true, true, own, false,
       "out: the namespace is not global in c1"},
  }));
  INFO(c.name);
  Fixture f;
  f.service.annotations = {{kGlobal, c.global ? "true" : "false"},
                           {kShared, c.shared ? "true" : "false"}};
  f.name_space.annotations = {{kNamespaceGlobal, c.namespace_global ? "true" : "false"}};
  f.add_local("10.1.0.1");
  cilium::ClusterService& remote = f.add_remote("10.2.0.1");
  remote.include_external = c.remote_global;
  remote.shared = c.remote_shared;
  Output output = f.run();
  REQUIRE(used(output) == c.used);
  REQUIRE(output.published.has_value() == c.published);
  REQUIRE(output.service_export.has_value() == c.published);
  REQUIRE(reason_of(output, "10.2.0.1") == c.remote_reason);
  REQUIRE(reason_of(output, "10.1.0.1") == "in: ready");
}

struct AffinityCase {
  std::string name;
  std::string affinity;
  std::string local;   // "ready", "terminating", "not ready", ""
  std::string remote;  // "ready", "terminating", "quarantined", ""
  std::string used;
  std::string local_reason;
  std::string remote_reason;
};

TEST_CASE("affinity over states") {
  const std::string term = "terminating: used only while no backend is ready";
  const std::string quarantined = "weight 0: known, gets no new connection";
  auto c = GENERATE_COPY(values<AffinityCase>({
      {"none", "none", "ready", "ready", "10.1.0.1 10.2.0.1", "in: ready", "in: ready"},
      {"none, gone here", "none", "", "ready", "10.2.0.1", "no candidate", "in: ready"},
      {"none, terminating here", "none", "terminating", "ready", "10.1.0.1 10.2.0.1", "in: " + term,
       "in: ready"},
      {"local", "local", "ready", "ready", "10.1.0.1", "in: ready",
       "out: affinity local: 1 ready here"},
      {"local, not ready here", "local", "not ready", "ready", "10.2.0.1", "out: not ready",
       "in: ready"},
      {"local, terminating here", "local", "terminating", "ready", "10.1.0.1 10.2.0.1",
       "in: " + term, "in: ready"},
      {"local, only quarantined there", "local", "terminating", "quarantined", "10.1.0.1",
       "in: " + term, "out: affinity local: none healthy in other clusters"},
      {"remote", "remote", "ready", "ready", "10.2.0.1",
       "out: affinity remote: 1 healthy in other clusters", "in: ready"},
      {"remote, terminating there", "remote", "ready", "terminating", "10.2.0.1",
       "out: affinity remote: 1 healthy in other clusters", "in: " + term},
      {"remote, quarantined there", "remote", "ready", "quarantined", "10.1.0.1 10.2.0.1",
       "in: ready", "in: " + quarantined},
      {"remote, gone there", "remote", "ready", "", "10.1.0.1", "in: ready", "no candidate"},
      {"unknown", "nearest", "ready", "ready", "10.1.0.1 10.2.0.1", "in: ready", "in: ready"},
  }));
  INFO(c.name);
  Fixture f;
  f.service.annotations = {{kGlobal, "true"}, {kAffinity, c.affinity}};
  if (!c.local.empty()) {
    SliceEndpoint& endpoint = f.add_local("10.1.0.1");
    endpoint.ready = c.local == "ready";
    endpoint.serving = c.local != "not ready";
    endpoint.terminating = c.local == "terminating";
  }
  cilium::ClusterService& remote = f.add_remote("");
  if (!c.remote.empty()) {
    Backend backend;
    backend.ip = ip_of("10.2.0.1");
    backend.port = 8080;
    backend.port_name = "http";
    backend.state = c.remote == "terminating"   ? BackendState::kTerminating
                    : c.remote == "quarantined" ? BackendState::kQuarantined
                                                : BackendState::kActive;
    cilium::set_backends(remote, {backend});
  }
  Output output = f.run();
  REQUIRE(used(output) == c.used);
  REQUIRE(reason_of(output, "10.1.0.1") == c.local_reason);
  REQUIRE(reason_of(output, "10.2.0.1") == c.remote_reason);
  REQUIRE(output.explanation.warnings.size() == (c.affinity == "nearest" ? 1 : 0));
  // What affinity keeps out here is still published to others.
  if (c.local == "ready") REQUIRE(output.published->backends.contains(ip_of("10.1.0.1")));
}

TEST_CASE("affinity means nothing for a service that is not global") {
  Fixture f;
  f.service.annotations = {{kAffinity, "remote"}};
  f.add_local("10.1.0.1");
  f.add_remote("10.2.0.1");
  REQUIRE(used(f.run()) == "10.1.0.1");
}

TEST_CASE("affinity means nothing in a namespace that is not global") {
  Fixture f;
  f.service.annotations = {{kGlobal, "true"}, {kAffinity, "remote"}};
  f.name_space.annotations = {{kNamespaceGlobal, "false"}};
  f.add_local("10.1.0.1");
  REQUIRE(used(f.run()) == "10.1.0.1");
}

TEST_CASE("backends fit by the name and protocol of their port") {
  Fixture f;
  f.service.annotations = {{kGlobal, "true"}};
  f.add_local("10.1.0.1", "admin");
  cilium::ClusterService& remote = f.add_remote("");
  remote.backends[ip_of("10.2.0.1")]["http"] = {Protocol::kUdp, 8080};
  remote.backends[ip_of("10.2.0.2")]["http"] = {Protocol::kTcp, 9999};
  Output output = f.run();
  REQUIRE(used(output) == "10.2.0.2");
  REQUIRE(reason_of(output, "10.1.0.1") == "out: the service has no TCP port named 'admin'");
  REQUIRE(reason_of(output, "10.2.0.1") == "out: the service has no UDP port named 'http'");
}

TEST_CASE("weights, quarantine and doubles") {
  Fixture f;
  f.service.annotations = {{kGlobal, "true"}};
  f.add_local("10.1.0.1");
  f.slices.back().annotations = {{"service.cilium.io/weight", "0"}};
  f.add_local("10.1.0.2");
  f.slices.back().annotations = {{"service.cilium.io/weight", "7"}};
  f.add_local("10.1.0.3");
  f.slices.back().annotations = {{"service.cilium.io/weight", "many"}};
  f.add_local("10.1.0.3").ready = false;  // the same address again, not ready
  Output output = f.run();
  const auto& backends = output.frontend->backends;
  REQUIRE(backends.size() == 3);
  REQUIRE(backends[0].state == BackendState::kQuarantined);
  REQUIRE(backends[1].weight == 7);
  REQUIRE(backends[2].weight == 100);
  REQUIRE(backends[2].state == BackendState::kActive);
  REQUIRE(output.explanation.warnings.size() == 1);
  // Cilium's part of the record has the active ones, ours has all.
  REQUIRE(output.published->backends.size() == 2);
  REQUIRE(cilium::backends_of(*output.published) == backends);
}

TEST_CASE("a remote that is excluded is out with its reason") {
  Fixture f;
  f.service.annotations = {{kGlobal, "true"}};
  f.add_remote("10.2.0.1");
  Input input = f.input();
  input.remotes[0].excluded = "c2 is lost for 7 s";
  REQUIRE(reason_of(merge(input), "10.2.0.1") == "out: c2 is lost for 7 s");
}

// ---- addresses

TEST_CASE("the oldest export's candidate is the clusterset address, in every cluster") {
  Fixture f;
  f.service.annotations = {{kGlobal, "true"}};
  f.service.families = {Family::kV4, Family::kV6};
  f.clusterset_ips = {ip_of("10.200.1.9"), ip_of("fd77::100:9")};
  cilium::ClusterService& c2 = f.add_remote("10.2.0.1");
  c2.extras.emplace().created_unix_s = 500;  // older than ours
  c2.extras->clusterset_ips = {ip_of("10.200.2.9")};
  cilium::ClusterService& c3 = f.add_remote("10.3.0.1", "c3", 3);
  c3.extras.emplace().created_unix_s = 100;  // the oldest, but not its own address
  c3.extras->clusterset_ips = {ip_of("10.200.2.77")};
  Output output = f.run();
  REQUIRE(output.frontend->clusterset_ips ==
          std::vector<Ip>{ip_of("10.200.2.9"), ip_of("fd77::100:9")});
  REQUIRE(output.explanation.exporters == std::vector<std::string>{"c3", "c2", "c1"});
  REQUIRE(output.explanation.warnings.size() == 1);
  REQUIRE(output.wants.clusterset_families == std::vector<Family>{Family::kV4, Family::kV6});
  REQUIRE(output.published->extras->clusterset_ips == f.clusterset_ips);
  // The same three exports, seen from c2.
  Fixture other = f;
  other.remotes.clear();
  other.remotes.push_back(*output.published);
  other.remotes.push_back(c3);
  other.service.created_unix_s = 500;
  other.clusterset_ips = {ip_of("10.200.2.9")};
  Input from_c2 = other.input();
  from_c2.cluster = "c2";
  from_c2.cluster_id = 2;
  REQUIRE(merge(from_c2).frontend->clusterset_ips == output.frontend->clusterset_ips);
}

TEST_CASE("of equally old exports the lowest cluster id wins") {
  Fixture f;
  f.service.annotations = {{kGlobal, "true"}};
  f.clusterset_ips = {ip_of("10.200.1.9")};
  cilium::ClusterService& c2 = f.add_remote("10.2.0.1");
  c2.extras.emplace().created_unix_s = 1000;
  c2.extras->clusterset_ips = {ip_of("10.200.2.9")};
  REQUIRE(f.run().frontend->clusterset_ips == std::vector<Ip>{ip_of("10.200.1.9")});
}

TEST_CASE("headless services have hostnames and no clusterset address") {
  Fixture f;
  f.service.annotations = {{kGlobal, "true"}};
  f.service.headless = true;
  f.service.cluster_ips.clear();
  f.service.ports.clear();
  f.add_local("10.1.0.1").hostname = "db-0";
  f.slices.back().ports.clear();
  Output output = f.run();
  REQUIRE(output.frontend->headless);
  REQUIRE(output.frontend->clusterset_ips.empty());
  REQUIRE(output.wants.clusterset_families.empty());
  REQUIRE(output.frontend->backends.at(0).hostname == "db-0");
  REQUIRE(output.frontend->backends.at(0).port == 0);
  REQUIRE(output.published->frontends.empty());
  REQUIRE(output.published->hostnames.at(ip_of("10.1.0.1")) == "db-0");
  REQUIRE(output.service_export->headless);
}

// ---- conflicts

TEST_CASE("differences between clusters are decided and told") {
  Fixture f;
  f.service.annotations = {{kGlobal, "true"}, {kAffinity, "local"}};
  cilium::ClusterService& c2 = f.add_remote("10.2.0.1");
  c2.extras.emplace().created_unix_s = 500;
  c2.extras->annotations = {
      {kGlobal, "true"}, {kAffinity, "remote"}, {"service.cilium.io/lb-algorithm", "maglev"}};
  c2.frontends[ip_of("10.97.0.1")]["metrics"] = {Protocol::kTcp, 9090};
  f.add_remote("10.3.0.1", "c3", 3);  // a Cilium cluster: tells no annotations
  Output output = f.run();
  std::map<std::string, Decision> by_property;
  for (const Decision& decision : output.explanation.decisions)
    by_property[decision.property] = decision;
  REQUIRE(by_property.size() == 3);
  const Decision& affinity = by_property.at("affinity");
  REQUIRE(affinity.value == "local");
  REQUIRE(affinity.winner == "c1");
  REQUIRE(affinity.rule == "this cluster's own setting decides here");
  using Said = std::vector<std::pair<std::string, std::string>>;
  REQUIRE(affinity.said == Said{{"c2", "remote"}, {"c1", "local"}});
  REQUIRE(by_property.at("lb-algorithm").value == "random");
  REQUIRE(by_property.at("ports").said == Said{{"c2", "http:TCP/80, metrics:TCP/9090"},
                                               {"c1", "http:TCP/80"},
                                               {"c3", "http:TCP/80"}});
}

// ---- imports

TEST_CASE("an import follows the oldest export") {
  Fixture f;
  f.has_service = false;
  f.imported_by = "namespace annotation";
  cilium::ClusterService& c2 = f.add_remote("10.2.0.1");
  c2.extras.emplace().created_unix_s = 500;
  c2.extras->annotations = {
      {kGlobal, "true"}, {kAffinity, "local"}, {"service.cilium.io/lb-algorithm", "maglev"}};
  c2.extras->clusterset_ips = {ip_of("10.200.2.9")};
  cilium::ClusterService& c3 = f.add_remote("10.3.0.1", "c3", 3);
  c3.frontends[ip_of("10.97.0.1")] = {{"http", {Protocol::kTcp, 8000}},
                                      {"https", {Protocol::kTcp, 443}}};
  Input input = f.input();
  input.import_ips = {ip_of("10.96.0.77")};
  Output output = merge(input);
  REQUIRE(output.frontend);
  REQUIRE(output.frontend->local);
  REQUIRE(output.frontend->exported);
  REQUIRE(output.frontend->cluster_ips == input.import_ips);
  REQUIRE(output.frontend->clusterset_ips == std::vector<Ip>{ip_of("10.200.2.9")});
  REQUIRE(output.frontend->selection == Selection::kMaglev);
  REQUIRE(output.frontend->ports ==
          std::vector<FrontendPort>{{"http", Protocol::kTcp, 80}, {"https", Protocol::kTcp, 443}});
  REQUIRE(used(output) == "10.2.0.1 10.3.0.1");
  REQUIRE(output.wants.import_families == std::vector<Family>{Family::kV4});
  REQUIRE_FALSE(output.published);
  REQUIRE(output.explanation.imported);
}

struct NoImportCase {
  std::string name;
  std::string imported_by;
  bool remote;
  bool remote_shared;
  bool namespace_global;
  std::string warning;
};

TEST_CASE("what is not imported has no frontend, and a reason") {
  auto c = GENERATE(values<NoImportCase>({
      {"nobody asked", "", true, true, true, ""},
      {"nobody exports", "command", false, true, true,
       "imported by command, but no cluster exports it"},
      {"not shared", "command", true, false, true,
       "imported by command, but no cluster exports it"},
      {"namespace not global", "command", true, true, false,
       "imported by command, but the namespace is not global in c1"},
  }));
  INFO(c.name);
  Fixture f;
  f.has_service = false;
  f.imported_by = c.imported_by;
  f.name_space.annotations = {{kNamespaceGlobal, c.namespace_global ? "true" : "false"}};
  if (c.remote) f.add_remote("10.2.0.1").shared = c.remote_shared;
  Output output = f.run();
  REQUIRE_FALSE(output.frontend);
  REQUIRE(output.wants == Wants{});
  REQUIRE(output.explanation.warnings ==
          (c.warning.empty() ? std::vector<std::string>{} : std::vector{c.warning}));
  if (c.remote) REQUIRE(reason_of(output, "10.2.0.1") == "out: not imported here");
}

TEST_CASE("an import does not touch a service that is here") {
  Fixture f;
  f.imported_by = "command";
  f.add_local("10.1.0.1");
  f.add_remote("10.2.0.1");
  Output output = f.run();
  REQUIRE(used(output) == "10.1.0.1");
  REQUIRE_FALSE(output.frontend->exported);
  REQUIRE(output.explanation.warnings ==
          std::vector<std::string>{
              "imported by command, but c1 has a service of this name: mark it global instead"});
}

TEST_CASE("an ExternalName service is a name and nothing else") {
  Fixture f;
  f.service.type = ServiceType::kExternalName;
  f.service.external_name = "example.com";
  f.service.annotations = {{kGlobal, "true"}};
  f.add_remote("10.2.0.1");
  Output output = f.run();
  REQUIRE(output.frontend->external_name == "example.com");
  REQUIRE(used(output).empty());
  REQUIRE_FALSE(output.published);
}

}  // namespace
}  // namespace tombolo::merge
