// Node blocks over an in-memory store: given once, taken back from nodes after the store was lost,
// never doubled.
#include "app/daemon/block_assigner.h"

#include <catch2/catch_test_macros.hpp>

#include "core/records/records.h"
#include "core/store/drive.h"
#include "core/store/memory_kv.h"
#include "core/store/mirror.h"

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
  Table<PlanBlock>::Writer plan = tables.plan_blocks.take_writer("test");
  Table<Node>::Writer nodes = tables.nodes.take_writer("test");
  RoleContext context{kv, tasks, *clock, *rng, Logger()};
  KvMirror<NodeBlock> mirror{options(),
                             kv,
                             tables.node_blocks.take_writer("store"),
                             records::decode_node_block,
                             tasks,
                             *clock,
                             *rng,
                             Logger()};
  BlockAssigner assigner{"east", tables, tables.status.take_writer("reconcilers"), context};

  static MirrorOptions options() {
    MirrorOptions mirror;
    mirror.follow.name = "blocks";
    mirror.follow.prefix = records::kBlocksPrefix;
    return mirror;
  }
  World() {
    plan.upsert({"east", BlockUse::kPod, Prefix::parse("10.1.0.0/22").value(), 24});
    plan.mark_synced();
  }
  ~World() {
    tasks.cancel();
    drive.until([&] { return tasks.size() == 0; });
  }
  void add_node(const std::string& name, std::vector<Prefix> held = {}) {
    Node node;
    node.cluster = "east";
    node.name = name;
    node.pod_blocks = std::move(held);
    nodes.upsert(std::move(node));
  }
  void run() {
    nodes.mark_synced();
    tasks.spawn("mirror", mirror.run());
    tasks.spawn("assigner", assigner.run());
  }
  std::string block_of(const std::string& node) {
    std::string found;
    for (const auto& [key, versioned] : tables.node_blocks.rows())
      if (versioned.row.node == node)
        found += (found.empty() ? "" : " ") + versioned.row.prefix.str();
    return found;
  }
  bool settled(std::size_t blocks) {
    return tables.node_blocks.size() == blocks && assigner.idle();
  }
};

TEST_CASE("every node gets one block, in the order of names, durable before it is seen") {
  World world;
  world.add_node("n2");
  world.add_node("n1");
  world.run();
  REQUIRE(world.drive.until([&] { return world.settled(2); }));
  REQUIRE(world.block_of("n1") == "10.1.0.0/24");
  REQUIRE(world.block_of("n2") == "10.1.1.0/24");
  auto stored = world.drive.run(world.kv.get("tombolo/v1/blocks/n1/10.1.0.0/24"));
  REQUIRE(stored.value().has_value());
}

TEST_CASE("after the store was lost, a node keeps the block that it holds") {
  World world;
  world.add_node("n1");
  world.add_node("n9", {Prefix::parse("10.1.0.0/24").value()});
  world.run();
  REQUIRE(world.drive.until([&] { return world.settled(2); }));
  REQUIRE(world.block_of("n9") == "10.1.0.0/24");
  REQUIRE(world.block_of("n1") == "10.1.1.0/24");
}

TEST_CASE(
    "a block whose owner is written down is never given to another node, and does not stop the "
    "rest") {
  World world;
  Put guard{std::string(records::kBlockOwnersPrefix) + "10.1.0.0/24", "n7", 0};
  REQUIRE(world.drive.run(world.kv.put(std::move(guard))).has_value());
  world.add_node("n1");
  world.add_node("n2");
  world.run();
  REQUIRE(world.drive.until([&] { return world.settled(2); }));
  REQUIRE(world.block_of("n1") != "10.1.0.0/24");
  REQUIRE(world.block_of("n2") != "10.1.0.0/24");
  REQUIRE(world.block_of("n1") != world.block_of("n2"));
}

TEST_CASE("a full range is told in the status and takes nothing from anybody") {
  World world;
  for (const char* name : {"n1", "n2", "n3", "n4", "n5"}) world.add_node(name);
  world.run();
  REQUIRE(world.drive.until([&] { return world.settled(4); }));
  const ReconcileStatus* status = world.tables.status.find("node-blocks|");
  REQUIRE(status != nullptr);
  REQUIRE(status->state == ReconcileState::kError);
  REQUIRE(status->error.find("n5") != std::string::npos);
}

}  // namespace
}  // namespace tombolo
