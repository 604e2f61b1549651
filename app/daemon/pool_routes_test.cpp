// Which addresses of pools are reached by which node.
#include "app/daemon/pool_routes.h"

#include <catch2/catch_test_macros.hpp>

#include "core/store/drive.h"
#include "core/store/memory_kv.h"

namespace tombolo {
namespace {

Prefix prefix(const char* text) {
  return Prefix::parse(text).value();
}

TEST_CASE("nodes are reached with their addresses of pools, but for those that are here") {
  Drive drive;
  std::unique_ptr<Clock> clock = make_system_clock();
  std::unique_ptr<Rng> rng = make_seeded_rng(1);
  MemoryStore store{drive.executor()};
  MemoryKv kv{store};
  TaskGroup tasks{drive.executor()};
  AgentTables tables;
  Settling settling;
  PoolRoutes routes("n1", tables, RoleContext{kv, tasks, *clock, *rng, Logger()});
  auto nodes = tables.nodes.take_writer("test");
  auto routed = tables.routed.take_writer("test");
  auto attachments = tables.attachments.take_writer("test");
  routes.start(settling);

  Node n1{"east", 1, "n1", {}, {prefix("10.0.0.0/24")}, {}, ""};
  Node n2{"east", 1, "n2", {}, {prefix("10.0.1.0/24")}, {}, ""};
  nodes.upsert(n1);
  nodes.upsert(n2);
  nodes.mark_synced();
  auto blocks_of = [&](const char* node) {
    const Node* row = routes.nodes().find(std::string("east/") + node);
    return row == nullptr ? std::vector<Prefix>() : row->pod_blocks;
  };
  using Blocks = std::vector<Prefix>;
  auto becomes = [&](const char* node, const Blocks& wanted) {
    return drive.until([&] { return blocks_of(node) == wanted; });
  };
  REQUIRE(becomes("n2", {prefix("10.0.1.0/24")}));
  REQUIRE_FALSE(routes.nodes().synced());

  routed.upsert({"n1", prefix("172.18.0.4/32")});
  routed.upsert({"n2", prefix("172.18.0.5/32")});
  routed.upsert({"n2", prefix("172.18.1.0/26")});
  routed.upsert({"gone", prefix("172.18.0.9/32")});
  routed.mark_synced();
  REQUIRE(becomes("n2", {prefix("10.0.1.0/24"), prefix("172.18.0.5/32"), prefix("172.18.1.0/26")}));
  REQUIRE(becomes("n1", {prefix("10.0.0.0/24")}));
  REQUIRE(routes.nodes().synced());

  // The pod comes here before its last node has said that it went.
  Attachment attachment;
  attachment.container_id = "c";
  attachment.interface_name = "eth0";
  attachment.ips = {Ip::parse("172.18.0.5").value()};
  attachments.upsert(attachment);
  REQUIRE(becomes("n2", {prefix("10.0.1.0/24"), prefix("172.18.1.0/26")}));
  attachments.erase("c/eth0");
  REQUIRE(becomes("n2", {prefix("10.0.1.0/24"), prefix("172.18.0.5/32"), prefix("172.18.1.0/26")}));
  tasks.cancel();
  drive.until([&] { return tasks.size() == 0; });
}

}  // namespace
}  // namespace tombolo
