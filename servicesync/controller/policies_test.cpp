// Policies from manifests to the store, and the labels by which they know pods.
#include "servicesync/cilium/cilium.h"
#include "servicesync/controller/world_fixture.h"

namespace tombolo::controller {
namespace {

const std::string kKey = "tombolo/v1/policies/NetworkPolicy/default/p";

std::string network_policy(const std::string& role) {
  return fmt::format(R"(
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {{name: p}}
spec: {{podSelector: {{matchLabels: {{name: {}}}}}}}
)",
                     role);
}

// The role that the stored policy governs; "" when there is none.
std::string stored_role(Cluster& cluster) {
  auto policy = records::decode_policy({kKey, cluster.value(kKey)});
  if (!policy || cluster.value(kKey).empty()) return "";
  return policy->subjects.requirements.at(0).values.at(0);
}

bool role_becomes(Cluster& cluster, const std::string& role) {
  return cluster.fleet.drive.until([&] { return stored_role(cluster) == role; }, 10s);
}

TEST_CASE("a policy comes into the store, changes, and goes") {
  Pair pair;
  Cluster& east = pair.east;
  Life& life = east.born();
  life.apply("p.yaml", network_policy("a"));
  east.start();
  REQUIRE(role_becomes(east, "a"));
  REQUIRE(life.tables.policies.writer_name() == "manifests");
  life.apply("p.yaml", network_policy("b"));
  REQUIRE(role_becomes(east, "b"));
  // A bad file keeps what it had.
  auto bad = manifests::decode_objects(
      "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: p}\nspec: 7",
      "p.yaml", foreign_decoders());
  life.sync.set_objects("p.yaml", bad);
  REQUIRE(pair.fleet.drive.until([&] { return !east.status("manifests|p.yaml").empty(); }));
  REQUIRE(east.status("manifests|p.yaml").starts_with("p.yaml:4: spec"));
  REQUIRE(stored_role(east) == "b");
  life.apply("p.yaml", "");
  REQUIRE(role_becomes(east, ""));
  REQUIRE(east.value(kKey).empty());
}

TEST_CASE("a restart removes no policy before every file was good once") {
  Pair pair;
  Cluster& east = pair.east;
  east.born().apply("p.yaml", network_policy("a"));
  east.start();
  REQUIRE(role_becomes(east, "a"));
  std::int64_t revision = east.store.revision();

  Life& life = east.born();
  life.sync.set_objects("p.yaml", manifests::decode_objects("kind: [", "p.yaml"));
  life.apply("other.yaml", service(kGlobal));
  east.start();
  REQUIRE(pair.fleet.drive.until([&] { return !east.status("manifests|p.yaml").empty(); }));
  REQUIRE(pair.fleet.drive.until([&] { return life.frontend(kBase) != nullptr; }));
  REQUIRE_FALSE(life.tables.policies.synced());
  REQUIRE(stored_role(east) == "a");
  REQUIRE(east.store.events_after(revision, kKey, kKey + '\0').empty());
  life.apply("p.yaml", "");
  REQUIRE(role_becomes(east, ""));
}

TEST_CASE("a pod's identity holds its namespace's labels and follows them") {
  Pair pair;
  Cluster& east = pair.east;
  Life& life = east.born();
  life.apply("base.yaml", deployment(1));
  life.attach("rebel-base-1", "e1", {ip_of("10.1.0.1")});
  east.start();
  auto labels_of_pod = [&]() -> StringMap {
    const Workload* pod = life.tables.workloads.find("default/rebel-base-1");
    if (pod == nullptr || pod->identity == 0) return {};
    std::string key = cilium::keys::identity(pod->identity);
    auto labels = cilium::decode_labels(key, east.value(key));
    return labels ? *labels : StringMap{};
  };
  const std::string prefix = "io.cilium.k8s.namespace.labels.";
  // No manifest of the namespace: what every namespace has.
  REQUIRE(pair.fleet.drive.until(
      [&] { return labels_of_pod()[prefix + "kubernetes.io/metadata.name"] == "default"; }));
  std::uint32_t first = life.tables.workloads.find("default/rebel-base-1")->identity;
  const std::string record = "tombolo/v1/workloads/e1/default/rebel-base-1";
  auto told_is = [&](std::uint32_t number) {
    auto told = cilium::decode_workload_record(record, east.value(record));
    return told && told->identity == number;
  };
  REQUIRE(pair.fleet.drive.until([&] { return told_is(first); }));
  std::int64_t revision = east.store.revision();
  auto name_space = [](const std::string& team) {
    return fmt::format(
        "apiVersion: v1\nkind: Namespace\nmetadata: {{name: default, labels: {{team: {}}}}}", team);
  };
  life.apply("ns.yaml", name_space("red"));
  REQUIRE(pair.fleet.drive.until([&] { return labels_of_pod()[prefix + "team"] == "red"; }));
  std::uint32_t red = life.tables.workloads.find("default/rebel-base-1")->identity;
  REQUIRE(red != first);
  life.apply("ns.yaml", name_space("blue"));
  REQUIRE(pair.fleet.drive.until([&] { return labels_of_pod()[prefix + "team"] == "blue"; }));
  std::uint32_t blue = life.tables.workloads.find("default/rebel-base-1")->identity;
  REQUIRE((blue != red && blue != first));
  // The agent is told, and was at no moment told that nothing is known of the pod.
  REQUIRE(pair.fleet.drive.until([&] { return told_is(blue); }));
  for (const WatchEvent& event : east.store.events_after(revision, record, record + '\0')) {
    auto told = cilium::decode_workload_record(record, event.kv.value);
    REQUIRE(told);
    REQUIRE(told->identity != 0);
  }
}

}  // namespace
}  // namespace tombolo::controller
