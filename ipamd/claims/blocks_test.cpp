// Blocks of overlay pools: which one comes next, and nodes that claim and release them.
#include <rapidcheck.h>

#include <catch2/catch_test_macros.hpp>

#include "core/store/memory_kv.h"
#include "ipamd/claims/internal.h"
#include "ipamd/claims/test_nodes.h"

namespace tombolo {
namespace {

using namespace claims_test;

Prefix prefix(const std::string& text) {
  return Prefix::parse(text).value();
}

ClaimPool overlay(const std::string& first, const std::string& last, int length = 26) {
  ClaimPool pool{"overlay", {range(first, last)}, length, {0, 0}};
  pool.block_idle = 0s;
  return pool;
}

TEST_CASE("blocks: ranges are cut into blocks, each once") {
  // The gateway is excluded in the middle of a block.
  ClaimPool pool = overlay("10.4.0.1", "10.4.0.9");
  pool.ranges.push_back(range("10.4.0.11", "10.4.0.130"));
  pool.ranges.push_back(range("10.4.9.0", "10.4.9.5"));
  BlockSpace space = BlockSpace::make(pool).value();
  REQUIRE(space.size() == 4);
  REQUIRE(space.at(0) == prefix("10.4.0.0/26"));
  REQUIRE(space.at(2) == prefix("10.4.0.128/26"));
  REQUIRE(space.at(3) == prefix("10.4.9.0/26"));
  REQUIRE(space.contains(prefix("10.4.0.64/26")));
  REQUIRE_FALSE(space.contains(prefix("10.4.0.192/26")));
  REQUIRE_FALSE(space.contains(prefix("10.4.0.0/27")));
  pool.ranges = {range("fd00::1", "fd00:0:ffff::")};
  pool.block_length = 120;
  // More than can be counted are as many as can.
  REQUIRE(BlockSpace::make(pool).value().size() == 1ULL << 60);
  pool.ranges = {range("10.4.0.0", "10.4.0.255")};
  REQUIRE(BlockSpace::make(pool).error().code == Code::kInvalidArgument);
}

TEST_CASE("blocks: the one that is chosen is free, and exists while one does") {
  REQUIRE(rc::check("choose_block", [] {
    ClaimPool pool = overlay("10.4.0.0", "10.4.3.255");  // 16 blocks
    BlockSpace space = BlockSpace::make(pool).value();
    std::map<Prefix, PoolBlock> records;
    std::set<Prefix> pending;
    std::size_t free = 0;
    bool rested = false;
    for (std::uint64_t i = 0; i < space.size(); ++i) {
      int state = *rc::gen::inRange(0, 4);
      Prefix block = space.at(i);
      if (state == 0) ++free;
      if (state == 1) pending.insert(block);
      if (state == 2) records[block] = {"overlay", block, "n1", 1, 0, 1};
      if (state == 3) {
        std::int64_t released = *rc::gen::inRange(0, 1000);
        records[block] = {"overlay", block, "", 0, released, 1};
        if (1000 - released >= 300) rested = true;
      }
    }
    auto place = *rc::gen::arbitrary<std::uint64_t>();
    auto chosen = choose_block(space, records, pending, {600, 300}, 1000, place);
    RC_ASSERT(chosen.has_value() == (free > 0 || rested));
    if (!chosen) return;
    RC_ASSERT(!pending.contains(*chosen));
    RC_ASSERT(space.contains(*chosen));
    auto record = records.find(*chosen);
    RC_ASSERT((record == records.end()) == (free > 0));
    if (record != records.end()) {
      RC_ASSERT(record->second.node.empty());
      RC_ASSERT(1000 - record->second.released_unix_ms >= 300);
    }
  }));
}

struct BlockNode {
  Drive& drive;
  MemoryKv kv;
  std::unique_ptr<Clock> clock = make_system_clock();
  std::unique_ptr<Rng> rng = make_seeded_rng(1);
  TaskGroup tasks;
  OverlayBlocks blocks;

  BlockNode(const std::string& name, Drive& in, MemoryStore& store)
      : drive(in),
        kv(store),
        tasks(drive.executor()),
        blocks({.node = name, .follow_retry_cap = 100ms}, kv, tasks, *clock, *rng, Logger()) {
    tasks.spawn("blocks", blocks.run());
    REQUIRE(drive.until([&] { return blocks.synced(); }));
  }
  ~BlockNode() {
    tasks.cancel();
    drive.until([&] { return tasks.size() == 0; });
  }
  Result<PoolBlock> claim(std::string pool = "overlay") {
    return drive.run(blocks.claim(std::move(pool)));
  }
};

TEST_CASE("blocks: nodes claim, release and are bounded") {
  Drive drive;
  MemoryStore store(drive.executor());
  BlockNode one("n1", drive, store);
  BlockNode two("n2", drive, store);
  ClaimPool pool = overlay("10.4.0.0", "10.4.0.255");  // 4 blocks
  pool.most_blocks = 3;
  pool.rest = {1'000'000, 0};
  for (BlockNode* node : {&one, &two}) REQUIRE(node->blocks.set_pools({pool}));
  REQUIRE(one.claim("none").error().code == Code::kFailedPrecondition);
  std::set<Prefix> claimed;
  for (int i = 0; i < 3; ++i) claimed.insert(one.claim()->prefix);
  REQUIRE(claimed.size() == 3);
  auto most = one.claim();
  REQUIRE(most.error().code == Code::kResourceExhausted);
  REQUIRE(most.error().what == "pool overlay: this node has its 3 blocks already");
  PoolBlock last = two.claim().value();
  REQUIRE_FALSE(claimed.contains(last.prefix));
  REQUIRE(two.claim().error().what == "pool overlay: all 4 blocks are in the hands of nodes");
  // A block without a lease is idle, and another node's once it is released.
  PoolBlock busy = one.blocks.blocks_of_node("overlay").at(0);
  auto idle = one.blocks.idle([&](const PoolBlock& block) { return block == busy; });
  REQUIRE(idle.size() == 2);
  REQUIRE(drive.run(one.blocks.release(idle[0])));
  REQUIRE(drive.run(one.blocks.release(idle[0])));  // done already
  REQUIRE(one.blocks.blocks_of_node("overlay").size() == 2);
  REQUIRE(drive.until([&] { return two.claim().has_value(); }));
  // A release of what is another's by now changes nothing.
  REQUIRE(drive.run(one.blocks.release(idle[0])));
  REQUIRE(two.blocks.blocks_of_node("overlay").size() == 2);
}

TEST_CASE("blocks: a block is idle only after its time") {
  Drive drive;
  MemoryStore store(drive.executor());
  BlockNode one("n1", drive, store);
  ClaimPool pool = overlay("10.4.0.0", "10.4.0.255");
  pool.block_idle = 1h;
  REQUIRE(one.blocks.set_pools({pool}));
  REQUIRE(one.claim());
  auto none = [](const PoolBlock&) { return false; };
  REQUIRE(one.blocks.idle(none).empty());
  REQUIRE(one.blocks.idle(none).empty());
}

TEST_CASE("blocks: two claims at once of one node are two blocks") {
  Drive drive;
  MemoryStore store(drive.executor());
  BlockNode one("n1", drive, store);
  REQUIRE(one.blocks.set_pools({overlay("10.4.0.0", "10.4.0.255")}));
  std::set<Prefix> claimed;
  for (int i = 0; i < 4; ++i)
    asio::co_spawn(drive.executor(), one.blocks.claim("overlay"),
                   [&](const std::exception_ptr&, Result<PoolBlock> block) {
                     REQUIRE(block);
                     claimed.insert(block->prefix);
                   });
  REQUIRE(drive.until([&] { return claimed.size() == 4; }));
}

TEST_CASE("blocks: what a restored store has lost is claimed again") {
  Drive drive;
  MemoryStore store(drive.executor());
  BlockNode one("n1", drive, store);
  REQUIRE(one.blocks.set_pools({overlay("10.4.0.0", "10.4.0.255")}));
  MemoryStore::Backup backup = store.backup();
  PoolBlock block = one.claim().value();
  store.restore(backup, 2);
  REQUIRE(drive.until(
      [&] { return one.blocks.synced() && one.blocks.blocks_of_node("overlay").empty(); }));
  REQUIRE(drive.run(one.blocks.take_back({block}))->empty());
  REQUIRE(one.blocks.blocks_of_node("overlay").size() == 1);
  BlockNode two("n2", drive, store);
  REQUIRE(two.blocks.set_pools({overlay("10.4.0.0", "10.4.0.255")}));
  auto conflicts = drive.run(two.blocks.take_back({block}));
  REQUIRE(conflicts->at(0) == "block " + block.prefix.str() +
                                  " of pool overlay is used on this node, but claimed by n1");
}

}  // namespace
}  // namespace tombolo
