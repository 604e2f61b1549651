// Two clusters exchange a global service through their stores: the story of the demo.
#include "servicesync/controller/world_fixture.h"

namespace tombolo::controller {
namespace {

TEST_CASE("a global service is served by both clusters; scaled to zero and back") {
  Pair pair;
  pair.start();
  for (Cluster* cluster : {&pair.east, &pair.west}) {
    cluster->life->apply("base.yaml", deployment(1));
    cluster->life->apply("service.yaml", service(kGlobal));
  }
  REQUIRE(pair.east.becomes(kBase, "10.1.0.1 10.2.0.1"));
  REQUIRE(pair.west.becomes(kBase, "10.1.0.1 10.2.0.1"));
  pair.east.life->apply("base.yaml", deployment(0));
  REQUIRE(pair.east.becomes(kBase, "10.2.0.1"));
  REQUIRE(pair.west.becomes(kBase, "10.2.0.1"));
  pair.east.life->apply("base.yaml", deployment(1));
  REQUIRE(pair.east.becomes(kBase, "10.1.0.1 10.2.0.1"));
  REQUIRE(pair.west.becomes(kBase, "10.1.0.1 10.2.0.1"));

  // Both agree on one clusterset address, and each has a cluster address from its own plan.
  const Frontend* east = pair.east.life->frontend(kBase);
  const Frontend* west = pair.west.life->frontend(kBase);
  REQUIRE(pair.fleet.drive.until([&] {
    east = pair.east.life->frontend(kBase);
    west = pair.west.life->frontend(kBase);
    return east->clusterset_ips.size() == 1 && east->clusterset_ips == west->clusterset_ips;
  }));
  REQUIRE(Prefix::parse("10.200.0.0/16")->contains(east->clusterset_ips.front()));
  REQUIRE(Prefix::parse("10.101.0.0/16")->contains(east->cluster_ips.at(0)));
  REQUIRE(Prefix::parse("10.102.0.0/16")->contains(west->cluster_ips.at(0)));
  REQUIRE(east->exported);
  REQUIRE(pair.fleet.drive.until([&] {
    const RemoteCluster* row = pair.east.life->tables.remote_clusters.find("west");
    return row->connected && row->synced && row->error.empty();
  }));
}

TEST_CASE("not shared: imports, exports nothing") {
  Pair pair;
  pair.start();
  for (Cluster* cluster : {&pair.east, &pair.west})
    cluster->life->apply("base.yaml", deployment(1));
  pair.east.life->apply("service.yaml", service(kGlobal));
  pair.west.life->apply("service.yaml", service(kGlobal + ", io.cilium/shared-service: \"false\""));
  REQUIRE(pair.east.becomes(kBase, "10.1.0.1"));
  REQUIRE(pair.west.becomes(kBase, "10.1.0.1 10.2.0.1"));
  REQUIRE(pair.west.value("cilium/state/services/v1/west/default/rebel-base").empty());
  pair.west.life->apply("service.yaml", service(kGlobal));
  REQUIRE(pair.east.becomes(kBase, "10.1.0.1 10.2.0.1"));
  pair.west.life->apply("service.yaml", service("a: b"));
  REQUIRE(pair.east.becomes(kBase, "10.1.0.1"));
  REQUIRE(pair.west.becomes(kBase, "10.2.0.1"));
}

TEST_CASE("affinity in both spellings") {
  Pair pair;
  pair.start();
  for (Cluster* cluster : {&pair.east, &pair.west})
    cluster->life->apply("base.yaml", deployment(1));
  pair.east.life->apply("service.yaml", service(kGlobal + ", io.cilium/service-affinity: local"));
  pair.west.life->apply("service.yaml", service(kGlobal + ", service.cilium.io/affinity: remote"));
  REQUIRE(pair.east.becomes(kBase, "10.1.0.1"));
  REQUIRE(pair.west.becomes(kBase, "10.1.0.1"));
  // Nothing is left here: local fails over, and what remote used is gone.
  pair.east.life->detach("rebel-base-1");
  REQUIRE(pair.east.becomes(kBase, "10.2.0.1"));
  REQUIRE(pair.west.becomes(kBase, "10.2.0.1"));
  auto explanation = pair.east.life->sync.explain("default", "rebel-base");
  REQUIRE(explanation);
  REQUIRE(explanation->decisions.size() == 1);
  REQUIRE(explanation->decisions[0].property == "affinity");
  REQUIRE(explanation->decisions[0].winner == "east");
}

TEST_CASE("a namespace that is not global is left alone") {
  Pair pair;
  pair.start();
  for (Cluster* cluster : {&pair.east, &pair.west}) {
    cluster->life->apply("base.yaml", deployment(1));
    cluster->life->apply("service.yaml", service(kGlobal));
  }
  REQUIRE(pair.east.becomes(kBase, "10.1.0.1 10.2.0.1"));
  pair.west.life->apply("namespace.yaml", R"({"apiVersion": "v1", "kind": "Namespace",
    "metadata": {"name": "default", "annotations": {"clustermesh.cilium.io/global": "false"}}})");
  REQUIRE(pair.east.becomes(kBase, "10.1.0.1"));
  REQUIRE(pair.west.becomes(kBase, "10.2.0.1"));
}

TEST_CASE("a service that is only elsewhere is imported by name and follows its source") {
  Pair pair;
  pair.start();
  pair.east.life->apply("base.yaml", deployment(1));
  pair.east.life->apply("service.yaml", service(kGlobal));
  REQUIRE(pair.east.becomes(kBase, "10.1.0.1"));
  REQUIRE(pair.west.becomes(kBase, "-"));
  bool by_command = true;
  SECTION("by command") {
    REQUIRE(pair.fleet.drive.run(pair.west.life->sync.import_service("default", "rebel-base")));
  }
  SECTION("by annotation") {
    by_command = false;
    pair.west.life->apply("namespace.yaml", R"({"apiVersion": "v1", "kind": "Namespace",
      "metadata": {"name": "default", "annotations": {"tombolo.io/import": "*"}}})");
  }
  REQUIRE(pair.west.becomes(kBase, "10.1.0.1"));
  const Frontend* import = nullptr;
  REQUIRE(pair.fleet.drive.until([&] {
    import = pair.west.life->frontend(kBase);
    return import->cluster_ips.size() == 1 && import->clusterset_ips.size() == 1;
  }));
  REQUIRE(import->local);
  REQUIRE(import->exported);
  REQUIRE(Prefix::parse("10.102.0.0/16")->contains(import->cluster_ips[0]));
  REQUIRE(import->clusterset_ips == pair.east.life->frontend(kBase)->clusterset_ips);
  std::string record = "tombolo/v1/clusterips/default/rebel-base";
  REQUIRE_FALSE(pair.west.value(record).empty());
  // The source goes, comes back, and is taken back here.
  pair.east.life->apply("service.yaml", "");
  REQUIRE(pair.west.becomes(kBase, "-"));
  REQUIRE(pair.fleet.drive.until([&] { return pair.west.value(record).empty(); }));
  pair.east.life->apply("service.yaml", service(kGlobal));
  REQUIRE(pair.west.becomes(kBase, "10.1.0.1"));
  if (!by_command) return;
  REQUIRE(pair.fleet.drive.run(pair.west.life->sync.remove_import("default", "rebel-base")));
  REQUIRE(pair.west.becomes(kBase, "-"));
}

TEST_CASE("given slices win, with weights; terminating backends are told to the other cluster") {
  Pair pair;
  pair.start();
  pair.east.life->apply("base.yaml", deployment(1));
  pair.east.life->apply("service.yaml", service(kGlobal));
  pair.west.life->apply("service.yaml", service(kGlobal));
  REQUIRE(pair.west.becomes(kBase, "10.1.0.1"));
  pair.east.life->apply("slice.yaml", R"(
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: given
  labels: {kubernetes.io/service-name: rebel-base}
  annotations: {service.cilium.io/weight: "7"}
addressType: IPv4
ports: [{name: "", port: 8080}]
endpoints:
- {addresses: [10.1.0.8]}
- {addresses: [10.1.0.9], conditions: {ready: false, serving: true, terminating: true}}
)");
  REQUIRE(pair.west.becomes(kBase, "10.1.0.8"));
  REQUIRE(pair.east.becomes(kBase, "10.1.0.8"));
  const std::vector<Backend>& backends = pair.west.life->frontend(kBase)->backends;
  REQUIRE(backends.size() == 2);
  REQUIRE(backends[0].weight == 7);
  REQUIRE(backends[1].state == BackendState::kTerminating);
  pair.east.life->apply("slice.yaml", "");
  REQUIRE(pair.west.becomes(kBase, "10.1.0.1"));
}

TEST_CASE("a cluster that is linked anew keeps its backends until it has been listed") {
  Pair pair;
  pair.start();
  for (Cluster* cluster : {&pair.east, &pair.west}) {
    cluster->life->apply("base.yaml", deployment(1));
    cluster->life->apply("service.yaml", service(kGlobal));
  }
  REQUIRE(pair.east.becomes(kBase, "10.1.0.1 10.2.0.1"));
  auto wire = std::make_unique<MemoryKv>(pair.west.store);
  wire->set_connected(false);
  MemoryKv* west = wire.get();
  ControllerSync& sync = pair.east.life->sync;
  const auto& clusters = pair.east.life->tables.remote_clusters;
  SECTION("the same cluster through another connection") {
    REQUIRE(pair.fleet.drive.run(sync.replace_remote("west", 2, std::move(wire))));
    REQUIRE(pair.fleet.drive.until([&] {
      return !clusters.find("west")->connected && !clusters.find("west")->error.empty() &&
             sync.idle();
    }));
    REQUIRE(pair.east.becomes(kBase, "10.1.0.1 10.2.0.1"));
    pair.west.life->detach("rebel-base-1");
    west->set_connected(true);
    REQUIRE(pair.east.becomes(kBase, "10.1.0.1"));
  }
  SECTION("another cluster of the same name") {
    REQUIRE(pair.fleet.drive.run(sync.replace_remote("west", 3, std::move(wire))));
    REQUIRE(pair.east.becomes(kBase, "10.1.0.1"));
    REQUIRE(clusters.find("west")->id == 3);
  }
  SECTION("a cluster that was not linked") {
    REQUIRE(pair.fleet.drive.run(sync.remove_remote("west")));
    REQUIRE(pair.east.becomes(kBase, "10.1.0.1"));
    west->set_connected(true);
    REQUIRE(pair.fleet.drive.run(sync.replace_remote("west", 2, std::move(wire))));
    REQUIRE(pair.east.becomes(kBase, "10.1.0.1 10.2.0.1"));
  }
}

TEST_CASE("a cluster that leaves for good takes its backends along") {
  Pair pair;
  pair.start();
  for (Cluster* cluster : {&pair.east, &pair.west}) {
    cluster->life->apply("base.yaml", deployment(1));
    cluster->life->apply("service.yaml", service(kGlobal));
  }
  REQUIRE(pair.east.becomes(kBase, "10.1.0.1 10.2.0.1"));
  REQUIRE(pair.fleet.drive.run(pair.east.life->sync.remove_remote("west")));
  REQUIRE(pair.east.becomes(kBase, "10.1.0.1"));
  REQUIRE(pair.east.life->tables.remote_clusters.find("west") == nullptr);
  auto again = pair.fleet.drive.run(pair.east.life->sync.remove_remote("west"));
  REQUIRE_FALSE(again);
}

TEST_CASE("our own name or id, and a second link, are refused") {
  Pair pair;
  pair.start();
  ControllerSync& sync = pair.east.life->sync;
  auto kv = [&] { return std::make_unique<MemoryKv>(pair.west.store); };
  REQUIRE(sync.add_remote("east", 9, kv()).error().code == Code::kInvalidArgument);
  REQUIRE(sync.add_remote("other", 1, kv()).error().code == Code::kInvalidArgument);
  REQUIRE(sync.add_remote("west", 2, kv()).error().code == Code::kAlreadyExists);
}

}  // namespace
}  // namespace tombolo::controller
