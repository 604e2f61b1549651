// The plan in the store: applied once, compared and swapped, and never lost to a bad or deleted
// record.
#include "app/daemon/plan_keeper.h"

#include <catch2/catch_test_macros.hpp>

#include "core/records/records.h"
#include "core/store/drive.h"
#include "core/store/memory_kv.h"
#include "core/yaml.h"

namespace tombolo {
namespace {

struct World {
  Drive drive;
  std::unique_ptr<Clock> clock = make_system_clock();
  std::unique_ptr<Rng> rng = make_seeded_rng(1);
  TaskGroup tasks{drive.executor()};
  MemoryStore store{drive.executor()};
  MemoryKv kv{store};
  ControllerTables tables;
  PlanKeeper keeper{kv, tables.plan_blocks.take_writer("plan"), tasks, *clock, *rng, Logger()};

  void run() { tasks.spawn("plan", keeper.run()); }
  ~World() {
    tasks.cancel();
    drive.until([&] { return tasks.size() == 0; });
  }
  void write(std::string value) {
    Put put{std::string(records::kPlanKey), std::move(value), 0};
    REQUIRE(drive.run(kv.put(std::move(put))).has_value());
  }
};

Fleet fleet_of_nodes(int nodes) {
  std::string text = fmt::format(R"(
fleet: test
families: [ipv4]
regions: [{{name: here, cloud: on-prem}}]
address_space: [{{cidr: 10.0.0.0/8}}]
clusters: [{{name: east, id: 1, region: here, nodes: {}}}]
)",
                                 nodes);
  auto documents = parse_yaml(text, "fleet.yaml");
  REQUIRE(documents.has_value());
  auto fleet = parse_fleet(documents->front());
  INFO((fleet ? "" : fleet.error().what));
  REQUIRE(fleet.has_value());
  return *fleet;
}

TEST_CASE("a plan is applied once; a dry run and a second apply change nothing") {
  World world;
  world.run();
  auto dry = world.drive.run(world.keeper.apply(fleet_of_nodes(2), "ann", "first", true));
  REQUIRE_FALSE(dry.value().changes.empty());
  REQUIRE_FALSE(world.drive.run(world.kv.get(std::string(records::kPlanKey))).value().has_value());
  auto applied = world.drive.run(world.keeper.apply(fleet_of_nodes(2), "ann", "first", false));
  REQUIRE_FALSE(applied.value().changes.empty());
  REQUIRE(world.drive.until([&] { return world.keeper.current() != nullptr; }));
  REQUIRE(world.tables.plan_blocks.size() > 0);
  std::uint64_t revision = world.tables.plan_blocks.revision();
  auto again = world.drive.run(world.keeper.apply(fleet_of_nodes(2), "ann", "again", false));
  REQUIRE(again.value().changes.empty());
  REQUIRE(again.value().store_revision == applied.value().store_revision);
  REQUIRE(world.tables.plan_blocks.revision() == revision);
}

TEST_CASE("a record that is no plan keeps the last good one") {
  World world;
  world.run();
  REQUIRE(world.drive.run(world.keeper.apply(fleet_of_nodes(2), "ann", "", false)).has_value());
  REQUIRE(world.drive.until([&] { return world.tables.plan_blocks.size() > 0; }));
  std::size_t blocks = world.tables.plan_blocks.size();
  world.write("{");
  auto refused = world.drive.run(world.keeper.apply(fleet_of_nodes(3), "ann", "", false));
  REQUIRE_FALSE(refused.has_value());
  REQUIRE(refused.error().what.starts_with("tombolo/v1/plan/current: "));
  REQUIRE(world.tables.plan_blocks.size() == blocks);
}

TEST_CASE("a plan that cannot be read at the start is not 'no plan'") {
  World world;
  world.write("{}");
  world.run();
  REQUIRE(world.drive.until([&] { return world.keeper.follower().lists() > 0; }));
  REQUIRE_FALSE(world.tables.plan_blocks.synced());
}

TEST_CASE(
    "after its record was deleted, the plan that clusters live by is the one before the next") {
  World world;
  world.run();
  REQUIRE(world.drive.run(world.keeper.apply(fleet_of_nodes(2), "ann", "", false)).has_value());
  REQUIRE(world.drive.until([&] { return world.keeper.current() != nullptr; }));
  Delete erase{std::string(records::kPlanKey), ""};
  REQUIRE(world.drive.run(world.kv.erase(std::move(erase))).has_value());
  auto next = world.drive.run(world.keeper.apply(fleet_of_nodes(2), "ann", "", true));
  REQUIRE(next.value().changes.empty());
}

}  // namespace
}  // namespace tombolo
