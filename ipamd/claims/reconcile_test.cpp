// What happens to claims around crashes, cuts and restored stores: over the in-memory store.
#include <catch2/generators/catch_generators.hpp>
#include <optional>

#include "core/store/memory_kv.h"
#include "ipamd/claims/test_nodes.h"

namespace tombolo {
namespace {

using namespace claims_test;

// Does what it is asked, and loses the answer.
class ForgetfulKv final : public MemoryKv {
 public:
  using MemoryKv::MemoryKv;
  asio::awaitable<Result<TxnResult>> txn(TxnRequest request) override {
    Result<TxnResult> done = co_await MemoryKv::txn(std::move(request));
    if (!forgets) co_return done;
    co_return fail(Code::kDeadlineExceeded, "no answer");
  }
  bool forgets = false;
};

struct World {
  Drive drive;
  MemoryStore store{drive.executor()};
  std::vector<ClaimPool> pools{{"campus", {range("10.9.0.1", "10.9.0.2")}, 0, {0, 0}}};
  ForgetfulKv* kv = nullptr;
  std::unique_ptr<TestNode> node = start("n1");

  std::unique_ptr<TestNode> start(const std::string& name) {
    auto connection = std::make_unique<ForgetfulKv>(store);
    if (kv == nullptr) kv = connection.get();
    auto made = std::make_unique<TestNode>(name, drive, std::move(connection));
    made->wait_synced();
    made->set_pools(pools);
    return made;
  }
  // As after kill -9: memory is gone, the store is not.
  void restart() {
    node.reset();
    kv = nullptr;
    node = start("n1");
  }
  std::size_t held() {
    MemoryKv reader(store);
    RangeRequest request{.key = std::string(records::kClaimsPrefix),
                         .range_end = prefix_end(records::kClaimsPrefix)};
    auto all = drive.run(reader.range(request));
    std::size_t count = 0;
    for (const KeyValue& pair : all->kvs)
      if (records::decode_claim(pair)->held()) ++count;
    return count;
  }
};

TEST_CASE("reconcile: killed between the claim and the lease, the address comes back") {
  World world;
  REQUIRE(world.node->take(wanted("a")));
  world.restart();
  REQUIRE(world.held() == 1);
  auto healed = world.node->reconcile({});
  REQUIRE(healed);
  REQUIRE(healed->freed == 1);
  REQUIRE(world.held() == 0);
  REQUIRE(world.node->reconcile({})->freed == 0);
}

TEST_CASE("reconcile: killed between the erased lease and the release, the address comes back") {
  World world;
  auto a = world.node->take(wanted("a"));
  auto b = world.node->take(wanted("b"));
  world.restart();
  auto healed = world.node->reconcile({lease_of(b->at(0))});
  REQUIRE(healed->freed == 1);
  REQUIRE(healed->taken_back == 0);
  REQUIRE(world.node->claims->claims_of_node().at(0).holder == "b/eth0");
}

TEST_CASE("reconcile: an ADD that is under way is left alone until its lease is there") {
  World world;
  std::vector<ClaimWanted> one{wanted("a")};
  auto taken = world.drive.run(world.node->claims->take(one));
  REQUIRE(taken);
  REQUIRE(world.node->reconcile({})->freed == 0);
  taken->under_way = {};
  REQUIRE(world.node->reconcile({})->freed == 1);
}

TEST_CASE("take: an answer that was lost is found by asking again, or freed") {
  World world;
  world.kv->forgets = true;
  REQUIRE(world.node->take(wanted("a")).error().code == Code::kUnavailable);
  world.kv->forgets = false;
  REQUIRE(world.held() == 1);
  // The watch tells what the answer did not.
  REQUIRE(world.drive.until([&] { return world.node->claims->claims_of_node().size() == 1; }));
  SECTION("asked again") {
    REQUIRE(world.node->take(wanted("a")));
    REQUIRE(world.held() == 1);
  }
  SECTION("never asked again") {
    REQUIRE(world.node->reconcile({})->freed == 1);
    REQUIRE(world.held() == 0);
  }
}

TEST_CASE("a store that is away refuses, and frees nothing") {
  World world;
  auto a = world.node->take(wanted("a"));
  world.kv->set_connected(false);
  REQUIRE(world.node->take(wanted("b")).error().code == Code::kUnavailable);
  REQUIRE(world.node->release("a").error().code == Code::kUnavailable);
  REQUIRE(world.node->reconcile({}).error().code == Code::kUnavailable);
  world.kv->set_connected(true);
  REQUIRE(world.held() == 1);
  REQUIRE(world.node->release("a"));
  REQUIRE(world.held() == 0);
}

TEST_CASE("take and release before the store was read are refused") {
  Drive drive;
  MemoryStore store(drive.executor());
  auto kv = std::make_unique<MemoryKv>(store);
  kv->set_connected(false);
  TestNode node("n1", drive, std::move(kv));
  node.set_pools({{"campus", {range("10.9.0.1", "10.9.0.2")}, 0, {0, 0}}});
  REQUIRE_FALSE(node.claims->synced());
  REQUIRE(node.take(wanted("a")).error().code == Code::kUnavailable);
  REQUIRE(node.release("a").error().code == Code::kUnavailable);
}

TEST_CASE("reconcile: what a restored store has lost is claimed again before others get it") {
  World world;
  MemoryStore::Backup backup = world.store.backup();
  auto a = world.node->take(wanted("a"));
  REQUIRE(a);
  world.store.restore(backup, 2);
  // The lists of both are read anew; the leases say what is held.
  REQUIRE(world.drive.until([&] {
    return world.node->claims->synced() && world.node->claims->claims_of_node().empty();
  }));
  auto healed = world.node->reconcile({lease_of(a->at(0))});
  REQUIRE(healed);
  REQUIRE(healed->taken_back == 1);
  REQUIRE(healed->conflicts.empty());
  // A node that was there takes nothing for a while.
  auto early = world.node->take(wanted("early"));
  REQUIRE(early.error().code == Code::kUnavailable);
  REQUIRE(early.error().what.starts_with("claims: the store was restored"));
  auto other = world.start("n2");
  REQUIRE(other->take(wanted("b"))->at(0).ip != a->at(0).ip);
  REQUIRE(other->take(wanted("c")).error().code == Code::kResourceExhausted);
}

TEST_CASE("reconcile: what is claimed again stays its identity's") {
  World world;
  const std::string db0 = "StatefulSet/shop/db/0/eth0";
  MemoryStore::Backup backup = world.store.backup();
  auto a = world.node->take(fixed("a", db0));
  REQUIRE(a);
  world.store.restore(backup, 2);
  world.restart();
  REQUIRE(world.node->reconcile({lease_of(a->at(0))})->taken_back == 1);
  REQUIRE(world.node->claims->claims_of_node().at(0).identity == db0);
  REQUIRE(world.node->release("a"));
  // Nobody else gets it, and the identity knows of it.
  auto other = world.start("n2");
  REQUIRE(other->take(wanted("b"))->at(0).ip != a->at(0).ip);
  REQUIRE(other->take(wanted("c")).error().code == Code::kResourceExhausted);
  REQUIRE(other->take(fixed("d", db0))->at(0).ip == a->at(0).ip);
}

TEST_CASE("reconcile: a lease that is younger than what a backup says of its address wins") {
  World world;
  world.pools[0].ranges = {range("10.9.0.1", "10.9.0.1")};
  world.node->set_pools(world.pools);
  auto other = world.start("n2");
  bool is_kept = GENERATE(false, true);
  CAPTURE(is_kept);
  if (is_kept) {
    REQUIRE(other->take(fixed("a", "Deployment/shop/web/eth0")));
    REQUIRE(other->release("a"));
  } else {
    REQUIRE(other->take(wanted("a")));
  }
  MemoryStore::Backup backup = world.store.backup();
  // Then it is free, and b's.
  MemoryKv kv(world.store);
  AddressClaim free;
  free.pool = "campus";
  free.ip = Ip::parse("10.9.0.1").value();
  REQUIRE(world.drive.run(kv.put({records::claim_key(free), records::encode(free)})));
  std::optional<AddressClaim> b;
  REQUIRE(world.drive.until([&] {
    auto taken = world.node->take(wanted("b"));
    if (taken) b = taken->at(0);
    return b.has_value();
  }));
  world.store.restore(backup, 2);
  REQUIRE(world.drive.until([&] {
    return world.node->claims->synced() && world.node->claims->claims_of_node().empty();
  }));
  ClaimedLease lease = lease_of(*b);
  ClaimedLease older = lease;
  older.since_unix_ms = 1;
  REQUIRE(world.node->reconcile({older})->conflicts.size() == 1);
  auto healed = world.node->reconcile({lease});
  REQUIRE(healed->taken_back == 1);
  REQUIRE(healed->conflicts.empty());
  REQUIRE(world.drive.until([&] { return other->claims->claims_of_node().empty(); }));
  REQUIRE(other->reconcile({})->freed == 0);
  REQUIRE(world.held() == 1);
}

TEST_CASE("a store that went back under its own cluster id is another store") {
  World world;
  MemoryStore::Backup backup = world.store.backup();
  std::vector<ClaimedLease> leases;
  for (const char* pod : {"a", "b"})
    leases.push_back(lease_of(world.node->take(wanted(pod))->at(0)));
  world.store.restore(backup, world.store.cluster_id());
  SECTION("told by the watch that is made anew") {
    REQUIRE(world.drive.until([&] { return world.node->claims->claims_of_node().empty(); }));
  }
  SECTION("told by an answer, before the watch has ended") {
    auto refused = world.node->take(wanted("a"));
    REQUIRE(refused.error().code == Code::kUnavailable);
    REQUIRE(world.drive.until([&] { return world.node->claims->synced(); }));
  }
  REQUIRE(world.node->take(wanted("c")).error().what.starts_with("claims: the store was restored"));
  REQUIRE(world.node->reconcile(leases)->taken_back == 2);
}

TEST_CASE("a store that went back, and on again beyond what was seen, is told by its records") {
  World world;
  REQUIRE(world.node->take(wanted("a")));
  MemoryStore::Backup backup = world.store.backup();
  REQUIRE(world.node->release("a"));
  world.store.restore(backup, world.store.cluster_id());
  Put other{"x", "1", 0};
  // As etcd is restored with --bump-revision and --mark-compacted.
  for (int i = 0; i < 5; ++i) {
    TxnRequest request;
    request.then.emplace_back(other);
    REQUIRE(world.store.txn(request));
  }
  REQUIRE(world.store.compact(world.store.revision()));
  REQUIRE(world.drive.until([&] { return world.node->claims->claims_of_node().size() == 1; }));
  REQUIRE(world.node->take(wanted("c")).error().what.starts_with("claims: the store was restored"));
  REQUIRE(world.node->reconcile({})->freed == 1);
}

TEST_CASE("a node that was away while the store was restored waits for the others, too") {
  World world;
  NodeMemory memory;
  auto start = [&] {
    auto made =
        std::make_unique<TestNode>("n2", world.drive, std::make_unique<MemoryKv>(world.store),
                                   ClaimsOptions{.settle = 1h, .known = &memory});
    made->wait_synced();
    made->set_pools(world.pools);
    return made;
  };
  MemoryStore::Backup backup = world.store.backup();
  MemoryKv kv(world.store);
  REQUIRE(world.drive.run(kv.put({"x", "1"})));
  auto id = GENERATE(values<std::uint64_t>({1, 2}));
  CAPTURE(id);
  REQUIRE(start()->take(wanted("z")));
  REQUIRE(memory.values.size() == 1);
  auto before = memory.values;
  world.store.restore(backup, id);
  // Nobody has said yet what was claimed since. Also in a second life.
  for (int life = 0; life < 2; ++life) {
    auto refused = start()->take(wanted("b"));
    REQUIRE(refused.error().what.starts_with("claims: the store was restored"));
    REQUIRE(memory.values == before);
  }
}

TEST_CASE("a node that remembers no store waits when others hold something, once") {
  World world;
  NodeMemory memory;
  auto take = [&](const std::string& holder, Duration settle) {
    TestNode node("n2", world.drive, std::make_unique<MemoryKv>(world.store),
                  ClaimsOptions{.settle = settle, .known = &memory});
    node.wait_synced();
    node.set_pools(world.pools);
    return node.take(wanted(holder)).has_value();
  };
  bool others = GENERATE(false, true);
  CAPTURE(others);
  if (others) REQUIRE(world.node->take(wanted("a")));
  REQUIRE(take("b", 1h) == !others);
  if (!others) return;
  memory.values["seen/claims"] = "what";
  REQUIRE_FALSE(take("b", 1h));
  REQUIRE(take("b", 0s));
  REQUIRE(take("b", 1h));
}

TEST_CASE("reconcile: two leases of one address are told, and neither is touched") {
  World world;
  auto a = world.node->take(wanted("a"));
  auto other = world.start("n2");
  ClaimedLease lease = lease_of(a->at(0));
  lease.holder = "b/eth0";
  lease.pod = "shop/b";
  auto report = other->reconcile({lease});
  REQUIRE(report);
  REQUIRE(report->conflicts.size() == 1);
  REQUIRE(report->conflicts[0] == a->at(0).ip.str() +
                                      " of pool campus is in the hands of b/eth0 (pod shop/b) on "
                                      "this node, but held by shop/a on node n1");
  REQUIRE(world.node->claims->claims_of_node().size() == 1);
}

TEST_CASE("a record that cannot be read is nobody's to take") {
  World world;
  MemoryKv other(world.store);
  REQUIRE(world.drive.run(other.put({"tombolo/v1/claims/campus/10.9.0.1", "\xff\xff"})));
  REQUIRE(world.drive.run(other.put({"tombolo/v1/claims/campus/10.9.0.2", "\xff\xff"})));
  REQUIRE(world.drive.run(other.put({"tombolo/v1/claims/nonsense", "\xff"})));
  REQUIRE(world.drive.run(other.put({"tombolo/v1/claimants/Pod/shop/a/eth0", "\xff"})));
  REQUIRE(world.drive.until(
      [&] { return world.node->claims->usage("campus", Family::kV4).free() == 0; }));
  REQUIRE(world.node->take(wanted("a")).error().code == Code::kResourceExhausted);
  REQUIRE(world.drive.run(other.erase({"tombolo/v1/claims/campus/10.9.0.2", ""})));
  REQUIRE(world.drive.until(
      [&] { return world.node->claims->usage("campus", Family::kV4).free() == 1; }));
  REQUIRE(world.node->take(fixed("a", "Pod/shop/a/eth0")).error().code == Code::kDataLoss);
  REQUIRE(world.node->take(wanted("a")));
}

TEST_CASE("a released address rests before it is anybody's") {
  World world;
  world.pools[0].rest = {60'000, 30'000};
  world.node->set_pools(world.pools);
  for (const char* pod : {"a", "b"}) REQUIRE(world.node->take(wanted(pod)));
  REQUIRE(world.node->release("a"));
  auto refused = world.node->take(wanted("c"));
  REQUIRE(refused.error().code == Code::kResourceExhausted);
  REQUIRE(refused.error().what.find("has rested for 30000 ms") != std::string::npos);
}

}  // namespace
}  // namespace tombolo
