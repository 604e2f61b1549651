// Nodes that are gone for ever, over an in-memory store with the controller's own mirrors.
#include "app/daemon/node_forgetter.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include "app/daemon/block_assigner.h"
#include "app/daemon/node_presence.h"
#include "core/records/records.h"
#include "core/store/drive.h"
#include "core/store/memory_kv.h"
#include "core/store/mirror.h"
#include "servicesync/cilium/cilium.h"

namespace tombolo {
namespace {

using namespace std::chrono_literals;

MirrorOptions mirror_of(std::string_view prefix) {
  MirrorOptions options;
  options.follow.name = prefix;
  options.follow.prefix = prefix;
  return options;
}

Result<Node> decode_node(const KeyValue& kv) {
  cilium::Origin origin{"east", 1, 8};
  TRY(record, cilium::decode_node(kv.key, kv.key.substr(kv.key.rfind('/') + 1), kv.value, origin));
  return cilium::node_row_of(record);
}

// Before its n-th transaction from now on the agent of n1 is back.
class RevivingKv final : public MemoryKv {
 public:
  using MemoryKv::MemoryKv;
  asio::awaitable<Result<TxnResult>> txn(TxnRequest request) override {
    if (revives_before-- == 0) {
      Put alive{alive_key("n1"), "", 0};
      auto put = co_await MemoryKv::put(std::move(alive));
      REQUIRE(put);
    }
    co_return co_await MemoryKv::txn(std::move(request));
  }
  int revives_before = -1;
};

struct World {
  Drive drive;
  std::unique_ptr<Clock> clock = make_system_clock();
  std::unique_ptr<Rng> rng = make_seeded_rng(1);
  TaskGroup tasks{drive.executor()};
  MemoryStore store{drive.executor()};
  RevivingKv kv{store};
  ControllerTables tables;
  RoleContext context{kv, tasks, *clock, *rng, Logger()};
  Table<PlanBlock>::Writer plan = tables.plan_blocks.take_writer("test");
  KvMirror<NodeBlock> blocks =
      mirror(records::kBlocksPrefix, tables.node_blocks, records::decode_node_block);
  KvMirror<Node> nodes = mirror("cilium/state/nodes/v1/east/", tables.nodes, decode_node);
  KvMirror<Attachment> leases =
      mirror(records::kLeasesPrefix, tables.attachments, records::decode_attachment);
  KvMirror<AddressClaim> claims =
      mirror(records::kClaimsPrefix, tables.claims, records::decode_claim);
  KvMirror<PoolBlock> pool_blocks =
      mirror(records::kPoolBlocksPrefix, tables.pool_blocks, records::decode_pool_block);
  BlockAssigner assigner{"east", tables, tables.status.take_writer("reconcilers"), context};
  ClaimJanitor janitor{{}, kv, tasks, *clock, *rng, Logger()};
  NodeForgetter forgetter{{}, "east", tables, janitor, context};
  std::optional<NodePresence> presence;

  World() {
    plan.upsert({"east", BlockUse::kPod, Prefix::parse("10.1.0.0/22").value(), 24});
    plan.mark_synced();
    tasks.spawn("blocks", blocks.run());
    tasks.spawn("nodes", nodes.run());
    tasks.spawn("leases", leases.run());
    tasks.spawn("claims", claims.run());
    tasks.spawn("pool blocks", pool_blocks.run());
    tasks.spawn("assigner", assigner.run());
    tasks.spawn("janitor", janitor.run());
    REQUIRE(drive.until([&] { return janitor.synced() && tables.nodes.synced(); }));
  }
  ~World() {
    tasks.cancel();
    drive.until([&] { return tasks.size() == 0; });
  }
  template <class Row>
  KvMirror<Row> mirror(std::string_view prefix, Table<Row>& table,
                       typename KvMirror<Row>::Decode decode) {
    return KvMirror<Row>(mirror_of(prefix), kv, table.take_writer("store"), std::move(decode),
                         tasks, *clock, *rng, Logger());
  }

  void put(const std::string& key, const std::string& value) {
    REQUIRE(drive.run(kv.put({key, value, 0})));
  }
  bool has(const std::string& key) {
    auto found = drive.run(kv.get(key));
    REQUIRE(found);
    return found->has_value();
  }
  void add_node(const std::string& name, const std::string& ip) {
    Node node;
    node.cluster = "east";
    node.cluster_id = 1;
    node.name = name;
    node.internal_ips = {Ip::parse(ip).value()};
    put(cilium::keys::node("east", name), cilium::encode(cilium::node_record_of(node)));
  }
  // A pod with an address of the node's block and one of the pool "racks".
  void add_pod(const std::string& node, const std::string& host, const std::string& ip,
               const std::string& pooled, const std::string& identity) {
    Attachment attachment;
    attachment.container_id = "c-" + node;
    attachment.interface_name = "eth0";
    attachment.name_space = "shop";
    attachment.pod_name = "web";
    attachment.node = node;
    attachment.ips = {Ip::parse(ip).value()};
    put(records::attachment_key(attachment), records::encode(attachment));
    cilium::IpRecord record;
    record.ip = attachment.ips[0];
    record.host_ip = Ip::parse(host).value();
    record.identity = 5;
    put(cilium::keys::ip(record.ip), cilium::encode(record));
    AddressClaim claim;
    claim.pool = "racks";
    claim.ip = Ip::parse(pooled).value();
    claim.holder = attachment.key();
    claim.node = node;
    claim.pod = "shop/web";
    claim.identity = identity;
    claim.since_unix_ms = 1;
    put(records::claim_key(claim), records::encode(claim));
  }
  std::size_t blocks_of(const std::string& node) {
    std::size_t count = 0;
    for (const auto& [key, versioned] : tables.node_blocks.rows())
      count += versioned.row.node == node ? 1U : 0U;
    return count;
  }
  void fill() {
    add_node("n1", "172.18.0.1");
    add_node("n2", "172.18.0.2");
    REQUIRE(drive.until([&] { return blocks_of("n1") == 1 && blocks_of("n2") == 1; }));
    add_pod("n1", "172.18.0.1", "10.1.0.9", "172.18.41.40", "StatefulSet/shop/db/0/eth0");
    add_pod("n2", "172.18.0.2", "10.1.1.9", "172.18.41.41", "");
    PoolBlock block{"wide", Prefix::parse("10.60.0.0/26").value(), "n1", 1, 0, 0};
    put(records::pool_block_key(block), records::encode(block));
    REQUIRE(drive.until([&] {
      return tables.attachments.size() == 2 && tables.claims.size() == 2 &&
             tables.pool_blocks.size() == 1;
    }));
  }
};

TEST_CASE("node forget: everything that the node held, and nothing of another one") {
  World world;
  world.fill();
  auto held = world.forgetter.holdings("n1");
  REQUIRE(held);
  std::vector<std::string> lines;
  for (const NodeHolding& one : *held)
    lines.push_back(fmt::format("{} {} {}", to_string(one.kind), one.name, one.whose));
  REQUIRE(lines == std::vector<std::string>{
                       "address 172.18.41.40 shop/web, stays kept for StatefulSet/shop/db/0/eth0",
                       "pool block 10.60.0.0/26 ", "node block 10.1.0.0/24 ",
                       "interface c-n1/eth0 shop/web", "record cilium/state/nodes/v1/east/n1 "});
  auto given_up = world.drive.run(world.forgetter.forget("n1"));
  REQUIRE(given_up);
  REQUIRE(given_up->size() == 5);
  REQUIRE(world.drive.until([&] { return world.blocks_of("n1") == 0; }));
  REQUIRE_FALSE(world.has("tombolo/v1/block-owners/10.1.0.0/24"));
  REQUIRE_FALSE(world.has(cilium::keys::ip(Ip::parse("10.1.0.9").value())));
  REQUIRE(world.has(cilium::keys::ip(Ip::parse("10.1.1.9").value())));
  REQUIRE(world.drive.until([&] { return world.tables.attachments.size() == 1; }));
  REQUIRE(world.drive.until([&] {
    return world.tables.claims.find("racks/172.18.41.40")->kept() &&
           world.tables.pool_blocks.find("wide/10.60.0.0/26")->node.empty();
  }));
  REQUIRE(world.tables.claims.find("racks/172.18.41.41")->node == "n2");
  REQUIRE(world.drive.run(world.forgetter.forget("n1")).error().code == Code::kNotFound);
  // What was its block is the next node's.
  world.add_node("n3", "172.18.0.3");
  REQUIRE(world.drive.until([&] { return world.blocks_of("n3") == 1; }));
  REQUIRE(world.has("tombolo/v1/blocks/n3/10.1.0.0/24"));
}

TEST_CASE("node forget: an agent that comes back in the middle stops it") {
  int before = GENERATE(0, 1, 2, 3, 4, 5);
  World world;
  world.fill();
  world.kv.revives_before = before;
  auto stopped = world.drive.run(world.forgetter.forget("n1"));
  INFO("before transaction " << before);
  REQUIRE_FALSE(stopped);
  REQUIRE(stopped.error().code == Code::kFailedPrecondition);
  world.drive.settle();
  REQUIRE(world.blocks_of("n1") == 1);
  REQUIRE(world.has("tombolo/v1/block-owners/10.1.0.0/24"));
}

TEST_CASE("node forget: not while its agent lives") {
  World world;
  world.fill();
  world.presence.emplace("n1", world.context, 2s);
  world.presence->start();
  REQUIRE(world.drive.until([&] { return world.has(alive_key("n1")); }));
  auto refused = world.drive.run(world.forgetter.forget("n1"));
  REQUIRE(refused.error().code == Code::kFailedPrecondition);
  REQUIRE(world.blocks_of("n1") == 1);
  REQUIRE(world.tables.claims.find("racks/172.18.41.40")->held());
  // Another node is none of its business.
  REQUIRE(world.drive.run(world.forgetter.forget("n2")));
  REQUIRE(world.drive.until([&] { return world.blocks_of("n2") == 0; }));
}

TEST_CASE("node forget: what was cut in the middle is finished by the next call") {
  World world;
  world.fill();
  // As after the node's record went and the controller died.
  REQUIRE(world.drive.run(world.kv.erase({cilium::keys::node("east", "n1"), ""})));
  REQUIRE(world.drive.until([&] { return world.tables.nodes.size() == 1; }));
  REQUIRE(world.drive.run(world.forgetter.forget("n1")));
  REQUIRE(world.drive.until([&] { return world.blocks_of("n1") == 0; }));
  REQUIRE_FALSE(world.has(cilium::keys::ip(Ip::parse("10.1.0.9").value())));
}

TEST_CASE("node forget: a report of reach is a sign of life too") {
  World world;
  world.fill();
  world.put("tombolo/v1/reach/n1/west", "");
  REQUIRE(world.drive.run(world.forgetter.forget("n1")).error().code == Code::kFailedPrecondition);
}

}  // namespace
}  // namespace tombolo
