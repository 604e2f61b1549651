// Addresses that are kept for nobody: freed by the controller's janitor, after a while.
#include "core/store/memory_kv.h"
#include "ipamd/claims/test_nodes.h"

namespace tombolo {
namespace {

using namespace claims_test;

const std::string kDb0 = "StatefulSet/shop/db/0/eth0";
const std::string kDb1 = "StatefulSet/shop/db/1/eth0";
const std::string kWeb = "Deployment/shop/web/eth0";

struct World {
  Drive drive;
  MemoryStore store{drive.executor()};
  TestNode node{"n1", drive, std::make_unique<MemoryKv>(store)};
  MemoryKv kv{store};
  TaskGroup tasks{drive.executor()};
  std::unique_ptr<ClaimJanitor> janitor;

  explicit World(JanitorOptions options = {.grace = 0s, .said_grace = 0s}) {
    node.wait_synced();
    node.set_pools({{"campus", {range("10.9.0.1", "10.9.0.40")}, 0, {0, 0}}});
    janitor = std::make_unique<ClaimJanitor>(options, kv, tasks, *node.clock, *node.rng, Logger());
    tasks.spawn("janitor", janitor->run());
    REQUIRE(drive.until([&] { return janitor->synced(); }));
  }
  ~World() {
    tasks.cancel();
    drive.until([&] { return tasks.size() == 0; });
  }
  void keep(const std::string& pod, const std::string& identity, std::size_t room = 1) {
    REQUIRE(node.take(fixed(pod, identity, room)));
    REQUIRE(node.release(pod));
  }
  ClaimsSwept sweep(std::map<std::string, std::size_t> rooms, bool said = false) {
    // What was written before has been heard.
    auto listed = drive.run(kv.get("x"));
    REQUIRE(listed);
    drive.settle();
    auto swept = drive.run(janitor->sweep([rooms, said](const std::string& identity) {
      auto at = rooms.find(identity);
      return KeptFor{at == rooms.end() ? 0 : at->second, said};
    }));
    REQUIRE(swept);
    return *swept;
  }
  std::vector<std::string> keys(std::string_view prefix) {
    RangeRequest request{.key = std::string(prefix), .range_end = prefix_end(prefix)};
    auto all = drive.run(kv.range(request));
    std::vector<std::string> found;
    for (const KeyValue& pair : all->kvs) found.push_back(pair.key.substr(prefix.size()));
    return found;
  }
};

TEST_CASE("janitor: what an identity has whose record cannot be read is left alone") {
  World world;
  world.keep("a", kDb0);
  std::string key = std::string(records::kClaimantsPrefix) + kDb0;
  auto good = world.drive.run(world.kv.get(key));
  REQUIRE(good->has_value());
  REQUIRE(world.drive.run(world.kv.put({key, "\xff\xff"})));
  // Whether its workload is there or not: who wrote the record may know more.
  for (std::size_t room : {std::size_t{1}, std::size_t{0}}) {
    ClaimsSwept swept = world.sweep({{kDb0, room}});
    REQUIRE(swept.freed == 0);
    REQUIRE(swept.unreadable == 1);
  }
  REQUIRE(world.drive.run(world.kv.get(key)).value()->value == "\xff\xff");
  REQUIRE(world.drive.run(world.kv.put({key, good.value()->value})));
  REQUIRE(world.sweep({{kDb0, 1}}).unreadable == 0);
  REQUIRE(world.node.take(fixed("b", kDb0)));
  REQUIRE(world.node.release("b"));
  REQUIRE(world.sweep({}).freed == 1);
}

TEST_CASE("janitor: what is kept for a workload that is gone or scaled down is freed") {
  World world;
  world.keep("a", kDb0);
  world.keep("b", kDb1);
  REQUIRE(world.sweep({{kDb0, 1}, {kDb1, 1}}).freed == 0);
  REQUIRE(world.sweep({{kDb0, 1}}).freed == 1);
  REQUIRE(world.keys(records::kClaimantsPrefix) == std::vector<std::string>{kDb0});
  REQUIRE(world.sweep({}).freed == 1);
  REQUIRE(world.keys(records::kClaimantsPrefix).empty());
  REQUIRE(world.sweep({}).freed == 0);
  // A workload of that name that comes again gets an address as any other.
  REQUIRE(world.drive.until([&] { return world.node.take(fixed("c", kDb0)).has_value(); }));
}

TEST_CASE("janitor: never an address that is held") {
  World world;
  REQUIRE(world.node.take(fixed("a", kDb0)));
  REQUIRE(world.sweep({}).freed == 0);
  REQUIRE(world.node.claims->claims_of_node().size() == 1);
  REQUIRE(world.node.release("a"));
  REQUIRE(world.sweep({}).freed == 1);
}

TEST_CASE("janitor: a smaller Deployment keeps what was released last") {
  World world;
  for (const char* pod : {"a", "b", "c"}) REQUIRE(world.node.take(fixed(pod, kWeb, 3)));
  for (const char* pod : {"a", "b"}) REQUIRE(world.node.release(pod));
  REQUIRE(world.sweep({{kWeb, 2}}).freed == 1);
  REQUIRE(world.sweep({{kWeb, 2}}).freed == 0);
  REQUIRE(world.sweep({{kWeb, 0}}).freed == 1);
  REQUIRE(world.node.claims->claims_of_node().at(0).holder == "c/eth0");
}

TEST_CASE("janitor: nothing is freed on one word") {
  World world({.grace = 1h, .said_grace = 1h});
  world.keep("a", kDb0);
  REQUIRE(world.sweep({}).freed == 0);
  REQUIRE(world.sweep({}).freed == 0);
  REQUIRE(world.sweep({}, true).freed == 0);
  REQUIRE(world.keys(records::kClaimantsPrefix).size() == 1);
}

TEST_CASE("janitor: a workload that says that it is smaller is believed sooner") {
  World world({.grace = 1h, .said_grace = 0s});
  world.keep("a", kDb0);
  ClaimsSwept waiting = world.sweep({});
  REQUIRE(waiting.freed == 0);
  REQUIRE(waiting.next_due.value() > 59min);
  ClaimsSwept done = world.sweep({}, true);
  REQUIRE(done.freed == 1);
  REQUIRE(!done.next_due);
}

TEST_CASE("janitor: records of addresses that were free for long go") {
  World world({.grace = 0s, .forget_free_after = 0s});
  REQUIRE(world.node.take(wanted("a")));
  REQUIRE(world.node.take(wanted("b")));
  REQUIRE(world.node.release("a"));
  auto forgotten = [&] { return world.sweep({}).forgotten == 1; };
  REQUIRE(world.drive.until(forgotten));
  REQUIRE(world.keys(records::kClaimsPrefix).size() == 1);
  world.keep("c", kDb0);
  REQUIRE(world.sweep({{kDb0, 1}}).forgotten == 0);
}

TEST_CASE("janitor: what a node held that is gone for ever") {
  World world;
  REQUIRE(world.node.take(wanted("a")));
  REQUIRE(world.node.take(fixed("b", kDb0)));
  TestNode other("n2", world.drive, std::make_unique<MemoryKv>(world.store));
  other.wait_synced();
  other.set_pools({{"campus", {range("10.9.0.1", "10.9.0.40")}, 0, {0, 0}}});
  REQUIRE(other.take(wanted("c")));
  world.drive.settle();
  Compare gone{.key = "alive", .target = Compare::Target::kVersion};
  REQUIRE(world.drive.run(world.kv.put({"alive", "", 0})));
  auto refused = world.drive.run(world.janitor->release_nodes({"n1"}, {gone}));
  REQUIRE(refused.error().code == Code::kAborted);
  REQUIRE(world.drive.run(world.kv.erase({"alive", ""})));
  REQUIRE(world.drive.run(world.janitor->release_nodes({"n1"}, {gone})) == 2);
  REQUIRE(world.drive.until([&] { return world.node.claims->claims_of_node().empty(); }));
  REQUIRE(other.claims->claims_of_node().size() == 1);
  // The fixed address is kept for its identity.
  REQUIRE(world.keys(records::kClaimantsPrefix).size() == 1);
}

TEST_CASE("janitor: an operator gives up a kept address, and none that is held") {
  World world;
  world.keep("a", kDb0);
  REQUIRE(world.node.take(fixed("b", kWeb, 1)));
  REQUIRE(world.node.take(wanted("c")));
  REQUIRE(world.sweep({{kDb0, 1}, {kWeb, 1}}).freed == 0);
  Ip kept;
  for (const AddressClaim& claim : world.node.claims->claims_of_node())
    if (claim.holder == "b/eth0") {
      auto refused = world.drive.run(world.janitor->give_up(claim.ip));
      REQUIRE(refused.error().code == Code::kFailedPrecondition);
      REQUIRE(refused.error().what.find("b/eth0") != std::string::npos);
    } else {
      REQUIRE(world.drive.run(world.janitor->give_up(claim.ip)).error().code == Code::kNotFound);
    }
  for (const std::string& key : world.keys(records::kClaimsPrefix)) {
    std::string whole = fmt::format("{}{}", records::kClaimsPrefix, key);
    KeyValue record = world.drive.run(world.kv.get(whole)).value().value();
    AddressClaim claim = records::decode_claim(record).value();
    if (claim.kept()) kept = claim.ip;
  }
  AddressClaim was = world.drive.run(world.janitor->give_up(kept)).value();
  REQUIRE(was.identity == kDb0);
  REQUIRE(world.drive.run(world.janitor->give_up(kept)).error().code == Code::kNotFound);
  // Its identity begins anew, with any address.
  REQUIRE(world.node.take(fixed("d", kDb0)));
}

TEST_CASE("janitor: a kept address that its identity does not know of is freed") {
  World world;
  world.keep("a", kDb0);
  REQUIRE(world.drive.run(world.kv.erase({records::claimant_key({kDb0, {}}), ""})));
  REQUIRE(world.sweep({{kDb0, 1}}).freed == 1);
}

}  // namespace
}  // namespace tombolo
