// Pools that several clusters share: a node claims in the parts that its cluster has, and a part
// that is given back stops claims that have not heard of it.
#include <catch2/matchers/catch_matchers_string.hpp>

#include "core/store/memory_kv.h"
#include "ipamd/claims/internal.h"
#include "ipamd/claims/test_nodes.h"

namespace tombolo {
namespace {

using namespace claims_test;
using Catch::Matchers::ContainsSubstring;

const ClaimPool kCampus{"campus", {range("10.9.0.1", "10.9.0.14")}, 0, {0, 0}, true};

grants::PoolParts parts_of(std::uint64_t store_id, grants::PartState state) {
  grants::PoolParts parts;
  parts.pool = "campus";
  parts.home = "east";
  parts.store_id = store_id;
  parts.parts = {{7, Prefix::parse("10.9.0.4/30").value(), state},
                 {8, Prefix::parse("10.9.0.8/30").value(), grants::PartState::kReturning}};
  return parts;
}

KeyValue record(const grants::PoolParts& parts, std::int64_t revision) {
  return {grants::parts_key("campus"), grants::encode(parts), 0, revision, 0, 0};
}

// A node in a store that has the parts, held.
struct World {
  Drive drive;
  MemoryStore store{drive.executor(), 5};
  MemoryKv kv{store};
  TestNode node{"n1", drive, std::make_unique<MemoryKv>(store)};

  World() {
    std::string held = grants::encode(parts_of(5, grants::PartState::kHeld));
    REQUIRE(drive.run(kv.put({grants::parts_key("campus"), held, 0})));
    node.wait_synced();
    node.set_pools({kCampus});
    REQUIRE(drive.until([&] { return node.claims->usage("campus", Family::kV4).total == 4; }));
  }
  // Written by another connection without a turn for the node's watch.
  void mark_returning() {
    std::string returning = grants::encode(parts_of(5, grants::PartState::kReturning));
    TxnRequest request;
    request.then.emplace_back(Put{grants::parts_key("campus"), returning, 0});
    REQUIRE(store.txn(request));
  }
};

TEST_CASE("granted pool: nothing without a part, then only what is in one that is held") {
  Drive drive;
  MemoryStore store(drive.executor(), 5);
  TestNode node("n1", drive, std::make_unique<MemoryKv>(store));
  MemoryKv kv(store);
  node.wait_synced();
  node.set_pools({kCampus});
  auto none = node.take(wanted("a"));
  REQUIRE(none.error().code == Code::kResourceExhausted);
  REQUIRE_THAT(none.error().what, ContainsSubstring("has granted this cluster no part"));
  std::string held = grants::encode(parts_of(5, grants::PartState::kHeld));
  REQUIRE(drive.run(kv.put({grants::parts_key("campus"), held, 0})));
  std::set<Ip> given;
  REQUIRE(drive.until([&] { return node.claims->usage("campus", Family::kV4).total == 4; }));
  for (const char* pod : {"a", "b", "c", "d"}) {
    auto taken = node.take(wanted(pod));
    REQUIRE(taken);
    given.insert(taken->at(0).ip);
  }
  REQUIRE(given.size() == 4);
  REQUIRE(*given.begin() == Ip::parse("10.9.0.4").value());
  REQUIRE(*given.rbegin() == Ip::parse("10.9.0.7").value());
  REQUIRE(node.take(wanted("e")).error().code == Code::kResourceExhausted);
  // What is used in a part that is given back stays; an ADD that is repeated gets its own.
  std::string returning = grants::encode(parts_of(5, grants::PartState::kReturning));
  REQUIRE(drive.run(kv.put({grants::parts_key("campus"), returning, 0})));
  REQUIRE(node.release("b"));
  REQUIRE(drive.until([&] { return node.claims->usage("campus", Family::kV4).total == 0; }));
  REQUIRE(node.take(wanted("e")).error().code == Code::kResourceExhausted);
  REQUIRE(node.take(wanted("a")));
}

TEST_CASE("granted pool: parts that were written in another store allow nothing") {
  Drive drive;
  MemoryStore store(drive.executor(), 5);
  MemoryKv kv(store);
  std::string held = grants::encode(parts_of(4, grants::PartState::kHeld));
  REQUIRE(drive.run(kv.put({grants::parts_key("campus"), held, 0})));
  TestNode node("n1", drive, std::make_unique<MemoryKv>(store));
  node.wait_synced();
  node.set_pools({kCampus});
  REQUIRE(node.take(wanted("a")).error().code == Code::kResourceExhausted);
}

TEST_CASE("granted pool: the transaction compares the parts that it was decided by") {
  ClaimView view("n1");
  view.use_store(5);
  REQUIRE(view.set_pools({kCampus}));
  REQUIRE(view.put(record(parts_of(5, grants::PartState::kHeld), 40), 0));
  auto plan = plan_take(view, {wanted("a")}, 1000, 0);
  REQUIRE(plan);
  auto guards = [&](std::int64_t revision) {
    return std::ranges::count_if(plan->request.compares, [&](const Compare& compare) {
      return compare.key == grants::parts_key("campus") && compare.number == revision &&
             compare.target == Compare::Target::kMod && compare.op == Compare::Operator::kEqual;
    });
  };
  REQUIRE(guards(40) == 1);
  // Read when it fails, and never written.
  REQUIRE(plan->request.otherwise.size() == plan->request.compares.size());
  for (const Operation& operation : plan->request.then)
    REQUIRE(std::get<Put>(operation).key.starts_with(records::kClaimsPrefix));
}

TEST_CASE("granted pool: an address that is kept is taken over under the same comparison") {
  World world;
  TestNode& node = world.node;
  REQUIRE(node.take(fixed("a", "StatefulSet/shop/db/0/eth0")));
  REQUIRE(node.release("a"));
  world.mark_returning();
  REQUIRE(node.claims->usage("campus", Family::kV4).total == 4);
  REQUIRE(node.take(fixed("b", "StatefulSet/shop/db/0/eth0")).error().code ==
          Code::kResourceExhausted);
}

TEST_CASE("granted pool: an address that is asked for in another cluster's part") {
  World world;
  TestNode& node = world.node;
  ClaimWanted one = wanted("a");
  one.addresses[0].exact = Ip::parse("10.9.0.9").value();
  REQUIRE(node.take(one).error().code == Code::kResourceExhausted);
  one.addresses[0].exact = Ip::parse("10.8.0.9").value();
  REQUIRE(node.take(one).error().code == Code::kOutOfRange);
  one.addresses[0].exact = Ip::parse("10.9.0.6").value();
  REQUIRE(node.take(one));
}

TEST_CASE(
    "granted pool: a node that has not heard that a part is given back claims nothing in it") {
  World world;
  TestNode& node = world.node;
  world.mark_returning();
  REQUIRE(node.claims->usage("campus", Family::kV4).total == 4);
  REQUIRE(node.take(wanted("a")).error().code == Code::kResourceExhausted);
  REQUIRE(node.claims->usage("campus", Family::kV4).total == 0);
  REQUIRE(node.claims->claims_of_node().empty());
}

}  // namespace
}  // namespace tombolo
