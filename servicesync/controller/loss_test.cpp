// A cluster falls silent, and comes back: what its neighbours use, keep and remember.
#include <catch2/generators/catch_generators.hpp>

#include "servicesync/controller/world_fixture.h"

namespace tombolo::controller {
namespace {

const std::string kLocal = "default/local";
constexpr const char* kLocalService = R"(
apiVersion: v1
kind: Service
metadata: {name: local}
spec: {selector: {name: rebel-base}, ports: [{port: 81}]}
)";

struct Losing : Pair {
  void fill(const std::string& annotations = kGlobal) {
    start();
    for (Cluster* cluster : {&east, &west}) {
      cluster->life->apply("base.yaml", deployment(1));
      cluster->life->apply("service.yaml", service(annotations));
    }
    east.life->apply("local.yaml", kLocalService);
    REQUIRE(east.becomes(kBase, "10.1.0.1 10.2.0.1"));
    REQUIRE(east.becomes(kLocal, "10.1.0.1"));
    REQUIRE(stands(RemoteState::kReady));
  }
  bool stands(RemoteState state) {
    return fleet.drive.until([&] { return east.life->state_of("west") == state; }, 10s);
  }
  void cut() { east.life->wires["west"]->set_connected(false); }
  void mend() { east.life->wires["west"]->set_connected(true); }
  std::size_t cached() {
    RangeRequest request;
    request.key = "cilium/cache/";
    request.range_end = prefix_end(request.key);
    auto found = fleet.drive.run(east.kv.range(request));
    REQUIRE(found);
    return found->kvs.size();
  }
  void restart_east(bool connected) {
    Life& life = east.born();
    life.apply("base.yaml", deployment(1));
    life.apply("service.yaml", service(kGlobal));
    life.apply("local.yaml", kLocalService);
    life.link("west", 2, west.store, connected);
    life.attach("rebel-base-1", "e1", {ip_of("10.1.0.1")});
    east.start();
  }
};

TEST_CASE("a lost cluster leaves, keeps its records, and comes back without a hand") {
  Losing pair;
  pair.fill();
  std::size_t records = pair.cached();
  std::string local = fmt::format("{}{}", records::kFrontendsPrefix, kLocal);
  std::int64_t before = pair.east.store.revision();
  pair.east.life->reach("west", 3, 0);
  pair.cut();
  REQUIRE(pair.east.becomes(kBase, "10.1.0.1"));
  REQUIRE(pair.east.life->state_of("west") == RemoteState::kLost);
  REQUIRE(pair.cached() == records);
  auto explanation = pair.east.life->sync.explain("default", "rebel-base");
  REQUIRE(explanation);
  REQUIRE(std::ranges::any_of(explanation->candidates, [](const merge::Candidate& candidate) {
    return !candidate.used && candidate.reason == "west is lost";
  }));
  pair.mend();
  REQUIRE(pair.east.becomes(kBase, "10.1.0.1 10.2.0.1"));
  REQUIRE(pair.east.life->state_of("west") == RemoteState::kReady);
  // Nothing that is only local was written again.
  REQUIRE(pair.east.store.events_after(before, local, local + '\0').empty());
}

TEST_CASE("without its control plane a cluster is kept") {
  auto asked = GENERATE(0U, 3U);
  Losing pair;
  pair.fill();
  if (asked > 0) pair.east.life->reach("west", asked, 1);
  pair.cut();
  REQUIRE(pair.stands(RemoteState::kControlPlaneAway));
  REQUIRE(pair.east.backends(kBase) == "10.1.0.1 10.2.0.1");
  // Now its nodes fall silent, too, and answer again.
  pair.east.life->reach("west", 3, 0);
  REQUIRE(pair.east.becomes(kBase, "10.1.0.1"));
  pair.east.life->reach("west", 3, 2);
  REQUIRE(pair.east.becomes(kBase, "10.1.0.1 10.2.0.1"));
  REQUIRE(pair.east.life->state_of("west") == RemoteState::kControlPlaneAway);
}

TEST_CASE("a restart remembers who was lost") {
  Losing pair;
  pair.fill();
  pair.east.life->reach("west", 3, 0);
  pair.cut();
  REQUIRE(pair.east.becomes(kBase, "10.1.0.1"));
  REQUIRE(
      pair.fleet.drive.until([&] { return pair.east.value("tombolo/v1/remotes/west") == "lost"; }));
  std::size_t records = pair.cached();
  std::string key = fmt::format("{}{}", records::kFrontendsPrefix, kBase);
  std::int64_t before = pair.east.store.revision();
  pair.restart_east(false);
  REQUIRE(pair.fleet.drive.until([&] { return pair.east.life->tables.frontends.synced(); }));
  REQUIRE(pair.stands(RemoteState::kLost));
  REQUIRE(pair.cached() == records);
  // At no moment did the lost backends stand in the frontend.
  for (const WatchEvent& event : pair.east.store.events_after(before, key, key + '\0')) {
    auto row = records::decode_frontend(event.kv);
    REQUIRE(row);
    REQUIRE(row->backends.size() == 1);
  }
  pair.mend();
  REQUIRE(pair.east.becomes(kBase, "10.1.0.1 10.2.0.1"));
}

TEST_CASE("a restart keeps what was kept") {
  Losing pair;
  pair.fill();
  pair.cut();
  REQUIRE(pair.stands(RemoteState::kControlPlaneAway));
  REQUIRE(pair.fleet.drive.until(
      [&] { return pair.east.value("tombolo/v1/remotes/west") == "control plane away"; }));
  pair.restart_east(false);
  REQUIRE(pair.stands(RemoteState::kControlPlaneAway));
  REQUIRE(pair.east.becomes(kBase, "10.1.0.1 10.2.0.1"));
}

TEST_CASE("a service can ask that lost backends stay") {
  Losing pair;
  pair.fill(kGlobal + ", tombolo.io/on-loss: keep");
  pair.east.life->reach("west", 3, 0);
  pair.cut();
  REQUIRE(pair.stands(RemoteState::kLost));
  REQUIRE(pair.fleet.drive.until([&] { return pair.east.life->sync.idle(); }));
  REQUIRE(pair.east.backends(kBase) == "10.1.0.1 10.2.0.1");
  // The local word decides: the lost cluster asked for the same.
  pair.east.life->apply("service.yaml", service(kGlobal + ", tombolo.io/on-loss: drop"));
  REQUIRE(pair.east.becomes(kBase, "10.1.0.1"));
}

}  // namespace
}  // namespace tombolo::controller
