// What the choice of a pool asks of a pod follows its manifests, its controller's and its
// namespace's.
#include "servicesync/controller/world_fixture.h"

namespace tombolo::controller {
namespace {

constexpr const char* kManifests = R"(
apiVersion: v1
kind: Namespace
metadata:
  name: shop
  labels: {team: blue}
  annotations: {ipam.spidernet.io/default-ipv4-ippool: '["racks"]'}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db, namespace: shop}
spec:
  replicas: 3
  ordinals: {start: 10}
  serviceName: db
  template:
    metadata: {labels: {app: db}, annotations: {ipam.tombolo.io/fixed: "true"}}
    spec: {containers: []}
---
apiVersion: v1
kind: Pod
metadata:
  name: web-7d9f-x2x
  namespace: shop
  labels: {app: web, pod-template-hash: 7d9f}
  ownerReferences: [{kind: ReplicaSet, name: web-7d9f, controller: true}]
---
apiVersion: v1
kind: Pod
metadata: {name: done, namespace: shop}
status: {phase: Succeeded}
---
apiVersion: v1
kind: Pod
metadata: {name: lone, namespace: elsewhere}
)";

TEST_CASE("pods, controllers and namespaces tell what the choice of a pool needs") {
  Fleet fleet;
  MemoryStore store(fleet.drive.executor());
  ControllerSettings settings;
  settings.cluster = "east";
  settings.cluster_id = 1;
  Life life(fleet, settings, store);
  life.sync.start();
  life.attachments_synced();
  life.set_plan({});
  life.apply("a.yaml", kManifests);
  const Table<PodInfo>& infos = life.tables.pod_infos;
  REQUIRE(fleet.drive.until([&] { return infos.synced() && infos.size() == 3; }));

  const PodInfo* db = infos.find("shop/db/StatefulSet");
  REQUIRE(db != nullptr);
  REQUIRE(db->owner == "StatefulSet/db");
  REQUIRE(db->replicas == 13);  // one more than the last ordinal
  REQUIRE(db->labels == StringMap{{"app", "db"}});
  REQUIRE(db->annotations == StringMap{{"ipam.tombolo.io/fixed", "true"}});
  REQUIRE(db->namespace_labels.at("team") == "blue");
  REQUIRE(db->namespace_annotations.at("ipam.spidernet.io/default-ipv4-ippool") == R"(["racks"])");
  REQUIRE(infos.find("shop/web-7d9f-x2x/Pod")->owner == "Deployment/web");
  const PodInfo* lone = infos.find("elsewhere/lone/Pod");
  REQUIRE(lone->namespace_labels == StringMap{{"kubernetes.io/metadata.name", "elsewhere"}});
  REQUIRE(lone->owner.empty());

  life.apply("b.yaml",
             "apiVersion: v1\nkind: Namespace\nmetadata: {name: elsewhere, labels: {a: b}}");
  REQUIRE(fleet.drive.until(
      [&] { return infos.find("elsewhere/lone/Pod")->namespace_labels.contains("a"); }));
  life.apply("a.yaml", "");
  REQUIRE(fleet.drive.until([&] { return infos.size() == 0; }));
}

}  // namespace
}  // namespace tombolo::controller
