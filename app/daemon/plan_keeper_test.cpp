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

TEST_CASE("what was in force stays in the history and can be put back") {
  World world;
  world.run();
  std::vector<std::string> damaged;
  for (int nodes : {2, 40, 400})
    REQUIRE(
        world.drive
            .run(world.keeper.apply(fleet_of_nodes(nodes), "ann", fmt::format("{}", nodes), false))
            .has_value());
  auto first = world.drive.run(world.keeper.historic(1)).value();
  auto dry = world.drive.run(world.keeper.rollback(1, "bob", "no", true)).value();
  REQUIRE((dry.number == 4 && !dry.changes.empty()));
  auto back = world.drive.run(world.keeper.rollback(1, "bob", "too large", false)).value();
  REQUIRE(back.number == 4);
  REQUIRE(world.drive.until(
      [&] { return world.keeper.current() != nullptr && *world.keeper.current() == first.plan; }));
  auto history = world.drive.run(world.keeper.history(damaged)).value();
  REQUIRE((history.size() == 4 && damaged.empty()));
  REQUIRE((history[1].who == "ann" && history[1].reason == "40" && history[1].number == 2));
  REQUIRE((history[3].who == "bob" && history[3].restores == 1));
  REQUIRE(history[3].plan == first.plan);
  auto again = world.drive.run(world.keeper.rollback(1, "bob", "", false)).value();
  REQUIRE((again.number == 4 && again.changes.empty()));
  auto missing = world.drive.run(world.keeper.rollback(9, "bob", "", false));
  REQUIRE(missing.error().code == Code::kNotFound);
}

TEST_CASE("the fleet file is kept with its plan, and not where other clusters read") {
  World world;
  world.run();
  auto apply = [&](int nodes, const std::string& text, bool dry_run = false) {
    FleetText file;
    if (!text.empty()) file = {"fleet.yaml", text};
    auto applied =
        world.drive.run(world.keeper.apply(fleet_of_nodes(nodes), "ann", "", dry_run, file));
    return applied.value().number;
  };
  auto fleet_in_force = [&](std::int64_t number) {
    REQUIRE(world.drive.until(
        [&] { return world.keeper.record() && world.keeper.record()->number == number; }));
    return world.drive.run(world.keeper.in_force()).value().fleet.text;
  };
  REQUIRE(apply(2, "two") == 1);
  REQUIRE(fleet_in_force(1) == "two");
  REQUIRE(apply(2, "two, with a comment", true) == 1);
  REQUIRE(fleet_in_force(1) == "two");
  REQUIRE(apply(2, "two, with a comment") == 1);
  REQUIRE(fleet_in_force(1) == "two, with a comment");
  REQUIRE(apply(40, "forty") == 2);
  REQUIRE(fleet_in_force(2) == "forty");
  REQUIRE(world.drive.run(world.keeper.historic(1)).value().fleet.text == "two, with a comment");
  REQUIRE(world.drive.run(world.keeper.rollback(1, "bob", "", false)).value().number == 3);
  REQUIRE(fleet_in_force(3) == "two, with a comment");
  auto current = world.drive.run(world.kv.get(std::string(records::kPlanKey))).value();
  REQUIRE(current->value.find("fleet_file") == std::string::npos);
}

TEST_CASE("a plan of a version that stored no fleet file gets one when it is applied again") {
  World world;
  world.run();
  auto applied = world.drive.run(world.keeper.apply(fleet_of_nodes(2), "ann", "old", false));
  REQUIRE(applied.has_value());
  REQUIRE(world.drive.until([&] { return world.keeper.record() != nullptr; }));
  REQUIRE(world.drive.run(world.keeper.in_force()).value().fleet.text.empty());
  FleetText file{"fleet.yaml", "two"};
  auto again = world.drive.run(world.keeper.apply(fleet_of_nodes(2), "bob", "new", false, file));
  REQUIRE(again.value().changes.empty());
  PlanRecord record = world.drive.run(world.keeper.in_force()).value();
  REQUIRE((record.fleet == file && record.who == "ann" && record.number == 1));
}

TEST_CASE("the history is bounded, and a plan from before it enters with the next one") {
  World world;
  world.run();
  Plan old = make_plan(fleet_of_nodes(2), nullptr).value();
  world.write(to_json(plan_to_json(old)));
  REQUIRE(world.drive.until([&] { return world.keeper.current() != nullptr; }));
  for (int nodes = 3; nodes < 3 + kKeptPlans + 5; ++nodes)
    REQUIRE(world.drive.run(world.keeper.apply(fleet_of_nodes(nodes), "ann", "", false))
                .value()
                .number == nodes - 1);
  std::vector<std::string> damaged;
  auto history = world.drive.run(world.keeper.history(damaged)).value();
  REQUIRE(history.size() == std::size_t{kKeptPlans});
  REQUIRE(history.back().number == kKeptPlans + 6);
  REQUIRE(history.front().number == 7);
}

TEST_CASE("a number is never given twice, whatever was deleted") {
  World world;
  REQUIRE(world.drive.run(world.keeper.apply(fleet_of_nodes(2), "ann", "", false)).has_value());
  REQUIRE(world.drive.run(world.keeper.apply(fleet_of_nodes(9), "ann", "", false)).has_value());
  Delete erase{std::string(records::kPlanKey), ""};
  REQUIRE(world.drive.run(world.kv.erase(std::move(erase))).has_value());
  auto next = world.drive.run(world.keeper.apply(fleet_of_nodes(3), "ann", "", false)).value();
  REQUIRE(next.number == 3);
}

TEST_CASE("a damaged record of the history is named, and hides nothing else") {
  World world;
  world.run();
  REQUIRE(world.drive.run(world.keeper.apply(fleet_of_nodes(2), "ann", "", false)).has_value());
  Put put{plan_history_key(7), "{\"version\": 1", 0};
  REQUIRE(world.drive.run(world.kv.put(std::move(put))).has_value());
  std::vector<std::string> damaged;
  auto history = world.drive.run(world.keeper.history(damaged)).value();
  REQUIRE(history.size() == 1);
  REQUIRE(damaged.size() == 1);
  REQUIRE(damaged[0].starts_with("tombolo/v1/plan-history/0000000007: "));
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

TEST_CASE("a plan that something speaks against is not put in force, nor said to be possible") {
  World world;
  world.run();
  world.keeper.check_with([](const Plan&) -> Result<void> {
    return fail(Code::kFailedPrecondition, "there is a pool");
  });
  for (bool dry_run : {true, false}) {
    auto applied = world.drive.run(world.keeper.apply(fleet_of_nodes(2), "ann", "first", dry_run));
    REQUIRE_FALSE(applied.has_value());
    REQUIRE(applied.error().what == "there is a pool");
  }
  REQUIRE_FALSE(world.drive.run(world.kv.get(std::string(records::kPlanKey))).value().has_value());
}

}  // namespace
}  // namespace tombolo
